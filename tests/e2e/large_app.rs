//! An app with much in its folder: a file that changes costs one of its layers.

use crate::as_each_user;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use test_support::{App, TestContext, output_of};

const FILES: u64 = 90;

/// A mebibyte that does not compress, another one for each number.
fn noise(number: u64) -> Vec<u8> {
    let mut state = number + 1;
    let mut bytes = Vec::new();
    while bytes.len() < 1 << 20 {
        // Marsaglia's xorshift.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

fn app_layers(t: &TestContext, app: &App) -> BTreeSet<String> {
    let inspect = ["inspect", "--output", "json"];
    let seen = t.slugc_in(app).args(inspect).run().success().json();
    let layers = seen["layers"].as_array().unwrap();
    let of_app = layers.iter().filter(|layer| layer["name"] == "app");
    of_app
        .map(|layer| layer["diff_id"].as_str().unwrap().to_owned())
        .collect()
}

as_each_user! {
    fn one_file_of_many(t: &TestContext) {
        let app = t.fixture("worker-only");
        for number in 0..FILES {
            app.write(&format!("data/{}/{number}.bin", number / 9), noise(number));
        }
        let build = || t.slugc_in(&app).args(["build", "."]).run().success();
        let first = build().digest();
        let before = app_layers(t, &app);
        assert!((3..=12).contains(&before.len()), "{before:?}");
        let run = |script: &str| t.slugc_in(&app).args(["run", "--", "sh", "-c", script]).run().success();
        run("find data -type f | wc -l; find data -type d | wc -l").says(&["90\n", "11\n"]);

        app.write("data/5/50.bin", "changed\n");
        build();
        let after = app_layers(t, &app);
        let new = after.difference(&before).count();
        assert!((1..=2).contains(&new), "{before:?} {after:?}");
        run("cat data/5/50.bin; find data -type f | wc -l").says(&["changed\n", "90\n"]);

        // The build's own copy stays for the next one, which goes on from it.
        let copy = t.store().join("apps").join(app.name()).join("work/workspace/data/1/10.bin");
        let made = || fs::metadata(&copy).ok().map(|found| (found.ino(), found.ctime(), found.ctime_nsec()));
        let before = made();
        app.remove("data/5/50.bin");
        build();
        run("find data -type f | wc -l; ls data/5").says(&["89\n"]).never_says(&["50.bin"]);
        let system = output_of("stat", &["-f", "-c", "%T", &t.store().to_string_lossy()], t.scratch());
        if ["ext2/ext3", "xfs", "btrfs"].contains(&system.trim()) {
            assert!(before.is_some(), "no copy was kept");
            assert_eq!(made(), before);
        } else {
            println!("skipped: the copy stays on ext4, XFS and Btrfs only, and this is {system}");
        }

        app.write("data/5/50.bin", noise(50));
        assert_eq!(build().digest(), first);
    }
}

//! What build code can see and do, and that it ends with slugc.

use crate::as_each_user;
use std::fs;
use std::time::{Duration, Instant};
use test_support::{App, Finished, Signal, TestContext, fixtures, processes_with};

fn build_with(t: &TestContext, app: &App, buildpack: &str) -> test_support::Slugc {
    t.slugc_in(app)
        .args(["build", ".", "-b"])
        .arg(fixtures().join("buildpacks").join(buildpack))
}

/// Seconds to sleep that no other test of this run sleeps: the same test may run as another user at the same time.
fn mark(t: &TestContext, test: u32) -> String {
    format!("{test}{}{}", std::process::id(), t.uid())
}

/// The kernel needs a moment between the end of slugc and that of everything below it.
pub(crate) fn assert_gone(mark: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !processes_with(mark).is_empty() {
        assert!(
            Instant::now() < deadline,
            "left behind: {:?}",
            processes_with(mark)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The words after `name:` in what the surroundings buildpack printed.
fn told<'a>(built: &'a Finished, name: &str) -> Vec<&'a str> {
    let prefix = format!("{name}: ");
    let line = built
        .stdout
        .lines()
        .find_map(|line| line.split_once(&prefix));
    line.unwrap_or_else(|| panic!("no {name} in {}", built.stdout))
        .1
        .split_whitespace()
        .collect()
}

as_each_user! {
    fn the_rest_of_the_machine_is_not_there(t: &TestContext) {
        let app = t.fixture("worker-only");
        fs::write(t.home().join("credentials-of-the-test"), "secret").unwrap();
        let built = build_with(t, &app, "surroundings")
            .args(["-e", "GIVEN_TO_THE_BUILD=1"])
            .env("NOT_GIVEN_TO_THE_BUILD", "s3cret-of-a-test")
            .run()
            .success()
            .never_says(&["NOT_GIVEN_TO_THE_BUILD", "s3cret-of-a-test", "credentials-of-the-test"]);
        assert_eq!(told(&built, "ids"), ["1000:1000"]);
        assert!(told(&built, "processes")[0].parse::<u32>().unwrap() < 12, "{}", built.stdout);
        assert!(told(&built, "platform").contains(&"GIVEN_TO_THE_BUILD"));
        assert!(told(&built, "variables").contains(&"GIVEN_TO_THE_BUILD"));
        assert!(told(&built, "source").contains(&"worker.py"));
        let root = told(&built, "root");
        for folder in ["workspace", "layers", "cnb", "platform", "usr", "proc", "dev", "tmp"] {
            assert!(root.contains(&folder), "{root:?}");
        }
        assert!(!root.contains(&"work"), "{root:?}");
        assert_eq!(told(&built, "no new privileges"), ["1"]);
        assert_eq!(told(&built, "effective capabilities"), ["0000000000000000"]);
        assert_eq!(told(&built, "bounding capabilities"), ["0000000000000000"]);
        assert_eq!(told(&built, "seccomp"), ["2"]);
        assert_eq!(told(&built, "mount refused"), ["yes"]);
        assert_eq!(told(&built, "namespace refused"), ["yes"]);
        // Whatever a build does to the stack stays with that build.
        let clean = build_with(t, &app, "surroundings").arg("--refresh").run().success();
        assert_eq!(told(&clean, "stack is private"), told(&built, "stack is private"));
        t.slugc_in(&app)
            .args(["run", "--", "test", "!", "-e", "/usr/lib/written-by-a-build"])
            .run()
            .success();
    }
}

as_each_user! {
    /// A buildpack that ignores every request ends all the same, and the next build works.
    fn interrupted(t: &TestContext) {
        let app = t.fixture("worker-only");
        let mark = mark(t, 86);
        let mut build = build_with(t, &app, "endless").args(["-e", &format!("MARK={mark}")]).start();
        build.wait_for("waits for something");
        build.signal(Signal::INT);
        let ended = build.wait(Duration::from_secs(20));
        assert_eq!(ended.code(), 130, "{}{}", ended.stdout, ended.stderr);
        assert_gone(&mark);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
}

as_each_user! {
    /// slugc is killed: what runs inside the sandbox does not stay behind.
    fn killed(t: &TestContext) {
        let app = t.fixture("worker-only");
        let mark = mark(t, 87);
        let mut build = build_with(t, &app, "endless").args(["-e", &format!("MARK={mark}")]).start();
        build.wait_for("waits for something");
        build.signal(Signal::KILL);
        assert_eq!(build.wait(Duration::from_secs(20)).code(), 137);
        assert_gone(&mark);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
}

as_each_user! {
    fn a_buildpack_that_is_killed(t: &TestContext) {
        let app = t.fixture("worker-only");
        build_with(t, &app, "suicidal").run().failure(51).says(&["fixtures/suicidal", "about to be killed"]);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
}

as_each_user! {
    fn a_buildpack_that_writes_broken_toml(t: &TestContext) {
        let app = t.fixture("worker-only");
        let failed = build_with(t, &app, "broken-toml").run();
        assert_ne!(failed.code(), 0);
        failed.says(&["fixtures/broken-toml", "bad.toml:2"]);
        t.slugc_in(&app).args(["build", "."]).run().success();
    }
}

as_each_user! {
    /// What build code may write to is read and emptied outside of the sandbox, by the user.
    fn links_in_the_layers_lead_nowhere(t: &TestContext) {
        let app = t.fixture("worker-only");
        let victim = t.scratch().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("precious"), "a secret of the host").unwrap();
        t.give(&victim);
        let variable = format!("VICTIM={}", victim.display());
        let refused = build_with(t, &app, "leads-out").args(["-e", &variable]).run().failure(62);
        refused.says(&["neither a file nor a folder", "slugc_python"]);
        // The next build empties the layers, and the link is one of them.
        t.slugc_in(&app).args(["build", "."]).run().success();
        let precious = std::fs::read_to_string(victim.join("precious")).unwrap();
        assert_eq!(precious, "a secret of the host");
    }
}

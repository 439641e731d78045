//! The image that the tests' dynos run.

use cnb_spec::labels;
use oci_image::{BlobStore, Compression, Digest, Image, LayerError, LayerTar, Owner, write_layer};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs of the host that go into the image.
const PROGRAMS: [&str; 10] = [
    "bash", "cat", "env", "head", "id", "ls", "sleep", "stty", "touch", "yes",
];

/// Process types by name, each a script as the launcher would run it.
const PROCESSES: [(&str, &str); 12] = [
    (
        "family",
        "trap 'wait; echo parent ends; exit 4' TERM; \
         (trap 'echo child ends; exit' TERM; echo child; while :; do sleep 0.1; done) & \
         while :; do sleep 0.1; done",
    ),
    (
        "web",
        "echo starting on $PORT; PART=serve exec /bin/part fixture::part --exact --nocapture",
    ),
    ("mute", "trap '' TERM; echo deaf; while :; do sleep 1; done"),
    (
        "polite",
        "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done",
    ),
    (
        "fails",
        "echo to stdout; echo to stderr >&2; printf 'no end'; exit 3",
    ),
    (
        "binary",
        "printf '\\377\\000\\n'; head -c 25000 /dev/zero | cat -v",
    ),
    (
        "floods",
        "exec yes 0123456789012345678901234567890123456789",
    ),
    (
        "release",
        "case $KIND in \
         good) echo $DYNO; echo to stderr >&2; cat; exit 0;; \
         bad) printf 'no end'; exit 3;; \
         quiet) exec >/dev/null 2>&1; sleep 4721;; \
         polite) trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done;; \
         deaf) trap '' TERM; echo ready; while :; do sleep 0.1; done;; \
         esac",
    ),
    ("crowd", "sleep 4711 & sleep 4712 & sleep 4713"),
    ("flock", "sleep 5711 & sleep 5712 & sleep 5713"),
    ("tells", "env; echo end; sleep 1000"),
    (
        "litters",
        "set -- /home/cnb/*.txt; [ -e \"$1\" ] && echo files: $# || echo files: 0; \
         touch /home/cnb/left.txt; exit 1",
    ),
];

pub(crate) fn build_image(blobs: &BlobStore) -> Digest {
    let base = write_layer::<LayerError>(blobs, Compression { level: 0 }, |tar| {
        for folder in [
            "/bin",
            "/etc",
            "/tmp",
            "/cnb",
            "/cnb/process",
            "/cnb/lifecycle",
        ] {
            tar.directory(folder, 0o755, Owner::ROOT)?;
        }
        text(
            tar,
            "/etc/passwd",
            0o644,
            "cnb:x:1000:1000::/home/cnb:/bin/bash\n",
        )?;
        let programs = PROGRAMS.map(|name| PathBuf::from("/bin").join(name));
        let own = std::env::current_exe().unwrap();
        let mut folders = BTreeSet::new();
        for library in libraries(programs.iter().chain([&own])) {
            let ancestors: Vec<_> = library.ancestors().skip(1).collect();
            for folder in ancestors.into_iter().rev().skip(1) {
                if folder != Path::new("/bin") && folders.insert(folder.to_owned()) {
                    tar.directory(folder, 0o755, Owner::ROOT)?;
                }
            }
            copy(tar, &library, &library)?;
        }
        for program in &programs {
            copy(tar, program, program)?;
        }
        copy(tar, &own, Path::new("/bin/part"))
    });
    let user = Owner {
        uid: 1000,
        gid: 1000,
    };
    let app = write_layer::<LayerError>(blobs, Compression { level: 0 }, |tar| {
        for folder in [
            "/home",
            "/workspace",
            "/cnb",
            "/cnb/process",
            "/cnb/lifecycle",
        ] {
            tar.directory(folder, 0o755, Owner::ROOT)?;
        }
        tar.directory("/home/cnb", 0o755, user)?;
        text(
            tar,
            "/cnb/lifecycle/launcher",
            0o755,
            "#!/bin/bash\nexec /bin/bash -c \"$1\"\n",
        )?;
        for (name, script) in PROCESSES {
            let path = format!("/cnb/process/{name}");
            text(tar, &path, 0o755, &format!("#!/bin/bash\n{script}\n"))?;
        }
        Ok(())
    });
    let mut image = Image::empty("linux", "amd64");
    for layer in [base.unwrap(), app.unwrap()] {
        image.manifest.layers.push(layer.descriptor());
        image.config.rootfs.diff_ids.push(layer.diff_id);
    }
    let processes: Vec<String> = PROCESSES
        .iter()
        .map(|(name, _)| format!(r#"{{"type":"{name}","command":["/bin/{name}"],"args":["x"]}}"#))
        .collect();
    let label = format!(r#"{{"processes":[{}]}}"#, processes.join(","));
    let config = &mut image.config.config;
    config
        .labels
        .insert(labels::BUILD_METADATA.to_owned(), label);
    config.entrypoint = vec!["/cnb/process/web".to_owned()];
    "1000:1000".clone_into(&mut config.user);
    config.env = vec!["PATH=/bin".to_owned(), "FROM_IMAGE=yes".to_owned()];
    "/workspace".clone_into(&mut config.working_dir);
    image.save(blobs).unwrap().digest
}

fn text(tar: &mut LayerTar<'_>, path: &str, mode: u32, text: &str) -> Result<(), LayerError> {
    tar.file(path, mode, Owner::ROOT, text.len() as u64, text.as_bytes())
}

fn copy(tar: &mut LayerTar<'_>, from: &Path, to: &Path) -> Result<(), LayerError> {
    let file = File::open(from).unwrap();
    let size = file.metadata().unwrap().len();
    tar.file(to, 0o755, Owner::ROOT, size, file)
}

/// The shared libraries of programs, where the programs look for them.
fn libraries<'a>(programs: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
    let output = Command::new("ldd").args(programs).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect()
}

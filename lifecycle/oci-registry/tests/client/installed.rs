//! The same against Docker's own registry, where it is installed.

use std::fs;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use oci_registry::{PushOptions, pull, push};

use crate::images::{client, for_amd64, image, manifest, reference, store};

/// Ends with the test, however the test ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn docker_registry_takes_and_gives_back_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let host = format!("127.0.0.1:{}", test_support::free_port());
    let config = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {host}\n",
        folder.path().join("data").display()
    );
    fs::write(folder.path().join("config.yml"), config).unwrap();
    let started = Command::new("docker-registry")
        .arg("serve")
        .arg(folder.path().join("config.yml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = started else {
        println!("skipped: needs docker-registry");
        return;
    };
    let _process = Process(child);
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&host).is_err() {
        assert!(Instant::now() < deadline, "docker-registry did not start");
        std::thread::sleep(Duration::from_millis(50));
    }

    let (source, client) = (store(), client(&host));
    let built = image(&source.blobs, &[9 << 20, 3 << 20, 100_000, 7]);
    let first = reference(&host, "team/app:1");
    let pushed = push(
        &client,
        &source.blobs,
        &built,
        &first,
        &PushOptions::default(),
    )
    .unwrap();
    assert_eq!((pushed.sent, pushed.mounted), (5, 0));
    assert!(
        push(
            &client,
            &source.blobs,
            &built,
            &first,
            &PushOptions::default()
        )
        .unwrap()
        .unchanged
    );

    let options = PushOptions {
        mount_from: std::slice::from_ref(&first),
        ..PushOptions::default()
    };
    let pushed = push(
        &client,
        &source.blobs,
        &built,
        &reference(&host, "other/app:1"),
        &options,
    )
    .unwrap();
    assert_eq!((pushed.sent, pushed.mounted), (0, 5));

    let target = store();
    let pulled = pull(
        &client,
        &target.blobs,
        &reference(&host, "other/app:1"),
        &for_amd64(),
    )
    .unwrap();
    assert_eq!((pulled.manifest.digest, pulled.received), (built.digest, 5));
    for layer in manifest(&target.blobs, &built).layers {
        assert_eq!(
            target.blobs.read(&layer.digest).unwrap(),
            source.blobs.read(&layer.digest).unwrap()
        );
    }
}

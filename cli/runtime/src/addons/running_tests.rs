#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

/// A folder with the lock of an add-on's supervising process, held by this one, with another's pid inside.
fn held_by(pid: u32) -> (tempfile::TempDir, Addons, File) {
    let folder = tempfile::tempdir().unwrap();
    let addons = Addons::new(folder.path());
    fs::create_dir_all(addons.folder("cache")).unwrap();
    let path = addons.folder("cache").join(SUPERVISOR);
    let lock = locks::lock(&path, FlockOperation::LockExclusive).unwrap();
    fs::write(&path, pid.to_string()).unwrap();
    (folder, addons, lock)
}

#[test]
fn the_pid_of_a_killed_one_may_be_somebody_else_s() {
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let (_folder, addons, lock) = held_by(other.id());
    let stopping = std::thread::spawn(move || stop(&addons, "cache"));
    // More than one round of signals.
    std::thread::sleep(Duration::from_millis(1500));
    drop(lock);
    assert!(stopping.join().unwrap().unwrap());
    let ended = other.try_wait().unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(ended, None);
}

#[test]
fn the_supervising_process_is_told_by_its_command_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(SUPERVISE), "read line\n").unwrap();
    let mut process = Command::new("sh")
        .args([SUPERVISE, "/store", "cache", "60"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let (_folder, addons, lock) = held_by(process.id());
    let stopping = std::thread::spawn(move || stop(&addons, "cache"));
    // Not `wait`, which closes its input and so ends it as well.
    let start = Instant::now();
    while process.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = process.wait().unwrap();
    drop(lock);
    assert!(stopping.join().unwrap().unwrap());
    assert_eq!(status.signal(), Some(15));
}

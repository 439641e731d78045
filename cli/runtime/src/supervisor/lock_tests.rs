#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

#[test]
fn one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        look(folder.path()).unwrap(),
        Presence::Absent { killed: None }
    );
    let (lock, killed) = SupervisorLock::take(folder.path()).unwrap();
    assert_eq!(killed, None);
    let own = Some(std::process::id());
    assert_eq!(look(folder.path()).unwrap(), Presence::Alive { pid: own });
    let refused = SupervisorLock::take(folder.path()).unwrap_err();
    let expected = format!(
        "the app already runs: its supervisor is process {}",
        std::process::id()
    );
    assert_eq!(refused.to_string(), expected);
    drop(lock);
    let (_lock, killed) = SupervisorLock::take(folder.path()).unwrap();
    assert_eq!(killed, None, "an orderly end leaves nothing to tell");
}

#[test]
fn what_a_killed_one_left_goes_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(LOCK), "4711").unwrap();
    fs::write(folder.path().join(SOCKET), "").unwrap();
    fs::create_dir_all(folder.path().join("run/web.1-4711-0/upper")).unwrap();
    let killed = Some(4711);
    assert_eq!(look(folder.path()).unwrap(), Presence::Absent { killed });
    assert!(!folder.path().join(SOCKET).exists());
    assert!(!folder.path().join("run/web.1-4711-0").exists());
    assert_eq!(
        look(folder.path()).unwrap(),
        Presence::Absent { killed: None }
    );
}

#[test]
fn lookers_do_not_keep_a_supervisor_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    drop(SupervisorLock::take(&path).unwrap());
    let looker = std::thread::spawn({
        let path = path.clone();
        move || {
            for _ in 0..2000 {
                look(&path).unwrap();
            }
        }
    });
    for _ in 0..50 {
        drop(SupervisorLock::take(&path).unwrap());
    }
    looker.join().unwrap();
}

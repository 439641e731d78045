//! Releases on disk, and what killed processes leave.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::state::ConfigVars;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc;
use std::time::Duration;

fn state() -> (tempfile::TempDir, AppState) {
    let folder = tempfile::tempdir().unwrap();
    let state = AppState::new(folder.path().join("app"));
    (folder, state)
}

fn new(name: &str) -> NewRelease {
    NewRelease {
        description: format!("Set {name} config vars"),
        image: None,
        config: ConfigVars::from([(name.to_owned(), "hunter2".to_owned())]),
        addon_vars: BTreeSet::new(),
    }
}

fn release(state: &AppState, name: &str, status: Status) -> Release {
    let lock = state.lock().unwrap();
    let begun = state.begin(&lock, new(name)).unwrap();
    state.finish(&lock, begun.version, status).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn an_app_without_a_folder_has_nothing() {
    let (_folder, state) = state();
    assert_eq!(state.releases().unwrap(), []);
    assert_eq!(state.current().unwrap(), None);
    assert_eq!(state.release(1).unwrap(), None);
    assert_eq!(state.formation().unwrap(), Formation::new());
    assert!(!state.maintenance());
    assert!(state.preboot());
    assert!(!state.folder().exists(), "reading makes nothing");
}

#[test]
fn the_newest_that_succeeded_is_current() {
    let (_folder, state) = state();
    let first = release(&state, "A", Status::Succeeded);
    assert_eq!(first.version, 1);
    let lock = state.lock().unwrap();
    let second = state.begin(&lock, new("B")).unwrap();
    assert_eq!((second.version, second.status), (2, Status::Pending));
    assert_eq!(state.current().unwrap().as_ref(), Some(&first));
    state.finish(&lock, 2, Status::Failed).unwrap();
    assert_eq!(state.current().unwrap().as_ref(), Some(&first));
    drop(lock);
    let third = release(&state, "C", Status::Succeeded);
    assert_eq!(third.version, 3);
    assert_eq!(state.current().unwrap().as_ref(), Some(&third));
    let versions = |releases: Vec<Release>| -> Vec<u64> {
        releases.iter().map(|release| release.version).collect()
    };
    assert_eq!(versions(state.releases().unwrap()), [1, 2, 3]);
    assert_eq!(versions(state.newest(2).unwrap()), [3, 2]);
}

#[test]
fn ten_follows_nine() {
    let (_folder, state) = state();
    for _ in 0..11 {
        release(&state, "A", Status::Succeeded);
    }
    assert_eq!(state.current().unwrap().unwrap().version, 11);
}

#[test]
fn a_release_ends_once() {
    let (_folder, state) = state();
    release(&state, "A", Status::Succeeded);
    let lock = state.lock().unwrap();
    for (version, message) in [
        (1, "the release v1 has already ended"),
        (7, "there is no release v7"),
    ] {
        let error = state.finish(&lock, version, Status::Failed).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn nobody_else_reads_values() {
    let (_folder, state) = state();
    let release = release(&state, "A", Status::Succeeded);
    let folder = state.folder().join("releases");
    assert_eq!(mode(state.folder()), 0o700);
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("v1.json")), 0o600);
    let shown = format!("{release:?}");
    assert!(shown.contains('A') && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_killed_process_left_is_failed_once_nobody_has_the_lock() {
    let (_folder, state) = state();
    release(&state, "A", Status::Succeeded);
    let lock = state.lock().unwrap();
    state.begin(&lock, new("B")).unwrap();
    let staged = state.folder().join("releases/.tmp-x");
    fs::write(&staged, "{").unwrap();
    assert!(state.try_lock().unwrap().is_none());
    let status = |version| state.release(version).unwrap().unwrap().status;
    assert_eq!(status(2), Status::Pending);
    drop(lock);

    let lock = state.try_lock().unwrap().unwrap();
    assert_eq!(status(2), Status::Failed);
    assert_eq!(state.begin(&lock, new("C")).unwrap().version, 3);
    assert!(!staged.exists());
    assert_eq!(state.current().unwrap().unwrap().version, 1);
}

#[test]
fn one_release_at_a_time() {
    let (_folder, state) = state();
    let lock = state.lock().unwrap();
    let (sender, receiver) = mpsc::channel();
    let other = state.clone();
    let waiting = std::thread::spawn(move || {
        sender.send(()).unwrap();
        release(&other, "B", Status::Succeeded).version
    });
    receiver.recv().unwrap();
    let first = state.begin(&lock, new("A")).unwrap();
    state
        .finish(&lock, first.version, Status::Succeeded)
        .unwrap();
    drop(lock);
    assert_eq!(waiting.join().unwrap(), 2);
}

#[test]
fn a_damaged_file_is_named_and_not_quoted() {
    let (_folder, state) = state();
    release(&state, "A", Status::Succeeded);
    let path = state.folder().join("releases/v1.json");
    fs::write(&path, "{\n \"version\": \"hunter2\"}").unwrap();
    let error = state.current().unwrap_err().to_string();
    assert!(error.contains("v1.json: line 2, column"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn quantities_and_maintenance() {
    let (_folder, state) = state();
    let formation = Formation::from([("web".parse().unwrap(), 2), ("worker".parse().unwrap(), 0)]);
    state.set_formation(&formation).unwrap();
    assert_eq!(state.formation().unwrap(), formation);
    assert!(state.sizes().unwrap().is_empty());
    let sizes = Sizes::from([("web".parse().unwrap(), Size::Standard2x)]);
    state.set_sizes(&sizes).unwrap();
    assert_eq!(state.sizes().unwrap(), sizes);
    for on in [true, true, false, false] {
        state.set_maintenance(on).unwrap();
        assert_eq!(state.maintenance(), on);
        state.set_preboot(!on).unwrap();
        assert_eq!(state.preboot(), !on);
    }
}

#[test]
fn who_waited_while_the_app_was_removed_has_a_lock_that_counts() {
    let (_folder, state) = state();
    let held = state.try_claim().unwrap().unwrap();
    let waiting = {
        let state = state.clone();
        std::thread::spawn(move || state.lock().unwrap())
    };
    // Whether it waits by now makes no difference to what has to come of it.
    std::thread::sleep(Duration::from_millis(100));
    fs::remove_dir_all(state.folder()).unwrap();
    drop(held);
    let lock = waiting.join().unwrap();
    assert!(state.try_claim().unwrap().is_none());
    drop(lock);
    assert!(state.try_claim().unwrap().is_some());
}

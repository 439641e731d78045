#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use sandbox::{Root, Sandbox, Stream, Writable};
use std::time::{Duration, Instant};

const SYSTEMD: &str = "\
25 31 0:23 / /sys rw,nosuid - sysfs sysfs rw
30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

#[test]
fn groups_of_version_2_are_made_beside_the_own_one() {
    let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-r1.scope\n";
    let found = hierarchies(SYSTEMD, own);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].version, Version::Two);
    let app_slice = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice";
    assert_eq!(found[0].place(), Path::new(app_slice));
    // The root has no place beside it.
    let found = hierarchies(SYSTEMD, "0::/\n");
    assert_eq!(found[0].place(), Path::new("/sys/fs/cgroup"));
}

#[test]
fn groups_of_version_1_are_made_in_the_own_one() {
    let mounts = "\
40 30 0:33 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory
41 30 0:34 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
42 30 0:35 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
";
    let own = "5:pids:/x\n4:memory:/docker/abc\n3:cpu,cpuacct:/batch\n0::/\n";
    let found = hierarchies(mounts, own);
    let places: Vec<PathBuf> = found.iter().map(Hierarchy::place).collect();
    assert_eq!(
        places,
        [
            Path::new("/sys/fs/cgroup/memory"),
            Path::new("/sys/fs/cgroup/cpu,cpuacct/batch")
        ]
    );
    assert_eq!(found[0].controllers, BTreeSet::from([Controller::Memory]));
    assert_eq!(found[1].controllers, BTreeSet::from([Controller::Cpu]));
}

#[test]
fn nothing_mounted() {
    let groups = ControlGroups::make_in(&hierarchies("", "0::/\n"));
    assert_eq!(
        groups.lacking().unwrap(),
        "no control group has the memory controller; no control group has the cpu controller"
    );
    let group = groups.group("web.1", Size::Eco).unwrap();
    assert!(group.entrances().unwrap().is_empty());
    assert!(!group.ran_out_of_memory());
}

#[test]
fn no_right_to_make_groups() {
    let place = Path::new("/proc/self");
    let own = Hierarchy {
        version: Version::One,
        top: place.to_owned(),
        own: place.to_owned(),
        controllers: BTreeSet::from([Controller::Memory, Controller::Cpu]),
    };
    let lacking = ControlGroups::make_in(&[own]).lacking().unwrap();
    assert!(
        lacking.starts_with("cannot make the control group /proc/self/slugc-"),
        "{lacking}"
    );
    // Both for the same reason, which is said once.
    assert_eq!(lacking.matches("cannot make").count(), 1, "{lacking}");
}

/// The kernel ends what takes more than twice its quota, and nothing stays behind.
#[test]
fn memory_is_limited() {
    let groups = ControlGroups::make();
    if let Some(lacking) = groups.lacking() {
        println!("skipped: {lacking}");
        return;
    }
    let folders: Vec<PathBuf> = groups.parents.iter().map(|it| it.folder.clone()).collect();
    let group = groups.group("run.1", Size::Eco).unwrap();
    for (mebibytes, survives) in [(64, true), (1100, false)] {
        let root = Root {
            lower: vec!["/".into()],
            writable: Writable::ReadOnly,
        };
        // tail(1) keeps all of it.
        let script = format!(
            "[ $(head -c {mebibytes}M /dev/zero | tail -c {mebibytes}M | wc -c) -gt 0 ] && exit 7"
        );
        let argv = ["/bin/sh", "-c", &script].map(Into::into).to_vec();
        let mut sandbox = Sandbox::new(root, argv);
        sandbox.stdin = Stream::Null;
        sandbox.stderr = Stream::Null;
        sandbox.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        sandbox.control_groups = group.entrances().unwrap();
        let mut child = sandbox::spawn(&sandbox).unwrap();
        let code = sandbox::exit_code(child.wait().unwrap());
        assert_eq!(code == 7, survives, "{mebibytes} MiB: {code}");
        assert_eq!(group.ran_out_of_memory(), !survives);
    }
    drop(group);
    drop(groups);
    let deadline = Instant::now() + Duration::from_secs(20);
    while folders.iter().any(|folder| folder.exists()) {
        // The kernel counts the dead as members for a moment.
        assert!(Instant::now() < deadline, "{folders:?}");
        for folder in &folders {
            remove(folder);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a killed supervisor leaves is removed by the next one.
#[test]
fn the_dead_are_swept() {
    let place = tempfile::tempdir().unwrap();
    let mut ended = std::process::Command::new("/bin/true").spawn().unwrap();
    ended.wait().unwrap();
    let dead = place.path().join(format!("{PREFIX}{}", ended.id()));
    let alive = place.path().join(format!("{PREFIX}{}", std::process::id()));
    let foreign = place.path().join("session-1.scope");
    for folder in [&dead, &alive, &foreign] {
        fs::create_dir_all(folder.join("web.1-0")).unwrap();
    }
    sweep(place.path());
    assert!(!dead.exists());
    assert!(alive.join("web.1-0").exists());
    assert!(foreign.join("web.1-0").exists());
}

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::fs;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn commit(folder: &Path) -> Option<String> {
    checkout(folder).map(|it| it.commit)
}

#[test]
fn the_commit_is_found_wherever_git_keeps_it() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    fs::create_dir_all(root.join("app/inner")).unwrap();
    write(root, &[(".git/HEAD", "ref: refs/heads/main\n")]);
    assert_eq!(commit(root), None, "nothing is committed");
    let packed = format!("# pack-refs with: peeled\n{COMMIT} refs/heads/main\n");
    write(root, &[(".git/packed-refs", &packed)]);
    assert_eq!(commit(&root.join("app/inner")).as_deref(), Some(COMMIT));
    let loose = COMMIT.replace('0', "f");
    write(root, &[(".git/refs/heads/main", &format!("{loose}\n"))]);
    assert_eq!(commit(root), Some(loose.clone()));
    // A linked worktree.
    write(
        root,
        &[
            ("tree/.git", "gitdir: ../.git/worktrees/tree\n"),
            (".git/worktrees/tree/HEAD", "ref: refs/heads/main\n"),
            (".git/worktrees/tree/commondir", "../..\n"),
        ],
    );
    assert_eq!(commit(&root.join("tree")), Some(loose));
    write(root, &[(".git/HEAD", &format!("{COMMIT}\n"))]);
    assert_eq!(commit(root).as_deref(), Some(COMMIT));
    write(root, &[(".git/HEAD", "ref: refs/../../secret\n")]);
    assert_eq!(commit(root), None);
}

#[test]
fn what_the_repository_ignores_is_not_its() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    fs::create_dir_all(root.join("target/app")).unwrap();
    fs::create_dir_all(root.join("apps/app")).unwrap();
    write(root, &[(".git/HEAD", COMMIT), (".gitignore", "/target\n")]);
    assert_eq!(commit(&root.join("target/app")), None);
    assert_eq!(commit(&root.join("apps/app")).as_deref(), Some(COMMIT));
}

#[test]
fn remotes() {
    let config = "[core]\n\tbare = false\n[remote \"fork\"]\n\turl = https://b.example/x\n[remote \"origin\"]\n\turl = https://a.example/x.git\n\tfetch = +refs/heads/*\n";
    assert_eq!(remote(config).as_deref(), Some("https://a.example/x.git"));
    assert_eq!(
        remote("[remote \"up\"]\nurl=ssh://h/x\n").as_deref(),
        Some("ssh://h/x")
    );
    assert_eq!(remote("[core]\nurl = x\n"), None);
}

#[test]
fn addresses_lose_what_is_secret() {
    for (url, expected) in [
        (
            "https://ann:s3cret@h.example/t/x.git",
            Some("https://h.example/t/x.git"),
        ),
        (
            "https://token@h.example:8443/x?key=1#f",
            Some("https://h.example:8443/x"),
        ),
        ("https://a:p@ss@h.example/x", Some("https://h.example/x")),
        ("ssh://git@h.example/x", Some("ssh://h.example/x")),
        ("git@h.example:team/x.git", Some("git@h.example:team/x.git")),
        ("/srv/git/x.git", None),
        ("file:///srv/git/x.git", None),
        ("../x", None),
        ("https://user@/x", None),
    ] {
        assert_eq!(public(url).as_deref(), expected, "{url}");
    }
}

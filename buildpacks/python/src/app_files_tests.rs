#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use tempfile::TempDir;

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&folder, name, text);
    }
    folder
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn listing(folder: &TempDir) -> Listing {
    Listing::of(folder.path()).unwrap()
}

fn digest(folder: &TempDir, wanted: impl Fn(&Path) -> bool) -> String {
    let listing = listing(folder);
    let contents = listing.contents(folder.path(), |_| true).unwrap();
    listing.digest(&contents, wanted)
}

#[test]
fn names_modes_and_wanted_contents_count() {
    let app = folder(&[("a.py", "1"), ("b/c.css", "2")]);
    let styles = |path: &Path| path.extension().is_some_and(|it| it == "css");
    let (first, all) = (digest(&app, styles), digest(&app, |_| true));
    write(&app, "a.py", "3");
    assert_eq!(digest(&app, styles), first);
    assert_ne!(digest(&app, |_| true), all);
    write(&app, "b/c.css", "4");
    assert_ne!(digest(&app, styles), first);
    write(&app, "b/c.css", "2");
    assert_eq!(digest(&app, styles), first);
    write(&app, "new.py", "");
    assert_ne!(digest(&app, styles), first);
    fs::remove_file(app.path().join("new.py")).unwrap();
    fs::set_permissions(app.path().join("a.py"), Permissions::from_mode(0o755)).unwrap();
    assert_ne!(digest(&app, styles), first);
}

#[test]
fn additions_are_told_from_changes() {
    let app = folder(&[("a.py", "1"), ("b/c.css", "2")]);
    let before = listing(&app);
    assert_eq!(listing(&app).added(&before), Some(BTreeSet::new()));
    write(&app, "b/d.css", "3");
    write(&app, "out/e", "4");
    let added = ["b/d.css", "out", "out/e"].map(Path::new);
    assert_eq!(listing(&app).added(&before), Some(BTreeSet::from(added)));

    let changed = listing(&app);
    fs::rename(app.path().join("out/e"), app.path().join("out/f")).unwrap();
    assert_eq!(listing(&app).added(&changed), None, "renamed");
    // The same bytes again leave another time behind.
    fs::remove_file(app.path().join("a.py")).unwrap();
    write(&app, "a.py", "1");
    assert_eq!(listing(&app).added(&before), None, "written again");
}

#[test]
fn what_cannot_be_copied_is_no_addition() {
    let app = folder(&[("a", "1")]);
    let before = listing(&app);
    write(&app, "new", "2");
    fs::hard_link(app.path().join("new"), app.path().join("also-new")).unwrap();
    assert_eq!(listing(&app).added(&before), None);
}

#[test]
fn copies_have_the_same_content_and_modes() {
    let from = folder(&[("out/a", "1"), ("out/sub/b", "2"), ("left", "3")]);
    let set = |name: &str, mode| {
        let path = from.path().join(name);
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set("out/a", 0o640);
    set("out/sub", 0o750);
    symlink("a", from.path().join("out/link")).unwrap();
    let to = folder(&[("out/there", "x")]);
    let paths = ["out/a", "out/link", "out/sub", "out/sub/b"].map(Path::new);
    copy(from.path(), to.path(), &BTreeSet::from(paths)).unwrap();
    let mode = |name: &str| fs::metadata(to.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("out/a"), mode("out/sub")), (0o640, 0o750));
    assert_eq!(
        fs::read_to_string(to.path().join("out/sub/b")).unwrap(),
        "2"
    );
    assert_eq!(
        fs::read_link(to.path().join("out/link")).unwrap(),
        Path::new("a")
    );
    assert!(!to.path().join("left").exists());
    // Nothing is written over.
    assert!(
        copy(
            from.path(),
            to.path(),
            &BTreeSet::from([Path::new("out/a")])
        )
        .is_err()
    );
}

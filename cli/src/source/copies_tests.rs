use super::*;
use crate::project::Project;
use std::os::unix::fs::MetadataExt;

struct World {
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let world = Self { scratch };
        for number in 0..30 {
            world.write(&format!("package{}/file{number}", number / 10), "content");
        }
        symlink("package0/file1", world.source().join("link")).unwrap();
        world
    }

    fn source(&self) -> PathBuf {
        self.scratch.path().join("source")
    }

    fn copied(&self) -> PathBuf {
        self.scratch.path().join("work/workspace")
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Copies as a build does; the note is for the next one.
    fn copy(&self, known: Option<&Copies>) -> Copies {
        let source = Source::list(&self.source(), &Project::default()).unwrap();
        source.copy(&self.copied(), known).unwrap();
        source.describe(&self.copied()).unwrap()
    }

    /// Path, mode and content of everything in the copy.
    fn content(&self) -> Vec<(PathBuf, u32, String)> {
        let mut there = Vec::new();
        survey(&self.copied(), Path::new(""), &mut there).unwrap();
        there.sort_by(|(left, _), (right, _)| left.cmp(right));
        let there = there.into_iter();
        there
            .map(|(path, found)| {
                let full = self.copied().join(&path);
                let content = if found.is_symlink() {
                    fs::read_link(full).unwrap().display().to_string()
                } else if found.is_file() {
                    fs::read_to_string(full).unwrap()
                } else {
                    String::new()
                };
                (path, found.permissions().mode(), content)
            })
            .collect()
    }

    /// When a file was last written or made, in seconds since 1970 and nanoseconds.
    fn made(&self, path: &str) -> (i64, i64) {
        Stat::of(&fs::metadata(self.copied().join(path)).unwrap()).changed
    }
}

#[test]
fn only_what_changed_is_copied_again() {
    let world = World::new();
    let known = world.copy(None);
    let before = world.content();
    assert_eq!(before.len(), 30 + 3 + 1);
    let made = ["package0/file3", "package1/file12"].map(|path| world.made(path));

    let known = world.copy(Some(&known));
    assert_eq!(world.content(), before);
    world.write("package1/file12", "CONTENT");
    world.write("package3/new", "new");
    fs::remove_dir_all(world.source().join("package2")).unwrap();
    world.copy(Some(&known));
    assert_eq!(world.made("package0/file3"), made[0]);
    assert_ne!(world.made("package1/file12"), made[1]);
    let after = world.content();
    world.copy(None);
    assert_eq!(world.content(), after);
    assert_ne!(after, before);
}

#[test]
fn what_build_code_did_to_the_copy_is_undone() {
    let world = World::new();
    let known = world.copy(None);
    let before = world.content();
    let outside = world.scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file20"), "outside").unwrap();

    let at = |path: &str| world.copied().join(path);
    let changed = at("package0/file1");
    let time = fs::metadata(&changed).unwrap().modified().unwrap();
    fs::write(&changed, "CONTENT").unwrap();
    let file = File::options().write(true).open(&changed).unwrap();
    file.set_modified(time).unwrap();
    fs::set_permissions(at("package0/file2"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(at("package0/file3")).unwrap();
    fs::hard_link(at("package0/file4"), outside.join("name")).unwrap();
    fs::set_permissions(at("package1"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(at("package1/more"), "more").unwrap();
    fs::remove_dir_all(at("package2")).unwrap();
    symlink(&outside, at("package2")).unwrap();
    fs::remove_file(at("link")).unwrap();
    symlink("elsewhere", at("link")).unwrap();
    fs::create_dir_all(at("made/by/code")).unwrap();

    world.copy(Some(&known));
    assert_eq!(world.content(), before);
    assert_eq!(
        fs::read_to_string(outside.join("file20")).unwrap(),
        "outside"
    );
    assert_eq!(fs::metadata(outside.join("name")).unwrap().nlink(), 1);
}

#[test]
fn a_folder_that_build_code_opened_or_closed_is_made_again() {
    let world = World::new();
    for mode in [0o777, 0o555] {
        let known = world.copy(None);
        let before = world.content();
        let open = |mode| fs::set_permissions(world.copied(), fs::Permissions::from_mode(mode));
        open(mode).unwrap();
        world.write("package0/file1", "CONTENT");
        world.copy(Some(&known));
        let now = fs::metadata(world.copied()).unwrap();
        assert_eq!(now.permissions().mode() & 0o7777, 0o755);
        assert_ne!(world.content(), before);
        world.write("package0/file1", "content");
    }
}

#[test]
fn notes_of_another_folder_or_another_start_of_the_machine_are_not_believed() {
    let world = World::new();
    let known = world.copy(None);
    let path = world.scratch.path().join("work/copies.json");
    known.write(&path).unwrap();
    assert!(Copies::read(&path).is_some());
    let made = world.made("package0/file1");
    world.copy(Some(&known));
    assert_eq!(world.made("package0/file1"), made);

    let elsewhere = Copies {
        root: PathBuf::from("/elsewhere"),
        files: known.files.clone(),
        boot: known.boot.clone(),
    };
    world.write("package0/file1", "content");
    fs::write(world.copied().join("package0/file2"), "changed").unwrap();
    world.copy(Some(&elsewhere));
    let file = world.copied().join("package0/file2");
    assert_eq!(fs::read_to_string(file).unwrap(), "content");

    let earlier = Copies {
        boot: "an earlier one".to_owned(),
        ..known
    };
    earlier.write(&path).unwrap();
    assert!(Copies::read(&path).is_none());
    fs::write(&path, "{").unwrap();
    assert!(Copies::read(&path).is_none());
}

//! Copies of the fixtures' apps.

use crate::context::must;
use crate::user::Ids;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Apps of one test process never share a folder's name, and so never a name in the store.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The folder `fixtures` of the repository.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// An app's folder that a test may change.
#[derive(Debug)]
pub struct App {
    name: String,
    path: PathBuf,
    ids: Ids,
}

impl App {
    pub(crate) fn copy_of(fixture: &str, into: &Path, ids: Ids) -> Self {
        let from = fixtures().join("apps").join(fixture);
        let label = fixture.split('/').next().unwrap_or(fixture);
        let app = Self::empty(label, into, ids);
        copy(&from, &app.path);
        ids.own(&app.path);
        app
    }

    pub(crate) fn empty(label: &str, into: &Path, ids: Ids) -> Self {
        let name = format!(
            "{label}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = into.join(&name);
        must(fs::create_dir(&path), "make", &path);
        ids.own(&path);
        Self { name, path, ids }
    }

    /// Runs git in its folder and gives what it prints, as somebody with a name. What it makes is the
    /// caller's.
    pub fn git(&self, arguments: &[&str]) -> String {
        let settings = [
            "user.name=Test",
            "user.email=test@localhost",
            "safe.directory=*",
        ];
        let all: Vec<&str> = settings
            .into_iter()
            .flat_map(|setting| ["-c", setting])
            .chain(arguments.iter().copied())
            .collect();
        let printed = crate::command::output_of("git", &all, &self.path);
        printed.trim().to_owned()
    }

    /// What slugc calls the app: its folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The app's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads one of its files.
    pub fn read(&self, file: &str) -> String {
        let path = self.path.join(file);
        must(fs::read_to_string(&path), "read", &path)
    }

    /// Writes one of its files.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(file);
        if let Some(folder) = path.parent() {
            must(fs::create_dir_all(folder), "make", folder);
            self.ids.own(folder);
        }
        must(fs::write(&path, content), "write", &path);
        self.ids.own(&path);
    }

    /// Adds to the end of one of its files.
    pub fn append(&self, file: &str, content: &str) {
        self.write(file, self.read(file) + content);
    }

    /// Removes one of its files.
    pub fn remove(&self, file: &str) {
        let path = self.path.join(file);
        must(fs::remove_file(&path), "remove", &path);
    }

    /// A second copy of the app as it is, in another folder.
    #[must_use]
    pub fn duplicate(&self, into: &Path) -> Self {
        let label = self.name.split("-of-").next().unwrap_or(&self.name);
        let copy_of = Self::empty(&format!("{label}-of"), into, self.ids);
        copy(&self.path, &copy_of.path);
        self.ids.own(&copy_of.path);
        copy_of
    }
}

/// Copies a tree: folders, files with their modes, and links as links.
fn copy(from: &Path, to: &Path) {
    must(fs::create_dir_all(to), "make", to);
    for entry in must(fs::read_dir(from), "list", from) {
        let entry = must(entry, "list", from);
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = must(entry.file_type(), "look at", &source);
        if kind.is_dir() {
            copy(&source, &target);
        } else if kind.is_symlink() {
            let points_to = must(fs::read_link(&source), "read", &source);
            must(symlink(points_to, &target), "link", &target);
        } else {
            must(fs::copy(&source, &target), "copy", &source);
        }
    }
}

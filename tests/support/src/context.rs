//! A test's world: whose it is, its store, its scratch folder.

use crate::command::Slugc;
use crate::fixture::App;
use crate::requirement::{Need, skipped};
use crate::user::{Ids, Who};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// What only the test's own crate knows: where cargo put things.
#[derive(Debug, Clone, Copy)]
pub struct Binary {
    /// `env!("CARGO_BIN_EXE_slugc")`
    pub slugc: &'static str,
    /// `env!("CARGO_TARGET_TMPDIR")`
    pub scratch: &'static str,
}

/// A scratch home and a store for one test, as one user.
///
/// The store is shared by all tests of a run and a user, as a user's apps share it, so that the
/// stack is bootstrapped once. `SLUGC_TEST_STORE` names another place for it.
#[derive(Debug)]
pub struct TestContext {
    slugc: PathBuf,
    ids: Ids,
    who: Who,
    shared: PathBuf,
    data: PathBuf,
    scratch: TempDir,
}

impl TestContext {
    /// A test that works in the shared store, with the stack there; `None`, said plainly, where
    /// the machine has no such user.
    pub fn new(binary: Binary, who: Who) -> Option<Self> {
        let context = Self::bare(binary, who)?;
        context.need_stack();
        let data = context.shared.join("data");
        Some(Self { data, ..context })
    }

    /// A test with a store of its own that already has the stack.
    ///
    /// The copy is made of hard links: what it removes stays in the shared store.
    pub fn with_own_store(binary: Binary, who: Who) -> Option<Self> {
        let context = Self::bare(binary, who)?;
        context.need_stack();
        context.copy_store(&context.shared.join("data/slugc"), &["-a", "--link"]);
        Some(context)
    }

    /// A test as `who` with a store of its own that holds a copy of the plain user's stack.
    pub fn with_store_of_plain(binary: Binary, who: Who) -> Option<Self> {
        let plain = Self::new(binary, Who::Plain)?;
        let context = Self::bare(binary, who)?;
        context.copy_store(&plain.store(), &["-a"]);
        context.ids.own(&context.data);
        Some(context)
    }

    /// A test with an empty store of its own.
    pub fn bare(binary: Binary, who: Who) -> Option<Self> {
        let Some(ids) = who.ids() else {
            skipped(if who == Who::Plain {
                &Need::PlainUser
            } else {
                &Need::Root
            });
            return None;
        };
        let base = base(Path::new(binary.scratch), ids);
        let shared = base.join(who.folder());
        must(fs::create_dir_all(&shared), "make", &shared);
        must(
            std::os::unix::fs::chown(&shared, Some(ids.uid), Some(ids.gid)),
            "give away",
            &shared,
        );
        let scratch = match tempfile::Builder::new().prefix("test-").tempdir_in(&shared) {
            Ok(scratch) => scratch,
            Err(error) => panic!(
                "cannot make a scratch folder in {}: {error}",
                shared.display()
            ),
        };
        let mut slugc = PathBuf::from(binary.slugc);
        if !ids.reaches(&slugc) {
            slugc = scratch.path().join("slugc");
            must(fs::copy(binary.slugc, &slugc), "copy slugc to", &slugc);
        }
        let context = Self {
            slugc,
            ids,
            who,
            data: scratch.path().join("data"),
            shared,
            scratch,
        };
        for folder in ["home", "data"] {
            let path = context.scratch.path().join(folder);
            must(fs::create_dir(&path), "make", &path);
        }
        ids.own(context.scratch.path());
        Some(context)
    }

    /// Whom slugc runs as.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The user id that slugc runs as.
    pub fn uid(&self) -> u32 {
        self.ids.uid
    }

    /// The store's folder, `$XDG_DATA_HOME/slugc`.
    pub fn store(&self) -> PathBuf {
        self.data.join("slugc")
    }

    /// A folder for the test's own files, gone after it.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// slugc's `HOME`.
    pub fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    /// Starts putting a call of slugc together; it runs in the scratch folder.
    pub fn slugc(&self) -> Slugc {
        Slugc::new(
            &self.slugc,
            self.ids,
            &self.home(),
            &self.data,
            self.scratch.path(),
        )
    }

    /// The same, inside an app's folder and with that app's name.
    pub fn slugc_in(&self, app: &App) -> Slugc {
        self.slugc().in_folder(app.path())
    }

    /// A copy of a fixture: a folder, and so an app, of its own.
    pub fn fixture(&self, name: &str) -> App {
        App::copy_of(name, self.scratch.path(), self.ids)
    }

    /// An empty app, to be written by the test.
    pub fn empty_app(&self, name: &str) -> App {
        App::empty(name, self.scratch.path(), self.ids)
    }

    /// The app that installs from a repository on this machine: `url` answers with what
    /// [`Self::git_repository`] wrote.
    pub fn git_fixture(&self, url: &str, commit: &str) -> App {
        let app = self.fixture("git-requirement/app");
        let template = app.read("requirements.txt.in");
        app.write(
            "requirements.txt",
            template
                .replace("@REPOSITORY@", url)
                .replace("@COMMIT@", commit),
        );
        app.remove("requirements.txt.in");
        app
    }

    /// Makes `greeting.git` in a folder that a file server can serve; returns the folder and the
    /// commit.
    pub fn git_repository(&self) -> (PathBuf, String) {
        let work = self.fixture("git-requirement/repository");
        let served = self.scratch.path().join("served");
        must(fs::create_dir(&served), "make", &served);
        let git = |arguments: &[&str]| work.git(arguments);
        git(&["init", "--quiet", "--initial-branch", "main"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "A greeting"]);
        let commit = git(&["rev-parse", "HEAD"]);
        let bare = served.join("greeting.git");
        git(&["clone", "--quiet", "--bare", ".", &bare.to_string_lossy()]);
        git(&["--git-dir", &bare.to_string_lossy(), "update-server-info"]);
        (served, commit)
    }

    /// Gives a file or folder that the test made to slugc's user. Never one with the test's own store in it: that is made
    /// of hard links, and the shared store's files would change hands as well.
    pub fn give(&self, path: &Path) {
        assert!(
            self.data == self.shared.join("data") || !self.data.starts_with(path),
            "{} holds a store",
            path.display()
        );
        self.ids.own(path);
    }

    fn copy_store(&self, from: &Path, how: &[&str]) {
        let to = self.store();
        must(fs::create_dir(&to), "make", &to);
        self.ids.own(&to);
        for part in ["blobs", "roots", "stacks", "parts"] {
            let mut arguments: Vec<OsString> = how.iter().map(OsString::from).collect();
            arguments.extend([
                from.join(part).into_os_string(),
                to.clone().into_os_string(),
            ]);
            crate::command::output_of("cp", &arguments, self.scratch.path());
        }
    }

    /// Bootstraps the stack into the shared store, once; a failure is found once, too.
    fn need_stack(&self) {
        static MADE: Mutex<Option<HashMap<Who, Result<(), String>>>> = Mutex::new(None);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let result = made
            .get_or_insert_default()
            .entry(self.who)
            .or_insert_with(|| self.make_stack());
        if let Err(message) = result {
            panic!("no stack to test with: {message}");
        }
    }

    fn make_stack(&self) -> Result<(), String> {
        // Another test process may be at it.
        let lock = self.shared.with_extension("lock");
        let file = match File::create(&lock) {
            Ok(file) => file,
            Err(error) => return Err(format!("cannot make {}: {error}", lock.display())),
        };
        if let Err(error) = file.lock() {
            return Err(format!("cannot lock {}: {error}", lock.display()));
        }
        let data = self.shared.join("data");
        must(fs::create_dir_all(&data), "make", &data);
        must(
            std::os::unix::fs::chown(&data, Some(self.ids.uid), Some(self.ids.gid)),
            "give away",
            &data,
        );
        let call = Slugc::new(
            &self.slugc,
            self.ids,
            &self.home(),
            &data,
            self.scratch.path(),
        );
        let finished = call.args(["stack", "create"]).run();
        if finished.code() == 0 {
            Ok(())
        } else {
            Err(format!(
                "slugc stack create failed:\n{}{}",
                finished.stdout, finished.stderr
            ))
        }
    }
}

/// Where stores and scratch folders stand: somewhere that this user can walk to.
fn base(scratch: &Path, ids: Ids) -> PathBuf {
    if let Some(folder) = std::env::var_os("SLUGC_TEST_STORE") {
        return PathBuf::from(folder);
    }
    if ids.reaches(scratch) {
        return scratch.join("e2e");
    }
    // A checkout below a private home: a folder of the same name for each, outside.
    let name = oci_image::Digest::of(scratch.as_os_str().as_encoded_bytes()).hex();
    std::env::temp_dir().join(format!("slugc-e2e-{}", &name[..12]))
}

pub(crate) fn must<T>(result: std::io::Result<T>, what: &str, path: &Path) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {what} {}: {error}", path.display()),
    }
}

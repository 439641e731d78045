//! Every registry that is not a friendly one: what slugc says of it, and that it leaves nothing half done.
//!
//! The rows stand in [`quirks`] (what real registries are like; each of them is to be lived with) and in [`faults`]
//! (what no registry should do). What is printed for all of them is one snapshot. A certificate of nobody's is in
//! `logins.rs`, with Docker's own registry.

mod contents;
mod faults;
mod quirks;

use crate::BINARY;
use oci_image::{BlobStore, Compression, Digest, Image, LayerError, Owner, layout, write_layer};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use test_support::registry::{Auth, Profile, Registry, Request};
use test_support::{Finished, TestContext, Who, noise, with_filters};

/// A registry, what is asked of it, and what comes of that.
struct Row {
    name: &'static str,
    /// Without `slugc`. `HOST` is the registry, `OTHER` a friendly one, `OUT` a folder that is not there, `IMAGE` the
    /// digest of the image that the registry has.
    command: &'static str,
    exit: i32,
    profile: Profile,
    setup: Setup,
}

#[derive(Default)]
struct Setup {
    /// User and password in docker's file.
    login: Option<&'static str>,
    /// The registry's own address and the other one's go into the profile.
    with_hosts: Option<fn(&mut Profile, &str, &str)>,
    /// Puts something odd into the registry.
    prepared: Option<fn(&Registry, &Source)>,
    /// Seconds to wait for a silent registry.
    patience: Option<&'static str>,
    /// `registry.example` is the registry, and reached through a proxy.
    through_proxy: bool,
    /// Another command before.
    first: Option<&'static str>,
    /// The command itself is wrong, so that it fails with every registry.
    hopeless: bool,
}

impl Row {
    fn new(
        name: &'static str,
        command: &'static str,
        exit: i32,
        change: impl FnOnce(&mut Profile),
    ) -> Self {
        let mut profile = Profile::default();
        change(&mut profile);
        Self {
            name,
            command,
            exit,
            profile,
            setup: Setup::default(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }
}

/// Two images, in a layout each: the one that registries have already, and the one that is pushed.
struct Source {
    blobs: BlobStore,
    old: Digest,
    new: Digest,
    folder: tempfile::TempDir,
}

const REPOSITORY: &str = "team/app";
/// Whose blobs the registry has in another repository.
const MOUNT: &str = "copy HOST/team/app:1 HOST/mine/app:1";
const PASSWORDS: [&str; 3] = ["pw", "hunter2", "s3cret"];

impl Source {
    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path().join("blobs")).unwrap();
        let image = |seed: u64, lengths: &[usize]| {
            let mut image = Image::empty("linux", "amd64");
            for (position, length) in lengths.iter().enumerate() {
                let content = noise(seed + position as u64, *length);
                let layer = write_layer::<LayerError>(&blobs, Compression::default(), |tar| {
                    let size = content.len() as u64;
                    tar.file("/content", 0o644, Owner::ROOT, size, content.as_slice())
                });
                let layer = layer.unwrap();
                image.manifest.layers.push(layer.descriptor());
                image.config.rootfs.diff_ids.push(layer.diff_id);
            }
            image.save(&blobs).unwrap()
        };
        let (old, new) = (image(1, &[300_000, 2000]), image(9, &[6 << 20, 3000]));
        let to = folder.path().join("layout");
        layout::write(&to, &blobs, &new, Some("1")).unwrap();
        open_to_all(folder.path());
        Self {
            blobs,
            old: old.digest,
            new: new.digest,
            folder,
        }
    }

    fn layout(&self) -> String {
        format!("oci:{}", self.folder.path().join("layout").display())
    }

    /// Manifest, configuration and layers.
    fn blobs_of_old(&self) -> usize {
        let image = Image::load(&self.blobs, &self.old).unwrap();
        2 + image.manifest.layers.len()
    }

    /// Has a registry hold the old image.
    fn fill(&self, registry: &Registry) {
        let image = Image::load(&self.blobs, &self.old).unwrap();
        let blobs = image.manifest.layers.iter().chain([&image.manifest.config]);
        for blob in blobs {
            registry.put_blob(REPOSITORY, &self.blobs.read(&blob.digest).unwrap());
        }
        let bytes = self.blobs.read(&self.old).unwrap();
        let kind = image.manifest.own_media_type();
        registry.put_manifest(REPOSITORY, "1", kind, &bytes);
    }
}

/// Other users read the layout.
fn open_to_all(folder: &Path) {
    let path = folder.to_string_lossy().into_owned();
    test_support::output_of("chmod", &["-R", "a+rX", &path], Path::new("/"));
}

/// What is in a store that a user could come upon: names, and blobs with what they hold.
#[derive(Debug, PartialEq, Eq)]
struct Listing {
    names: Vec<String>,
    blobs: usize,
}

/// Lists the store, and makes sure that everything in it is whole.
fn listing(t: &TestContext) -> Listing {
    let names = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let folder = t.store().join("blobs/sha256");
    let blobs = names(&folder);
    for name in &blobs {
        let content = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(
            Digest::of(&content).hex(),
            *name,
            "a blob that is not whole"
        );
    }
    for name in names(&t.store().join("blobs")) {
        let expected = ["sha256", "partial", "diff-ids", "staging"];
        assert!(expected.contains(&name.as_str()), "{name} in blobs");
    }
    let staged = names(&t.store().join("blobs/staging"));
    assert_eq!(staged, Vec::<String>::new(), "left in the staging folder");
    let mut images = names(&t.store().join("images"));
    images.retain(|name| name != "pushed");
    Listing {
        names: images,
        blobs: blobs.len(),
    }
}

/// Runs a row; what is printed is what goes into the snapshot.
fn check(row: Row, source: &Source) -> String {
    let Row {
        name,
        command,
        exit,
        mut profile,
        setup,
    } = row;
    let t = TestContext::bare(BINARY, Who::Plain).unwrap();
    let other = Registry::start(Profile::default());
    source.fill(&other);
    let registry = Registry::start(Profile::default());
    if let Some(change) = setup.with_hosts {
        change(&mut profile, &registry.host(), &other.host());
    }
    let auth = profile.auth;
    source.fill(&registry);
    if let Some(prepare) = setup.prepared {
        prepare(&registry, source);
    }
    registry.becomes(profile);
    let address = registry.host();
    let host = if setup.through_proxy {
        "registry.example"
    } else {
        &address
    };
    if let Some(login) = setup.login {
        log_in(&t, host, login);
    }
    let out = t.scratch().join("out").display().to_string();
    let run_this = |command: &str, patience: Option<&str>| -> Finished {
        let words = command.split(' ').map(|word| {
            word.replace("HOST", host)
                .replace("OTHER", &other.host())
                .replace("LAYOUT", &source.layout())
                .replace("OUT", &out)
                .replace("IMAGE", &source.old.to_string())
        });
        let mut call = t.slugc().args(words);
        if let Some(seconds) = patience {
            call = call.env("SLUGC_REGISTRY_TIMEOUT", seconds);
        }
        if setup.through_proxy {
            call = call
                .arg("--insecure-registry")
                .arg(host)
                .env("HTTPS_PROXY", format!("http://{address}"));
        }
        call.run()
    };
    let run = |patience| run_this(command, patience);
    if let Some(first) = setup.first {
        run_this(first, None).failure(0);
    }
    let (before, there) = (listing(&t), (registry.listing(), other.listing()));
    let finished = run(setup.patience).failure(exit);
    finished_well(&finished, name);
    mounts_say_where_from(name, &registry, command == MOUNT);
    no_credentials_left(name, &registry, &other);
    let unmet = registry.unmet_faults();
    let meets_none = quirks::UNMET.contains(&name);
    assert_eq!(!unmet.is_empty(), meets_none, "{name}: not met: {unmet:?}");
    let after = listing(&t);
    if exit != 0 {
        assert_eq!(after.names, before.names, "{name}: names in the store");
        let now = (registry.listing(), other.listing());
        assert_eq!(now, there, "{name}: tags in the registries");
        assert!(!Path::new(&out).exists(), "{name}: something was written");
    }
    if exit != 0 && !setup.hopeless {
        // What the fault left behind, in the store and there, is in nobody's way.
        registry.becomes(Profile {
            auth,
            ..Profile::default()
        });
        source.fill(&registry);
        log_in(&t, host, "ann:pw");
        run(None).failure(0);
        listing(&t);
    }
    if exit == 0 && command.starts_with("pull ") {
        assert_eq!(finished.digest(), source.old.to_string(), "{name}");
        assert_eq!(after.blobs, source.blobs_of_old(), "{name}");
    }
    let is_there = |repository: &str, image: Digest| {
        let (_, bytes) = registry.manifest(repository, "1").unwrap();
        assert_eq!(Digest::of(&bytes), image, "{name}: what is there now");
    };
    if exit == 0 && command.ends_with("HOST/mine/app:1") {
        is_there("mine/app", source.old);
    }
    if command.starts_with("copy LAYOUT") && !setup.hopeless {
        is_there(REPOSITORY, source.new);
    }
    let said = finished.stderr.replace(&address, "HOST");
    let said = said.replace(&*t.home().to_string_lossy(), "[HOME]");
    let said = without_reason(&said.replace(&other.host(), "OTHER"));
    format!("# {name}\n$ slugc {command}\nexit {exit}\n{said}\n")
}

/// Every mount says where from, and there are some exactly where the command is the one that mounts.
fn mounts_say_where_from(name: &str, registry: &Registry, expected: bool) {
    let mounts = registry.requests("POST", "mount=");
    for mount in &mounts {
        let from = mount.query("from");
        assert!(from.is_some(), "{name}: {mount:?} does not say where from");
    }
    assert_eq!(!mounts.is_empty(), expected, "{name}: {mounts:?}");
}

fn no_credentials_left(name: &str, registry: &Registry, other: &Registry) {
    let under_another_name = registry.log().into_iter().filter(Request::is_elsewhere);
    for request in other.log().into_iter().chain(under_another_name) {
        assert_eq!(
            request.header("authorization"),
            None,
            "{name}: credentials left"
        );
    }
}

fn finished_well(finished: &Finished, name: &str) {
    for word in PASSWORDS {
        let everything = format!("{} {}", finished.stdout, finished.stderr);
        let mut words = everything.split(|c: char| !c.is_alphanumeric());
        assert!(
            !words.any(|it| it == word),
            "{name} says a password:\n{everything}"
        );
    }
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

fn log_in(t: &TestContext, host: &str, login: &str) {
    let folder = t.home().join(".docker");
    std::fs::create_dir_all(&folder).unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let login = match user {
        // As docker keeps a token to get tokens with.
        "<token>" => serde_json::json!({ "identitytoken": password }),
        _ => serde_json::json!({ "username": user, "password": password }),
    };
    let entry = serde_json::json!({ "auths": { host: login } });
    std::fs::write(folder.join("config.json"), entry.to_string()).unwrap();
    t.give(&folder);
    t.give(&folder.join("config.json"));
}

/// How a connection breaks depends on who notices first.
fn without_reason(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let broken = [
            "no answer from http://HOST: ",
            "no answer from http://OTHER: ",
        ];
        let end = broken
            .iter()
            .find_map(|start| line.find(start).map(|at| at + start.len()));
        match end {
            Some(end) if !line[end..].starts_with("it took too long") => {
                format!("{}[BROKEN]", &line[..end])
            }
            _ => line.to_owned(),
        }
    });
    let mut joined = String::new();
    for line in lines {
        writeln!(joined, "{line}").unwrap();
    }
    joined
}

/// Rows mostly wait, so that many run at once.
fn check_all(rows: Vec<Row>) -> String {
    let source = Source::make();
    let count = rows.len();
    let rows: Vec<Mutex<Option<Row>>> = rows.into_iter().map(|row| Mutex::new(Some(row))).collect();
    let results: Vec<_> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                loop {
                    let position = next.fetch_add(1, Ordering::Relaxed);
                    let Some(row) = rows.get(position) else {
                        return;
                    };
                    let row = row.lock().unwrap_or_else(PoisonError::into_inner).take();
                    let checked = catch_unwind(AssertUnwindSafe(|| check(row.unwrap(), &source)));
                    *results[position].lock().unwrap() = Some(checked);
                }
            });
        }
    });
    // What failed has been printed; the other rows had their turn nevertheless.
    let results = results.into_iter();
    let said: Vec<String> = results
        .filter_map(|result| result.into_inner().unwrap()?.ok())
        .collect();
    assert_eq!(said.len(), count, "rows that are as they should be");
    said.concat()
}

fn check_as_snapshot(rows: Vec<Row>, snapshot: &str) {
    let Some(t) = TestContext::bare(BINARY, Who::Plain) else {
        return;
    };
    let said = check_all(rows);
    with_filters(&t, || {
        let mut settings = insta::Settings::clone_current();
        // Which of several blobs is the first to fail.
        settings.add_filter(r"\b(expected|got|has|byte|not) \d+", "$1 [N]");
        settings.bind(|| insta::assert_snapshot!(snapshot, said));
    });
}

#[test]
fn quirks_are_lived_with() {
    check_as_snapshot(quirks::rows(), "registry_quirks");
}

#[test]
fn faults_are_named_and_leave_nothing() {
    check_as_snapshot(faults::rows(), "registry_faults");
}

#[test]
fn logins_that_are_refused_name_their_source() {
    let row = |name, auth, login: Option<&'static str>| {
        let row = Row::new(name, "copy LAYOUT:1 HOST/team/app:1", 4, |profile| {
            profile.auth = auth;
        });
        row.with(|setup| setup.login = login)
    };
    let wrong = Some("ann:hunter2");
    let rows = vec![
        row("basic: the password is wrong", Auth::Basic, wrong),
        row("basic: nobody is logged in", Auth::Basic, None),
        row("tokens: the password is wrong", Auth::Token, wrong),
        row("tokens: nobody is logged in", Auth::Token, None),
        row(
            "basic: the login is a token",
            Auth::Basic,
            Some("<token>:hunter2"),
        ),
    ];
    check_as_snapshot(rows, "registry_logins");
}

//! A tiny image made of this machine's own shell, and dynos of it in processes of their own.
//!
//! This test binary plays three parts: the tests; the process that launches or runs a dyno, as root
//! or as a plain user; and, copied into the image, a server.

use crate::image::build_image;
use oci_image::{BlobStore, Digest, Image};
use slug_runtime::addons::InUse;
use slug_runtime::inside::{InsideInputs, run_inside};
use slug_runtime::port::PortChoice;
use slug_runtime::release_phase::{self, ReleaseInputs};
use slug_runtime::roots::Roots;
use slug_runtime::run::{RunInputs, Terminal, run_one_off};
use slug_runtime::supervisor::{
    self, Client, Deployed, Inputs, Limits, Loader, Quantities, Status, SupervisorLock, supervise,
};
use slug_runtime::{App, Colour, HostFiles};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The name of the test that plays the other parts.
const PART: &str = "fixture::part";
/// An id without privileges, for tests as somebody else than root.
const PLAIN: u32 = 12_345;

/// Who launches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever runs the tests.
    Caller,
    /// A user without privileges, if the tests run as root.
    Plain,
}

/// Everybody who can be tried here.
pub(crate) fn everybody() -> Vec<Who> {
    if !rustix::process::geteuid().is_root() {
        return vec![Who::Caller];
    }
    let setpriv = Command::new("setpriv").arg("--version").output();
    if setpriv.is_ok_and(|output| output.status.success()) {
        return vec![Who::Caller, Who::Plain];
    }
    println!("skipped: a plain user, for want of setpriv");
    vec![Who::Caller]
}

/// A store with the image, and what a launch needs besides.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    who: Who,
    manifest: Digest,
}

impl Fixture {
    pub(crate) fn new(who: Who) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path().join("blobs")).unwrap();
        let manifest = build_image(&blobs);
        if who == Who::Plain {
            give_away(folder.path());
        }
        Self {
            folder,
            who,
            manifest,
        }
    }

    /// A process that launches process types, with the log in [`Fixture::log`].
    pub(crate) fn launch(&self, types: &str) -> Command {
        let mut command = self.part("launch");
        command.env("TYPES", types);
        command
    }

    /// A process that runs the release command.
    pub(crate) fn release(&self, kind: &str) -> Command {
        let mut command = self.part("release");
        command.env("KIND", kind);
        command
    }

    /// A process that runs a one-off: words separated by newlines.
    pub(crate) fn run(&self, words: &[&str]) -> Command {
        let mut command = self.part("run");
        command.env("WORDS", words.join("\n"));
        command
    }

    /// Runs a command inside the dyno whose first process this is.
    pub(crate) fn inside(&self, pid: u32, words: &[&str]) -> Command {
        let mut command = self.run(words);
        command
            .env("PART", "inside")
            .env("DYNO_PID", pid.to_string());
        command
    }

    fn part(&self, part: &str) -> Command {
        let own = std::env::current_exe().unwrap();
        let mut command = match self.who {
            Who::Caller => Command::new(own),
            Who::Plain => {
                let mut command = Command::new("setpriv");
                let id = PLAIN.to_string();
                command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]);
                command.arg(own);
                command
            }
        };
        command
            .args([PART, "--exact", "--nocapture"])
            .env("PART", part)
            .env("FOLDER", self.folder.path())
            .env("MANIFEST", self.manifest.to_string())
            .env("SECRET_OF_THE_HOST", "1");
        command
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The log's lines without their instants, as text.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    /// When the log's lines with this text were written.
    pub(crate) fn instants_of(&self, text: &str) -> Vec<jiff::Timestamp> {
        let log = fs::read_to_string(self.log_path()).unwrap();
        log.lines()
            .filter(|line| line.contains(text))
            .map(|line| line.split_once(' ').unwrap().0.parse().unwrap())
            .collect()
    }

    /// Waits until the log has a line.
    pub(crate) fn wait_for(&self, line: &str) {
        wait_until(&format!("{line:?} in the log of {:?}", self.who), || {
            self.log().iter().any(|logged| logged.contains(line))
        });
    }

    /// The supervisor's other end.
    pub(crate) fn client(&self) -> Client {
        let mut found = None;
        wait_until("a supervisor", || {
            let supervisor = supervisor::Supervisor::find(self.folder.path()).unwrap();
            if let supervisor::Supervisor::Running(client) = supervisor {
                found = Some(client);
            }
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits until what runs is as it should be.
    pub(crate) fn wait_for_status(
        &self,
        client: &Client,
        what: &str,
        is_so: impl Fn(&Status) -> bool,
    ) -> Status {
        let mut last = client.status().unwrap();
        wait_until(&format!("{what}, {:?}", self.who), || {
            last = client.status().unwrap();
            is_so(&last)
        });
        last
    }

    /// Sets what the next release has, as variables.
    pub(crate) fn set_release(&self, version: u64, config: &str) {
        let staged = self.folder.path().join("release.new");
        fs::write(&staged, format!("{version}\n{config}")).unwrap();
        fs::set_permissions(&staged, Permissions::from_mode(0o644)).unwrap();
        fs::rename(&staged, self.folder.path().join("release")).unwrap();
    }

    /// Folders of dynos, of which none may stay.
    pub(crate) fn leftovers(&self) -> usize {
        fs::read_dir(self.folder.path().join("run")).map_or(0, Iterator::count)
    }
}

/// Waits for what happens soon, and panics when it doesn't happen at all.
pub(crate) fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Host processes whose command line has these words, which only the test's own have.
pub(crate) fn processes_with(words: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        found += usize::from(line.trim() == words);
    }
    found
}

/// Plays the part that the environment says; nothing in an ordinary run of the tests.
#[test]
fn part() {
    let Ok(part) = std::env::var("PART") else {
        return;
    };
    let code = match part.as_str() {
        "serve" => serve(),
        "launch" => play(|_| launch_part()),
        "release" => play(release_part),
        "run" => play(run_part),
        "inside" => play(inside_part),
        other => panic!("no part {other}"),
    };
    std::process::exit(code);
}

fn play(part: fn(App<'_>) -> Result<i32, Box<dyn Error>>) -> i32 {
    let folder = PathBuf::from(std::env::var_os("FOLDER").unwrap());
    let deployed = deployed(&folder);
    let app = App {
        image: &deployed.image,
        lowers: &deployed.lowers,
        config_vars: &deployed.config,
        metadata: None,
        bound: None,
        host: &HostFiles::default(),
        run_dir: &folder.join("run"),
    };
    part(app).unwrap_or_else(|error| {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        eprintln!("error: {message}");
        99
    })
}

/// What runs: the release of the file `release`, a version and config vars; without it, the first.
fn deployed(folder: &Path) -> Deployed {
    let blobs = BlobStore::open(folder.join("blobs")).unwrap();
    let digest: Digest = std::env::var("MANIFEST").unwrap().parse().unwrap();
    let image = Image::load(&blobs, &digest).unwrap();
    let roots = Roots::open(folder.join("roots")).unwrap();
    let lowers = roots.lowers(&image, &blobs).unwrap();
    let mut config = BTreeMap::from([
        ("GREETING".to_owned(), "hello".to_owned()),
        ("PORT".to_owned(), "1".to_owned()),
    ]);
    if let Ok(port) = std::env::var("WRONG_PORT") {
        config.insert("WRONG_PORT".to_owned(), port);
    }
    let release = fs::read_to_string(folder.join("release")).unwrap_or_else(|_| "1".to_owned());
    let mut lines = release.lines();
    let version = lines.next().unwrap().parse().unwrap();
    config.extend(lines.map(|line| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    }));
    Deployed {
        version,
        created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        description: "Deploy 1a2b3c4d".to_owned(),
        digest,
        image,
        lowers,
        config,
        addons: InUse::default(),
    }
}

fn launch_part() -> Result<i32, Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var("FOLDER")?);
    let deployed_now = deployed(&folder);
    let types = std::env::var("TYPES")?;
    let mut formation = Quantities::new();
    for word in types.split_whitespace() {
        let (name, count) = word.split_once('=').unwrap_or((word, "1"));
        formation.insert(name.parse()?, count.parse()?);
    }
    if formation.is_empty() {
        formation.insert(deployed_now.processes()?.default_type()?, 1);
    }
    let port = std::env::var("LAUNCH_PORT").map_or(Ok(0), |port| port.parse())?;
    let log = match std::env::var_os("LOG_TO_STDOUT") {
        Some(_) => File::from(std::io::stdout().as_fd().try_clone_to_owned()?),
        None => File::create(folder.join("log"))?,
    };
    let (lock, killed) = SupervisorLock::take(&folder)?;
    if let Some(pid) = killed {
        eprintln!("killed: {pid}");
    }
    let loader: Loader = Arc::new({
        let folder = folder.clone();
        move || match fs::read_to_string(folder.join("unloadable")) {
            Ok(why) => Err(why.into()),
            Err(_) => Ok(deployed(&folder)),
        }
    });
    let inputs = Inputs {
        app: "shop".to_owned(),
        lock,
        deployed: deployed_now,
        loader,
        formation,
        overrides: BTreeMap::new(),
        host: HostFiles::default(),
        port: PortChoice::Exact(port),
        output: Some(log.into()),
        colour: Colour::Never,
        limits: Limits {
            boot: seconds_or("BOOT_SECONDS", 20),
            exit: seconds_or("EXIT_SECONDS", 20),
            cycle: seconds_or("CYCLE_SECONDS", 24 * 60 * 60),
            cycle_spread: Duration::ZERO,
            ..Limits::default()
        },
    };
    Ok(supervise(inputs, |_| {})?)
}

fn seconds_or(name: &str, default: u64) -> Duration {
    let value = std::env::var(name).ok();
    Duration::from_secs(value.and_then(|it| it.parse().ok()).unwrap_or(default))
}

fn words() -> Result<Vec<String>, Box<dyn Error>> {
    Ok(std::env::var("WORDS")?
        .split('\n')
        .map(str::to_owned)
        .collect())
}

fn run_part(app: App<'_>) -> Result<i32, Box<dyn Error>> {
    let words = words()?;
    let ended = run_one_off(&RunInputs {
        app,
        command: &words,
        terminal: Terminal::WhenThereIsOne {
            term: Some("vt100"),
        },
    })?;
    Ok(ended.code)
}

fn inside_part(app: App<'_>) -> Result<i32, Box<dyn Error>> {
    let words = words()?;
    Ok(run_inside(&InsideInputs {
        dyno: "polite.1",
        pid: std::env::var("DYNO_PID")?.parse()?,
        image: app.image,
        command: &words,
        env: &BTreeMap::new(),
        terminal: Terminal::WhenThereIsOne {
            term: Some("vt100"),
        },
    })?)
}

/// Runs the release command that `KIND` chooses among those of the image's process type.
fn release_part(app: App<'_>) -> Result<i32, Box<dyn Error>> {
    let seconds = std::env::var("LIMIT_SECONDS").map_or(Ok(60), |text| text.parse())?;
    let config_vars = BTreeMap::from([("KIND".to_owned(), std::env::var("KIND")?)]);
    let outcome = release_phase::run(
        &ReleaseInputs {
            app: App {
                config_vars: &config_vars,
                ..app
            },
            version: 7,
            limit: Duration::from_secs(seconds),
            logs: &PathBuf::from(std::env::var("FOLDER")?).join("logs"),
        },
        &mut |bytes| {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(bytes).unwrap();
            stdout.flush().unwrap();
        },
    )?;
    println!("{outcome:?}");
    Ok(0)
}

/// Answers requests on `PORT`, or on the port in `WRONG_PORT`, each after a moment.
fn serve() -> i32 {
    let port = std::env::var("WRONG_PORT").or_else(|_| std::env::var("PORT"));
    let port: u16 = port.unwrap().parse().unwrap();
    let greeting = std::env::var("GREETING").unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    for connection in listener.incoming().flatten() {
        let greeting = greeting.clone();
        // Whoever looks whether somebody listens says nothing and goes.
        std::thread::spawn(move || drop(answer(&connection, &greeting)));
    }
    0
}

fn answer(mut connection: &std::net::TcpStream, greeting: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        let length = greeting.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{greeting}");
        connection.write_all(answer.as_bytes())?;
    }
}

fn give_away(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    chown(path, Some(PLAIN), Some(PLAIN)).unwrap();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_away(&path);
        } else {
            chown(&path, Some(PLAIN), Some(PLAIN)).unwrap();
        }
    }
}

//! Running `slugc`: to its end, or beside the test.

use crate::confined;
use crate::user::Ids;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than a bootstrap on a slow network; a hang must still end the test.
const LIMIT: Duration = Duration::from_mins(15);

/// What the machine's owner may have set for downloads; everything else of the tests'
/// environment stays out.
const PASSED: [&str; 14] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PIP_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "SLUGC_DEBIAN_MIRROR",
    "RUST_BACKTRACE",
];

/// A call of `slugc` that is being put together.
#[derive(Debug)]
#[must_use]
pub struct Slugc {
    command: Command,
    line: String,
    input: Option<Vec<u8>>,
    confined: bool,
}

impl Slugc {
    pub(crate) fn new(binary: &Path, ids: Ids, home: &Path, data: &Path, folder: &Path) -> Self {
        let mut command = ids.command(binary);
        command.env_clear();
        for name in PASSED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", home)
            .env("XDG_DATA_HOME", data)
            .env("LC_ALL", "C.UTF-8")
            .current_dir(folder);
        Self {
            command,
            line: "slugc".to_owned(),
            input: None,
            confined: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// Sets a variable of slugc's own environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it in another folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it in a network namespace of its own, in which there is nothing: root only.
    pub fn without_network(mut self) -> Self {
        let mut outer = Command::new("unshare");
        outer
            .args(["--net", "--"])
            .arg(self.command.get_program())
            .args(self.command.get_args());
        outer.env_clear();
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                outer.env(name, value);
            }
        }
        if let Some(folder) = self.command.get_current_dir() {
            outer.current_dir(folder);
        }
        self.command = outer;
        self
    }

    /// Runs it as the root of an ordinary container would: it may not make namespaces.
    pub fn without_namespaces(mut self) -> Self {
        self.confined = true;
        self
    }

    /// Gives it bytes on its standard input, which is otherwise empty.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Runs it to its end.
    pub fn run(self) -> Finished {
        self.start().wait(LIMIT)
    }

    /// Starts it and leaves it running.
    pub fn start(mut self) -> Running {
        self.command
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let spawned = if self.confined {
            confined::spawn(&mut self.command)
        } else {
            self.command.spawn()
        };
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => panic!("cannot start {:?}: {error}", self.command),
        };
        if let (Some(bytes), Some(mut pipe)) = (self.input, child.stdin.take()) {
            // A program that does not read its input closes the pipe: that is its right.
            std::thread::spawn(move || drop(std::io::Write::write_all(&mut pipe, &bytes)));
        }
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(Output::collect(&output, Stream::Out, pipe));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(Output::collect(&output, Stream::Error, pipe));
        }
        Running {
            child,
            line: self.line,
            output,
            readers,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Error,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Vec<(Stream, Vec<u8>)>>,
    more: Condvar,
}

impl Output {
    fn collect(
        output: &Arc<Self>,
        stream: Stream,
        pipe: impl Read + Send + 'static,
    ) -> JoinHandle<()> {
        let output = Arc::clone(output);
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let mut line = Vec::new();
                match pipe.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {
                        output
                            .lines
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((stream, line));
                        output.more.notify_all();
                    }
                }
            }
            output.more.notify_all();
        })
    }

    fn text(&self, stream: Stream) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = lines
            .iter()
            .filter(|(of, _)| *of == stream)
            .flat_map(|(_, line)| line.iter().copied())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A `slugc` that runs beside the test; dropped, it is killed by its own pid.
#[derive(Debug)]
pub struct Running {
    child: Child,
    line: String,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    /// slugc's own process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to slugc alone.
    pub fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    /// Waits until a line of stdout or stderr contains `text`.
    ///
    /// # Panics
    /// When slugc ends first, or after a minute.
    pub fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let output = Arc::clone(&self.output);
        loop {
            let lines = output.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines
                .iter()
                .any(|(_, line)| String::from_utf8_lossy(line).contains(text))
            {
                return;
            }
            drop(output.more.wait_timeout(lines, Duration::from_millis(100)));
            assert!(
                Instant::now() < deadline && !self.has_ended(),
                "{} never printed {text:?}; it printed:\n{}",
                self.line,
                self.printed()
            );
        }
    }

    /// Whether slugc has ended and everything that it printed has been read.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
            && self.readers.iter().all(JoinHandle::is_finished)
    }

    /// What it printed so far, stdout before stderr.
    pub fn printed(&self) -> String {
        self.output.text(Stream::Out) + &self.output.text(Stream::Error)
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it takes longer than `limit`.
    pub fn wait(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) => panic!(
                    "{} still runs after {limit:?}; it printed:\n{}",
                    self.line,
                    self.printed()
                ),
                Err(error) => panic!("cannot wait for {}: {error}", self.line),
            }
        };
        // The pipes end with the last process that holds them: a survivor of slugc would keep
        // its end open, and that is a failure too.
        for reader in self.readers.drain(..) {
            while !reader.is_finished() {
                assert!(
                    Instant::now() < deadline,
                    "{} has ended, but something it started holds its output open",
                    self.line
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Finished {
            line: self.line.clone(),
            status,
            stdout: self.output.text(Stream::Out),
            stderr: self.output.text(Stream::Error),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Finished {
    line: String,
    status: ExitStatus,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error, as text.
    pub stderr: String,
}

#[expect(
    clippy::return_self_not_must_use,
    reason = "the check alone is a purpose"
)]
impl Finished {
    /// The exit code; 128 and the signal's number after a signal.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .or_else(|| self.status.signal().map(|number| 128 + number))
            .unwrap_or(-1)
    }

    /// Expects exit code 0.
    pub fn success(self) -> Self {
        self.failure(0)
    }

    /// Expects this exit code.
    pub fn failure(self, code: i32) -> Self {
        assert!(
            self.code() == code,
            "{} ended with {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.code(),
            self.stdout,
            self.stderr
        );
        self
    }

    /// Expects each text somewhere in stdout or stderr.
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "{} did not say {text:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.line,
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// Expects none of the texts anywhere.
    pub fn never_says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                !self.stdout.contains(text) && !self.stderr.contains(text),
                "{} said {text:?}\n--- stdout\n{}\n--- stderr\n{}",
                self.line,
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// The first `sha256:…` of stdout: the image's digest, after a build.
    ///
    /// # Panics
    /// When there is none.
    pub fn digest(&self) -> String {
        let digest = self.stdout.match_indices("sha256:").find_map(|(start, _)| {
            let hex: String = self.stdout[start + 7..]
                .chars()
                .take_while(char::is_ascii_hexdigit)
                .collect();
            (hex.len() == 64).then(|| format!("sha256:{hex}"))
        });
        match digest {
            Some(digest) => digest,
            None => panic!("{} printed no digest:\n{}", self.line, self.stdout),
        }
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not.
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_str(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!(
                "{} did not print JSON ({error}):\n{}",
                self.line, self.stdout
            ),
        }
    }
}

/// Sends a signal to a process that the test has started, directly or not.
///
/// # Panics
/// When there is no such process.
pub fn kill(pid: u32, signal: Signal) {
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(process) = process else {
        panic!("{pid} is no pid");
    };
    if let Err(error) = kill_process(process, signal) {
        panic!("cannot signal the process {pid}: {error}");
    }
}

/// Runs another program to its end, as the tests' own user, and returns its standard output.
///
/// # Panics
/// When it cannot be started or fails.
pub fn output_of<A: AsRef<OsStr> + Debug>(program: &str, arguments: &[A], folder: &Path) -> String {
    let result = Command::new(program)
        .args(arguments.iter().map(AsRef::as_ref))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match result {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => panic!(
            "{program} {arguments:?} failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!("cannot run {program} in {}: {error}", folder.display()),
    }
}

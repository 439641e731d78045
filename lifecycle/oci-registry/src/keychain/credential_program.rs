//! Credential helpers: `docker-credential-NAME get` (docker's credential helper protocol).

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Credentials, Found, KeychainError};

/// Some helpers ask the user to unlock a keyring.
const PATIENCE: Duration = Duration::from_mins(1);

const LONGEST_ANSWER: u64 = 1 << 20;

/// What helpers say when they know nothing; a fixed text of the protocol.
const NOT_FOUND: [&str; 2] = [
    "credentials not found in native keychain",
    "no credentials server URL",
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// A program that keeps credentials, which a file of docker's or podman's names.
#[derive(Debug, Clone)]
pub struct Helper {
    program: String,
    place: PathBuf,
    origin: String,
}

impl Helper {
    /// Looks for `docker-credential-NAME` on `path`. `origin` is the file that names it.
    pub fn find(name: &str, path: &OsStr, origin: &str) -> Result<Self, KeychainError> {
        let program = format!("docker-credential-{name}");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.bytes().all(is_name) {
            return Err(KeychainError::Helper {
                program,
                origin: origin.to_owned(),
                problem: "that is no name of a helper".to_owned(),
            });
        }
        match find_program(&program, path) {
            Some(place) => Ok(Self {
                program,
                place,
                origin: origin.to_owned(),
            }),
            None => Err(KeychainError::HelperStart {
                program,
                origin: origin.to_owned(),
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    /// Keeps a login.
    pub fn store(&self, server: &str, username: &str, secret: &str) -> Result<(), KeychainError> {
        let input = serde_json::json!({
            "ServerURL": server,
            "Username": username,
            "Secret": secret,
        });
        let (success, _) = self.call("store", &input.to_string())?;
        if success {
            return Ok(());
        }
        Err(self.failed(format!("it could not keep the login for {server}")))
    }

    /// Forgets a login; one that is not there is forgotten already.
    pub fn erase(&self, server: &str) -> Result<(), KeychainError> {
        let (success, output) = self.call("erase", server)?;
        if success || says_not_found(&output) {
            return Ok(());
        }
        Err(self.failed(format!("it could not forget the login for {server}")))
    }

    fn call(&self, verb: &str, input: &str) -> Result<(bool, Vec<u8>), KeychainError> {
        let mut child = Command::new(&self.place)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|source| KeychainError::HelperStart {
                program: self.program.clone(),
                origin: self.origin.clone(),
                source,
            })?;
        answer(&mut child, input).map_err(|problem| self.failed(problem.to_owned()))
    }

    fn failed(&self, problem: String) -> KeychainError {
        KeychainError::Helper {
            program: self.program.clone(),
            origin: self.origin.clone(),
            problem,
        }
    }
}

fn says_not_found(output: &[u8]) -> bool {
    let text = String::from_utf8_lossy(output);
    NOT_FOUND.iter().any(|known| text.contains(known))
}

/// Asks one helper; `None` when it has nothing for this registry.
pub(super) fn ask(
    name: &str,
    server: &str,
    path: &OsStr,
    origin: &str,
) -> Result<Option<Found>, KeychainError> {
    let helper = Helper::find(name, path, origin)?;
    let failed = |problem: String| helper.failed(problem);
    let program = &helper.program;
    let (success, output) = helper.call("get", server)?;
    if !success {
        if says_not_found(&output) {
            return Ok(None);
        }
        // What it printed may hold a secret.
        return Err(failed(format!(
            "it could not tell the credentials for {server}; run it by hand: echo {server} | {program} get"
        )));
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| failed("its answer is not the JSON it should be".to_owned()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    let credentials = if answer.username == "<token>" {
        Credentials::IdentityToken(answer.secret)
    } else {
        Credentials::Basic {
            username: answer.username,
            password: answer.secret,
        }
    };
    Ok(Some(Found {
        credentials,
        origin: format!("{program} (named in {origin})"),
    }))
}

fn find_program(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|place| Path::is_file(place))
}

/// Whether it succeeded, and its output. A helper that takes too long is killed.
fn answer(child: &mut Child, server: &str) -> Result<(bool, Vec<u8>), &'static str> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that ends without reading says why by its exit status.
        drop(input.write_all(server.as_bytes()));
    }
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let read = output.take(LONGEST_ANSWER).read_to_end(&mut text);
            drop(sender.send(read.map(|_| text)));
        });
    }
    let deadline = Instant::now() + PATIENCE;
    let output = receiver.recv_timeout(PATIENCE);
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if output.is_ok() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            _ => break None,
        }
    };
    let Some(status) = ended else {
        drop(child.kill());
        drop(child.wait());
        return Err("it did not answer in time");
    };
    match output {
        Ok(Ok(text)) => Ok((status.success(), text)),
        _ => Err("its answer could not be read"),
    }
}

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

/// Asks one helper; `None` when it has nothing for this registry.
pub(super) fn ask(
    name: &str,
    server: &str,
    path: &OsStr,
    origin: &str,
) -> Result<Option<Found>, KeychainError> {
    let program = format!("docker-credential-{name}");
    let start = |source| KeychainError::HelperStart {
        program: program.clone(),
        origin: origin.to_owned(),
        source,
    };
    let failed = |problem: String| KeychainError::Helper {
        program: program.clone(),
        origin: origin.to_owned(),
        problem,
    };
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    {
        return Err(failed("that is no name of a helper".to_owned()));
    }
    let place =
        find_program(&program, path).ok_or_else(|| start(io::ErrorKind::NotFound.into()))?;
    let mut child = Command::new(place)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    let (success, output) =
        answer(&mut child, server).map_err(|problem| failed(problem.to_owned()))?;
    if !success {
        let text = String::from_utf8_lossy(&output);
        if NOT_FOUND.iter().any(|known| text.contains(known)) {
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

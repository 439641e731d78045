//! Docker and podman: their API sockets where there are any, else their own programs.

use crate::failure::{Exit, Failure, OrFail};
use crate::place::EngineKind;
use crate::store::Store;
use oci_image::Archive;
use oci_registry::{Engine, EngineError};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How an engine is reached.
enum Way {
    Socket(PathBuf),
    /// `docker` or `podman`, which know about contexts, ssh and engines without a socket.
    Program(&'static str),
}

/// Gives an archive to the engine. Returns what it says about it.
pub(super) fn load(kind: EngineKind, archive: Archive) -> Result<Vec<String>, Failure> {
    match way(kind)? {
        Way::Socket(socket) => {
            let length = archive.length();
            Engine::new(&socket)
                .load(archive, length)
                .map_err(|error| failed(kind, error))
        }
        Way::Program(program) => {
            let child = start(program, ["load", "--quiet"], Stdio::piped(), Stdio::piped())?;
            feed(&format!("{program} load"), program, child, archive)
        }
    }
}

/// The engine's archive of an image, in a file without a name: however this process ends, nothing stays.
pub(super) struct Saved(pub(super) File);

impl Saved {
    /// Where this process can open it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

pub(super) fn save(store: &Store, kind: EngineKind, name: &str) -> Result<Saved, Failure> {
    let writing = || format!("cannot write a file in {}", store.root().display());
    let mut file = tempfile::tempfile_in(store.root()).or_fail(Exit::Store, writing)?;
    match way(kind)? {
        Way::Socket(socket) => Engine::new(&socket)
            .save(name, &mut file)
            .map_err(|error| failed(kind, error))?,
        Way::Program(program) => {
            let out = file.try_clone().or_fail(Exit::Store, writing)?;
            let mut arguments = vec!["save"];
            if kind == EngineKind::Podman {
                arguments.extend(["--quiet", "--format", "docker-archive"]);
            }
            arguments.extend(["--", name]);
            finish(
                program,
                start(program, arguments, Stdio::null(), out.into())?,
            )?;
        }
    }
    file.flush().or_fail(Exit::Store, writing)?;
    Ok(Saved(file))
}

fn way(kind: EngineKind) -> Result<Way, Failure> {
    let (variable, program) = match kind {
        EngineKind::Docker => ("DOCKER_HOST", "docker"),
        EngineKind::Podman => ("CONTAINER_HOST", "podman"),
    };
    if let Some(host) = std::env::var_os(variable).filter(|host| !host.is_empty()) {
        return Ok(
            match host.to_str().and_then(|host| host.strip_prefix("unix://")) {
                Some(path) => Way::Socket(PathBuf::from(path)),
                None => Way::Program(program),
            },
        );
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let candidates = match kind {
        EngineKind::Docker => vec![
            Some(PathBuf::from("/var/run/docker.sock")),
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("docker.sock")),
        ],
        EngineKind::Podman => vec![
            folder("XDG_RUNTIME_DIR").map(|folder| folder.join("podman/podman.sock")),
            rustix::process::geteuid()
                .is_root()
                .then(|| PathBuf::from("/run/podman/podman.sock")),
        ],
    };
    let sockets: Vec<PathBuf> = candidates.into_iter().flatten().collect();
    if let Some(socket) = sockets.iter().find(|path| is_socket(path)) {
        return Ok(Way::Socket(socket.clone()));
    }
    // Docker's program cannot do without an engine; podman's is one.
    if kind == EngineKind::Podman && is_installed(program) {
        return Ok(Way::Program(program));
    }
    let looked: Vec<String> = sockets
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Err(Failure::new(
        Exit::Network,
        format!(
            "no {} engine is here: there is no socket {}",
            kind.title(),
            looked.join(" and no ")
        ),
    )
    .hint(format!(
        "start it, name its socket with {variable}=unix://PATH, or write docker-archive:FILE, which {program} load reads"
    )))
}

pub(super) fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

pub(super) fn start<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
    program: &str,
    arguments: I,
    input: Stdio,
    output: Stdio,
) -> Result<Child, Failure> {
    Command::new(program)
        .args(arguments)
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .or_fail(Exit::General, || format!("cannot run {program}"))
}

/// Gives an archive to a program that reads it from its standard input. Returns what it printed, line by line.
pub(super) fn feed(
    command: &str,
    program: &str,
    mut child: Child,
    mut archive: Archive,
) -> Result<Vec<String>, Failure> {
    let mut input = child.stdin.take();
    let sent = input
        .as_mut()
        .map_or(Ok(0), |input| io::copy(&mut archive, input));
    drop(input);
    // What a program that ended early said matters more than that it took no more.
    let said = finish(program, child)?;
    sent.or_fail(Exit::General, || {
        format!("cannot give the image to {command}")
    })?;
    Ok(said.lines().map(str::to_owned).collect())
}

/// What the program printed, once it succeeded.
pub(super) fn finish(program: &str, child: Child) -> Result<String, Failure> {
    let output = child
        .wait_with_output()
        .or_fail(Exit::General, || format!("cannot wait for {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        Exit::General,
        format!("{program} failed: {}", said.trim()),
    ))
}

fn failed(kind: EngineKind, error: EngineError) -> Failure {
    let exit = match error {
        EngineError::NoSuchImage { .. } => Exit::Input,
        _ => Exit::Network,
    };
    let failure = Failure::new(
        exit,
        format!("cannot exchange an image with {}", kind.title()),
    );
    let failure = match &error {
        EngineError::Unreachable { source, .. }
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            failure.hint(
                "ask to be let in, for example into the group docker, or write docker-archive:FILE",
            )
        }
        EngineError::Unreachable { .. } => {
            failure.hint("start the engine, or write docker-archive:FILE")
        }
        EngineError::NoSuchImage { .. } => {
            failure.hint("check the name; the engine lists what it has")
        }
        _ => failure,
    };
    failure.because(error)
}

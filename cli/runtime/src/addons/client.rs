//! Programs of an add-on's root that talk to its server: psql, redis-cli, Kafka's tools.

use super::error::AddonError;
use super::record::Addon;
use super::server;
use super::store::Addons;
use crate::run::{self, RunError, Terminal};
use sandbox::{Mount, Sandbox, Stream};
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Where the caller's folder is, inside.
const FOLDER: &str = "/workspace";

/// A program and what it gets.
#[derive(Debug)]
pub struct Client<'a> {
    /// Looked up in the root.
    pub argv: &'a [String],
    pub env: &'a [(&'a str, &'a str)],
    /// A folder of the caller's that the program works in.
    pub folder: Option<&'a Path>,
    /// Further files, read-only: on the host, and where they are inside.
    pub files: &'a [(PathBuf, PathBuf)],
    pub streams: Streams<'a>,
}

/// What a program's standard streams are.
#[derive(Debug)]
pub enum Streams<'a> {
    /// The caller's own, its terminal included.
    Own(Terminal<'a>),
    /// Files; what is left out is the caller's own standard error and no input.
    Files {
        stdin: Option<File>,
        stdout: Option<File>,
    },
}

/// Runs a program in the add-on's root, as whoever calls, and returns its exit code.
pub fn run_client(addons: &Addons, addon: &Addon, client: Client<'_>) -> Result<i32, AddonError> {
    let (root, mut mounts) = server::root(addons, addon.service)?;
    let program = client.argv.first().cloned().unwrap_or_default();
    let mut sandbox = Sandbox::new(root, client.argv.iter().map(OsString::from).collect());
    sandbox.uid = 0;
    sandbox.gid = 0;
    sandbox.hostname.clone_from(&addon.name);
    sandbox.env = server::environment()
        .chain([("HOME".into(), "/root".into())])
        .chain(
            client
                .env
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
        .collect();
    if let Some(folder) = client.folder {
        mounts.push(Mount::read_write(folder, FOLDER));
        sandbox.cwd = FOLDER.into();
    }
    mounts.extend(
        client
            .files
            .iter()
            .map(|(from, to)| Mount::read_only(from, to)),
    );
    if let Some(certificates) = &addon.certificates {
        let written = certificates.write(&addons.folder(&addon.name).join("client"))?;
        mounts.extend(written.iter().map(|(from, to)| Mount::read_only(from, to)));
    }
    sandbox.mounts = mounts;
    let failed = |source: RunError| AddonError::Client {
        program: program.clone(),
        source,
    };
    let terminal = match client.streams {
        Streams::Own(terminal) => terminal,
        Streams::Files { stdin, stdout } => {
            sandbox.stdin = stdin.map_or(Stream::Null, |file| Stream::Fd(file.into()));
            if let Some(file) = stdout {
                sandbox.stdout = Stream::Fd(file.into());
            }
            Terminal::Never
        }
    };
    run::in_foreground(sandbox, terminal, &program).map_err(failed)
}

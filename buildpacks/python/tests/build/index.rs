//! A package index on the loopback address: Python's own file server over a folder for each package.

use crate::packages::wheel;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The index; the server ends with it.
pub(crate) struct Index {
    root: TempDir,
    server: Child,
    port: String,
}

impl Index {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("simple")).unwrap();
        let mut server = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
            .current_dir(root.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line
            .split_once(" port ")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .unwrap()
            .to_owned();
        Self { root, server, port }
    }

    /// Alpha needs beta; gamma and delta stand for extras and groups.
    pub(crate) fn with_alpha() -> Self {
        let index = Self::new();
        index.add("alpha", "1.0", &["beta"]);
        for name in ["beta", "gamma", "delta"] {
            index.add(name, "1.0", &[]);
        }
        index
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/simple", self.port)
    }

    /// Makes a wheel with a module of its own name.
    pub(crate) fn add(&self, name: &str, version: &str, requires: &[&str]) {
        let folder = self.folder(name);
        wheel(&folder, name, version, requires, &[]);
    }

    /// Where the files of a package lie.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.root.path().join("simple").join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

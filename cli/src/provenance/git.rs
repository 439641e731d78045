//! Which revision a folder is at, as git says.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// A commit, and what it was changed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revision {
    /// In hexadecimal.
    commit: String,
    /// The repository's address, without credentials.
    repository: Option<String>,
    /// Whether files that git knows differ from the commit.
    modified: bool,
}

impl Revision {
    /// As in-toto describes a resource.
    pub(super) fn descriptor(&self) -> Value {
        let mut descriptor = json!({
            "digest": { "gitCommit": self.commit },
            "annotations": { "modified": self.modified },
        });
        if let Some(repository) = &self.repository {
            descriptor["uri"] = format!("git+{repository}@{}", self.commit).into();
        }
        descriptor
    }
}

/// `None`: no repository, no commit, or no git on this machine.
pub(super) fn revision(folder: &Path) -> Option<Revision> {
    let commit = ask(folder, &["rev-parse", "--verify", "HEAD^{commit}"])?;
    let is_hash = commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let changes = ask(
        folder,
        &["status", "--porcelain", "--untracked-files=no", "--", "."],
    )?;
    let address = ask(folder, &["config", "--get", "remote.origin.url"]);
    is_hash.then(|| Revision {
        commit,
        repository: address.and_then(|address| without_credentials(&address)),
        modified: !changes.is_empty(),
    })
}

/// git's answer, if it has one. It writes nothing and starts nothing that the repository names.
fn ask(folder: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["-c", "core.fsmonitor=false"])
        .args(words)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let answer = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| answer.trim().to_owned())
}

/// `https://host/path` or `ssh://host/path`; folders of this machine mean nothing to others.
fn without_credentials(address: &str) -> Option<String> {
    let plain = address.split(['?', '#']).next()?;
    let host_of = |authority: &str| authority.rsplit('@').next().unwrap_or_default().to_owned();
    if let Some((scheme, rest)) = plain.split_once("://") {
        let (authority, path) = rest.split_once('/')?;
        let known = matches!(scheme, "https" | "http" | "ssh" | "git");
        return known.then(|| format!("{scheme}://{}/{path}", host_of(authority)));
    }
    // scp's form, `git@host:path`.
    let (authority, path) = plain.split_once(':')?;
    let is_host = !authority.is_empty() && !authority.contains('/');
    is_host.then(|| {
        format!(
            "ssh://{}/{}",
            host_of(authority),
            path.trim_start_matches('/')
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_secrets() {
        for (address, shown) in [
            (
                "https://git.example/a/b.git",
                Some("https://git.example/a/b.git"),
            ),
            (
                "https://me:tok@en@git.example/a.git?x=1",
                Some("https://git.example/a.git"),
            ),
            ("git@git.example:a/b.git", Some("ssh://git.example/a/b.git")),
            ("ssh://git@git.example:22/a", Some("ssh://git.example:22/a")),
            ("/home/me/repo", None),
            ("../repo", None),
            ("file:///home/me/repo", None),
        ] {
            assert_eq!(without_credentials(address).as_deref(), shown);
        }
    }
}

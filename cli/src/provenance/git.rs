//! Which revision a folder is at.

use crate::git;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// A commit, and where it comes from. Whether files differ from it only git could tell, which would run what the
/// repository names to find out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Revision {
    /// In hexadecimal.
    commit: String,
    /// The repository's address, without credentials.
    repository: Option<String>,
}

impl Revision {
    /// As in-toto describes a resource.
    pub(super) fn descriptor(&self) -> Value {
        let mut descriptor = json!({ "digest": { "gitCommit": self.commit } });
        if let Some(repository) = &self.repository {
            descriptor["uri"] = format!("git+{repository}@{}", self.commit).into();
        }
        descriptor
    }
}

/// `None`: no repository, no commit, or a folder that the repository ignores.
pub(super) fn revision(folder: &Path) -> Option<Revision> {
    let checkout = git::checkout(folder)?;
    let address = checkout.remote;
    Some(Revision {
        commit: checkout.commit,
        repository: address.and_then(|address| without_credentials(&address)),
    })
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

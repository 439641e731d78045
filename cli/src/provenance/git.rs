//! Which revision a folder is at.

use crate::git;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// A commit, and where it comes from. Whether files differ from it only git could tell, which would run what the
/// repository names to find out.
#[derive(Debug, Serialize, Deserialize)]
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
    Some(Revision {
        commit: checkout.commit,
        repository: checkout.remote.map(|address| git::as_url(&address)),
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
            let url = git::public(address).map(|address| git::as_url(&address));
            assert_eq!(url.as_deref(), shown);
        }
    }
}

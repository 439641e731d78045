//! The two lifecycles.

use std::path::{Path, PathBuf};
use test_support::{Need, skipped};

/// What the comparison needs; README.md beside this file says how to build it.
const REFERENCE: Need = Need::Program("upstream-lifecycle");

/// Which lifecycle runs a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Ours,
    /// The reference lifecycle, as `.ci/run` or README.md say how to get it.
    Upstream,
}

impl Which {
    /// The lifecycles that this machine has, ours first. Each test that could have compared says when it did not.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Ours];
        if upstream().is_some() {
            all.push(Self::Upstream);
        } else {
            skipped(&REFERENCE);
        }
        all
    }

    pub(crate) fn program(self) -> PathBuf {
        match self {
            Self::Ours => env!("CARGO_BIN_EXE_cnb-lifecycle").into(),
            Self::Upstream => upstream().unwrap_or_default(),
        }
    }
}

/// Where the reference lifecycle is: `target/upstream/lifecycle`, else `upstream-lifecycle` on `PATH`.
fn upstream() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/upstream/lifecycle");
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        let folders = std::env::split_paths(&path);
        folders
            .map(|folder| folder.join("upstream-lifecycle"))
            .collect::<Vec<_>>()
    });
    std::iter::once(built)
        .chain(on_path)
        .find(|path| path.is_file())
}

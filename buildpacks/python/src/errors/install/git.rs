//! Words about requirements that are git repositories.

use super::super::known::{Known, plain};

const TITLE: &str = "A requirement from a git repository could not be fetched";

/// What git and the installers say about it; the last row takes what no other knows.
pub(super) const TABLE: &[Known] = &[
    plain(
        &[
            &["Cannot find command 'git'"],
            &["Git executable not found"],
        ],
        "The build image has no git",
        "A requirement is a git repository (git+https://...), which takes git to fetch. Build on a stack that has it (slug-13 does), \
         or\nname an archive of that version instead: NAME @ https://host/owner/name/archive/v1.2.tar.gz",
    ),
    plain(
        &[
            &["could not read Username for"],
            &["could not read Password for"],
            &["Authentication failed for"],
            &["HTTP Basic: Access denied"],
            &["terminal prompts disabled"],
        ],
        "A git repository wants a name and a password",
        "A requirement comes from a private repository, or its address is misspelt: git servers ask for a password in both cases.\n\
         Put a token that may read it into the address:\n    \
         git+https://${GIT_TOKEN}@host/owner/name.git@v1.2\n\
         and pass it to the build alone: -e GIT_TOKEN=... It ends up neither in the image nor in its log.",
    ),
    plain(
        &[
            &["ssh: "],
            &["Permission denied (publickey"],
            &["Host key verification failed"],
            &["cannot run ssh"],
        ],
        "A git repository is reached by ssh, which a build can't do",
        "A requirement has an address with ssh (git+ssh://git@host/...), and there are no keys in a build. Write it with https \
         and a\ntoken instead:\n    git+https://${GIT_TOKEN}@host/owner/name.git@v1.2\n\
         and pass -e GIT_TOKEN=... to the build.",
    ),
    plain(
        &[
            &["couldn't find remote ref"],
            &["did not match any file(s) known to git"],
            &["unadvertised object"],
            &["not our ref"],
            &["Remote branch", "not found in upstream"],
        ],
        "A git repository has no such branch, tag or commit",
        "What stands behind \"@\" in the requirement is not in the repository: it was misspelt, was never pushed, or a force push \
         or the\ndeletion of a branch removed it. Name one that is there; git ls-remote ADDRESS lists branches and tags.",
    ),
    plain(
        &[
            &["has no subdirectory `"],
            &["#subdirectory=", "does not appear to be a Python project"],
        ],
        "A git repository has no such folder",
        "The requirement names a folder of the repository (#subdirectory=...) that is not there, or that holds no Python project, at \
         that\nbranch, tag or commit. Correct the path; it is relative to the repository's root.",
    ),
    plain(
        &[&["smudge filter lfs failed"], &["git-lfs"], &["Git LFS"]],
        "A git repository needs Git LFS",
        "The repository keeps large files in Git LFS, which could not fetch them. Do without them (-e GIT_LFS_SKIP_SMUDGE=1), or \
         use a\npublished version of the package.",
    ),
    plain(
        &[
            &["fatal: repository '", "not found"],
            &["Repository not found"],
            &["does not appear to be a git repository"],
        ],
        "There is no such git repository",
        "The address in the requirement leads to no repository. Check its spelling; a private one looks the same to those who may \
         not\nread it and needs a token: git+https://${GIT_TOKEN}@host/owner/name.git@v1.2 and -e GIT_TOKEN=...",
    ),
    plain(
        &[
            &["fatal: unable to access '"],
            &["Git operation failed", "Could not resolve host"],
        ],
        "The host of a git repository could not be reached",
        "git could not connect; its own words are above. If the network was down for a moment, build again. Behind a proxy, set\n\
         HTTPS_PROXY; a host with a certificate authority of its own needs GIT_SSL_CAINFO (a PEM file that the build can read).",
    ),
    plain(
        &[
            &["Git operation failed"],
            &["git clone", "did not run successfully"],
            &["git fetch", "did not run successfully"],
            &["git checkout", "did not run successfully"],
        ],
        TITLE,
        "Check the address and the branch, tag or commit behind \"@\". A private repository needs a token in the address: \
         write\n    git+https://${GIT_TOKEN}@host/owner/name.git@v1.2\n\
         in requirements.txt and pass -e GIT_TOKEN=... to the build. ssh addresses have no key in a build.",
    ),
];

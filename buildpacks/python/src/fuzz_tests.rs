//! What an app's files may say, mutated: they are understood or refused, and nothing panics.
//!
//! `FUZZ_SECONDS=60 cargo test -p python-buildpack fuzz` does it for so long with each.

#![expect(clippy::unwrap_used, reason = "tests")]

use crate::redact::redacted;
use crate::{project, python_version};
use libcnb::Env;
use std::fs;
use std::path::Path;
use test_support::{Seeds, fuzz};

const PYPROJECT: &str = r#"[project]
name = "shop"
version = "1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["flask>=3,<4", "psycopg[binary]==3.2 ; python_version >= '3.11'"]
[project.optional-dependencies]
dev = ["pytest"]
[dependency-groups]
test = ["coverage", { include-group = "dev" }]
[tool.poetry.dependencies]
python = "^3.11"
requests = { version = "*", extras = ["socks"] }
[tool.uv.sources]
lib = { path = "libs/lib", editable = true }
[tool.uv.workspace]
members = ["libs/*"]
[build-system]
requires = ["hatchling"]
"#;

const REQUIREMENTS: &str = "# what the shop needs\n-r more.txt\n-c constraints.txt\nflask==3.1.0 \\\n    \
    --hash=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
    psycopg[binary]>=3 ; python_version < \"3.14\"\n-e ./lib#egg=lib\n./wheels/a-1.0-py3-none-any.whl\n\
    name @ https://${USER}:${TOKEN}@files.example/name-1.tar.gz\n--extra-index-url=https://u:p@i.example/simple\n\
    git+https://git.example/x.git@main#egg=x\n";

const LOCK: &str = r#"version = 1
requires-python = ">=3.11"
[[package]]
name = "flask"
version = "3.1.0"
source = { registry = "https://index.example/simple" }
dependencies = [{ name = "click" }]
wheels = [{ url = "https://f.example/f-3.1.0-py3-none-any.whl", hash = "sha256:aa", size = 10 }]
[[package]]
name = "lib"
version = "0.1"
source = { editable = "libs/lib" }
files = [{ file = "lib-0.1.tar.gz", hash = "sha256:bb" }]
[metadata]
lock-version = "2.1"
python-versions = ">=3.11"
content-hash = "cc"
"#;

const PYLOCK: &str = r#"lock-version = "1.0"
requires-python = ">=3.11"
[[packages]]
name = "flask"
version = "3.1.0"
wheels = [{ name = "f.whl", url = "https://f.example/f.whl", hashes = { sha256 = "aa" } }]
[[packages]]
name = "lib"
directory = { path = "./lib" }
"#;

const PIPFILE: &str = "[[source]]\nurl = \"https://i.example/simple\"\nverify_ssl = true\nname = \"main\"\n\
    [packages]\nflask = \"*\"\nlib = { path = \"./lib\" }\n[requires]\npython_version = \"3.13\"\n";

const PIPFILE_LOCK: &str = r#"{"_meta": {"hash": {"sha256": "aa"}, "pipfile-spec": 6, "requires": {"python_version": "3.13"}},
"default": {"flask": {"hashes": ["sha256:bb"], "version": "==3.1.0"}, "lib": {"path": "./lib"}}, "develop": {}}"#;

const WORDS: [&str; 30] = [
    "\\\n", "-r ", "-e ", "./", "..", " ; ", " @ ", "file://", "${A}", "$", "[", "]]", "\"\"\"",
    "'", "{ ", " = ", "null", "true", "inf", "\u{feff}", "é", "<<<<<<< ", "==", "~=", "^", ">=",
    "3.13.", "python-", "pypy", "\r",
];

/// Everything that reads the files of an app before anything is installed.
fn look(app: &Path) {
    let env = Env::new();
    drop(python_version::read_request(app));
    if let Ok(Some(choice)) = project::choose(app, &env) {
        drop(project::python::ranges(app, Some(&choice.source)));
        if let Ok(installed) = project::names::installed(app, &choice.source, &env) {
            drop(project::names::not_locked(app, &choice.source, &installed));
        }
        drop(project::plan(app, choice, &env));
    }
    drop(project::python::ranges(app, None));
}

/// One of the app's files is mutated, the others are as they should be.
fn mutate(file: &str, seed: &str, others: &[(&str, &str)]) {
    let scratch = tempfile::tempdir().unwrap();
    // Deep, so that paths that climb do not lead to what the machine has.
    let app = scratch.path().join("a/b/c/d/e/f/g/app");
    for folder in ["lib", "libs/lib", "wheels"] {
        fs::create_dir_all(app.join(folder)).unwrap();
        fs::write(app.join(folder).join("pyproject.toml"), PYPROJECT).unwrap();
    }
    for (name, text) in others {
        fs::write(app.join(name), text).unwrap();
    }
    let inputs = [seed.as_bytes().to_vec(), Vec::new()];
    let seeds = Seeds {
        inputs: &inputs,
        words: &WORDS,
    };
    fuzz(file, seeds, |bytes| {
        fs::write(app.join(file), bytes).unwrap();
        look(&app);
    });
}

#[test]
fn requirements_txt() {
    let more = [
        ("more.txt", "click\n-r requirements.txt\n"),
        ("constraints.txt", "click==8\n"),
    ];
    mutate("requirements.txt", REQUIREMENTS, &more);
}

#[test]
fn pyproject_toml() {
    mutate("pyproject.toml", PYPROJECT, &[]);
    mutate("pyproject.toml", PYPROJECT, &[("uv.lock", LOCK)]);
}

#[test]
fn locks() {
    let project = ("pyproject.toml", PYPROJECT);
    for name in ["uv.lock", "poetry.lock", "pdm.lock"] {
        mutate(name, LOCK, &[project]);
    }
    mutate("pylock.toml", PYLOCK, &[]);
    mutate("Pipfile.lock", PIPFILE_LOCK, &[("Pipfile", PIPFILE)]);
    mutate("Pipfile", PIPFILE, &[("Pipfile.lock", PIPFILE_LOCK)]);
}

#[test]
fn versions_of_python() {
    mutate(".python-version", "# ours\n3.13.2\n", &[]);
    mutate("runtime.txt", "python-3.13.2\n", &[]);
}

/// Whatever stands around an address and in its password, the password goes.
#[test]
fn addresses_with_passwords() {
    let inputs = [
        b"error: https://ann:hunter2@files.example/x?y=@z, and more".to_vec(),
        b"git+ssh://git@host/x 'http://t@h/' \"a://b\"".to_vec(),
    ];
    let seeds = Seeds {
        inputs: &inputs,
        words: &["://", "@", "/", "hunter2", "\n", "é", "'"],
    };
    fuzz("addresses", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        // What ends an address's user information.
        let inside = text.replace(|c: char| "/?#\"'`>)".contains(c) || c.is_whitespace(), "");
        let text = format!("{text}https://ann:s3cret{inside}@files.example/{text}");
        let once = redacted(&text);
        assert!(!once.contains("s3cret"), "{once}");
        assert!(once.contains("://****@files.example/"), "{once}");
        assert_eq!(redacted(&once), once);
    });
}

#[test]
fn scripts() {
    let script = "# /// script\n# requires-python = \">=3.12\"\n# dependencies = [\n#   \"rich\",\n# ]\n# ///\nimport rich\n";
    mutate("main.py", script, &[]);
}

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::fmt::Write as _;

const STACK: &str = "3.13.5";

fn said(files: &[(&str, &str)], variables: &[(&str, &str)]) -> String {
    let app = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = app.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut env = Env::new();
    for (name, value) in variables {
        env.insert(name, value);
    }
    let mut said = String::new();
    for finding in look(app.path(), &env, exact(STACK)).findings {
        writeln!(
            said,
            "{:?}: {}{}{}",
            finding.level,
            finding.title,
            if finding.detail.is_empty() {
                ""
            } else {
                "\n  "
            },
            finding.detail.replace('\n', "\n  ")
        )
        .unwrap();
    }
    said
}

#[test]
fn a_range_that_nobody_enforces() {
    let project = "[project]\nrequires-python = \">=3.14\"\n";
    let files = [("requirements.txt", "flask\n"), ("pyproject.toml", project)];
    assert!(
        said(&files, &[]).contains("Warning: Python 3.13.5 is not in the range of pyproject.toml")
    );
    let decided = [files[0], files[1], (".python-version", "3.13\n")];
    assert!(!said(&decided, &[]).contains("is not in the range"));
}

#[test]
fn findings() {
    let mut all = String::new();
    let flask = "from flask import Flask\napp = Flask(__name__)\n";
    for (what, files, variables) in [
        (
            "all is well",
            vec![
                ("requirements.txt", "flask\ngunicorn\n"),
                ("app.py", flask),
                ("Procfile", "web: gunicorn app:app\n"),
            ],
            vec![],
        ),
        (
            "no Procfile",
            vec![("requirements.txt", "Flask==3.0\n"), ("app.py", flask)],
            vec![],
        ),
        ("no Python", vec![("package.json", "{}")], vec![]),
        (
            "variables",
            vec![("requirements.txt", "a @ git+https://${GIT_TOKEN}@h/x.git\n")],
            vec![("PYTHONHOME", "/usr")],
        ),
        (
            "outdated lock, several managers, a Python that has to be installed",
            vec![
                ("uv.lock", "version = 1\n[[package]]\nname = \"flask\"\n"),
                (
                    "pyproject.toml",
                    "[project]\nname = \"x\"\nversion = \"1\"\nrequires-python = \">=3.14\"\ndependencies = [\"flask\", \"redis\"]\n",
                ),
                ("poetry.lock", ""),
            ],
            vec![],
        ),
        (
            "version files",
            vec![
                ("runtime.txt", "python-3.10.1\n"),
                ("requirements.txt", "\n"),
            ],
            vec![],
        ),
        (
            "a dead Python, files that are not read",
            vec![
                (".python-version", "3.6\n"),
                ("requirements.txt", "<<<<<<< HEAD\n"),
                ("Procfile.txt", ""),
                ("venv/bin/activate", ""),
                ("venv/lib/x", ""),
                ("node_modules/x", ""),
            ],
            vec![],
        ),
        (
            "Django",
            vec![
                ("requirements.txt", "Django\ngunicorn\n"),
                (
                    "manage.py",
                    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n",
                ),
                ("shop/wsgi.py", ""),
                (
                    "shop/settings.py",
                    "SECRET_KEY = os.environ[\"SECRET_KEY\"]\nDEBUG = True\nALLOWED_HOSTS = []\nINSTALLED_APPS = ['django.contrib.staticfiles']\n",
                ),
            ],
            vec![],
        ),
        (
            "Django's settings are elsewhere",
            vec![
                ("requirements.txt", "Django\n"),
                (
                    "manage.py",
                    "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.setings')\n",
                ),
                ("shop/settings.py", ""),
            ],
            vec![],
        ),
        (
            "a malformed lock",
            vec![
                ("Pipfile", "[packages]\n"),
                ("Pipfile.lock", "{\n  \"default\": {,}\n}\n"),
            ],
            vec![],
        ),
    ] {
        writeln!(all, "--- {what}\n{}", said(&files, &variables)).unwrap();
    }
    insta::assert_snapshot!("findings", all);
}

/// A row of numbers that looks random and is the same each time (a linear congruential generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit
    }
}

/// The files that are made up.
const NAMES: [&str; 14] = [
    "requirements.txt",
    "base.txt",
    ".python-version",
    "runtime.txt",
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "Pipfile",
    "Pipfile.lock",
    "pylock.toml",
    "app.py",
    "manage.py",
    "shop/settings.py",
    ".slugignore",
];
/// What their texts are made of.
const PIECES: [&str; 58] = [
    "\n",
    "\n",
    "\n",
    " ",
    "\t",
    "\r\n",
    "\\\n",
    "#",
    "=",
    "==",
    ">=",
    "<",
    "~=",
    "^",
    "*",
    ",",
    ";",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "-r ",
    "-c ",
    "-e ",
    "--hash=",
    "base.txt",
    "requirements.txt",
    "./",
    "../..",
    "/",
    "@ ",
    "://",
    "${X}",
    "${",
    "é",
    "\u{feff}",
    "\0",
    "3",
    ".",
    "13",
    "python-",
    "project",
    "dependencies",
    "requires-python",
    "package",
    "name",
    "tool.poetry",
    "# /// script",
    "# ///",
    "<<<<<<< x",
    "DJANGO_SETTINGS_MODULE",
    "shop.settings",
    "environ[",
    "99999999999",
];

/// Every parser of the project's files, on texts put together from what such files are made of: none panics, none loops, and
/// the same files give the same findings.
#[test]
fn any_files_are_looked_at_without_a_panic() {
    let mut numbers = Numbers(7);
    for round in 0..150 {
        let app = tempfile::tempdir().unwrap();
        std::fs::create_dir(app.path().join("shop")).unwrap();
        for _ in 0..=numbers.below(5) {
            let name = NAMES[numbers.below(NAMES.len())];
            let mut text = String::new();
            for _ in 0..numbers.below(40) {
                text.push_str(PIECES[numbers.below(PIECES.len())]);
            }
            let mut bytes = text.into_bytes();
            if numbers.below(20) == 0 {
                bytes.push(0xff);
            }
            std::fs::write(app.path().join(name), bytes).unwrap();
        }
        let env = Env::new();
        let first = look(app.path(), &env, exact(STACK)).findings;
        assert_eq!(
            first,
            look(app.path(), &env, exact(STACK)).findings,
            "{round}"
        );
        assert!(first.iter().all(|finding| !finding.title.is_empty()));
        drop(crate::secrets::find(app.path()));
    }
}

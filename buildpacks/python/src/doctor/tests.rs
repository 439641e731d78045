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

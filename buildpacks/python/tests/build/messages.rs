//! The words of detection and of every failure.

use crate::context::Context;
use crate::packages::{sdist, wheel};
use std::fmt::Write as _;

#[test]
fn detection() {
    let python = Context::new(&[("app.py", "")]);
    assert_eq!(python.detect().code, Some(0));
    let other = Context::new(&[("package.json", "{}")]).detect();
    assert_eq!(other.code, Some(100));
    insta::assert_snapshot!("not_python", other.stdout);
}

/// The explanations of builds that stop before anything is installed.
#[test]
fn projects() {
    let mut explanations = String::new();
    for (what, files) in [
        ("misspelt", vec![("requirement.txt", "")]),
        (
            "malformed pyproject.toml",
            vec![("pyproject.toml", "[project\n")],
        ),
        (
            "missing nested file",
            vec![("requirements.txt", "flask\n-r base.txt\n")],
        ),
        (
            "cycle",
            vec![
                ("requirements.txt", "-r a.txt\n"),
                ("a.txt", "\n-r requirements.txt\n"),
            ],
        ),
        ("missing folder", vec![("requirements.txt", "./lib\n")]),
        (
            "merge marker",
            vec![("requirements.txt", "flask\n<<<<<<< HEAD\n")],
        ),
        ("UTF-16", vec![("requirements.txt", "\u{0}")]),
    ] {
        let context = Context::new(&files);
        if what == "UTF-16" {
            context.write("requirements.txt", b"\xff\xfef\0");
        }
        let explanation = context.build().explanation();
        let _ = writeln!(explanations, "--- {what}\n{explanation}");
    }
    for (name, value) in [
        ("PYTHONPATH", "src"),
        ("PYTHONHOME", "/usr"),
        ("PIP_TARGET", "x"),
        ("BP_PYTHON_INSTALLER", "conda"),
    ] {
        let context = Context::new(&[("requirements.txt", "")]);
        context.set(name, value);
        let explanation = context.build().explanation();
        let _ = writeln!(explanations, "--- {name}\n{explanation}");
    }
    insta::assert_snapshot!("projects", explanations);
}

/// What builds of small projects say that stop before anything is installed.
fn explanations(cases: Vec<(&str, Vec<(&str, &str)>)>) -> String {
    let mut explanations = String::new();
    for (what, files) in cases {
        let explanation = Context::new(&files).build().explanation();
        let _ = writeln!(explanations, "--- {what}\n{explanation}");
    }
    explanations
}

#[test]
fn managers() {
    let mut explanations = explanations(vec![
        ("uv.lock alone", vec![("uv.lock", "")]),
        ("poetry.lock alone", vec![("poetry.lock", "")]),
        ("Pipfile.lock alone", vec![("Pipfile.lock", "{}")]),
        ("Pipfile alone", vec![("Pipfile", "")]),
        (
            "Poetry without a lock",
            vec![(
                "pyproject.toml",
                "[tool.poetry.dependencies]\nflask = '*'\n",
            )],
        ),
        ("conda", vec![("environment.yml", "")]),
        ("requirements.in", vec![("requirements.in", "flask\n")]),
        (
            "merge in a lock",
            vec![
                ("uv.lock", "version = 1\n<<<<<<< HEAD\n"),
                ("pyproject.toml", ""),
            ],
        ),
        (
            "malformed lock",
            vec![("uv.lock", "version =\n"), ("pyproject.toml", "")],
        ),
        (
            "several scripts",
            vec![
                ("a.py", "# /// script\n# ///\n"),
                ("b.py", "# /// script\n# ///\n"),
            ],
        ),
        (
            "open script block",
            vec![("a.py", "# /// script\n# dependencies = []\nimport x\n")],
        ),
    ]);
    for (name, value) in [
        ("BP_PACKAGE_MANAGER", "npm"),
        ("BP_PACKAGE_MANAGER", "uv"),
        ("BP_PYTHON_EXTRAS", "fast; rm"),
    ] {
        let context = Context::new(&[("requirements.txt", "")]);
        context.set(name, value);
        let explanation = context.build().explanation();
        let _ = writeln!(explanations, "--- {name}={value}\n{explanation}");
    }
    insta::assert_snapshot!("managers", explanations);
}

#[test]
fn pythons() {
    let explanations = explanations(vec![
        ("end of life", vec![(".python-version", "3.8\n")]),
        ("old patch", vec![("runtime.txt", "python-3.5.1\n")]),
        ("unknown", vec![(".python-version", "3.99\n")]),
        (
            "malformed version",
            vec![(".python-version", "# ours\nlatest\n")],
        ),
        (
            "other implementation",
            vec![(".python-version", "graalpy-24.1\n")],
        ),
        ("PyPy", vec![(".python-version", "pypy3.11t\n")]),
        ("free-threaded", vec![(".python-version", "3.12t\n")]),
        ("pre-release", vec![(".python-version", "3.16rc1\n")]),
        (
            "merge marker in a version file",
            vec![(".python-version", "<<<<<<< HEAD\n")],
        ),
        ("malformed runtime.txt", vec![("runtime.txt", "3.11\n")]),
        (
            "several versions",
            vec![(".python-version", "3.12\n\n3.13\n")],
        ),
        ("no version", vec![(".python-version", "\n")]),
        (
            "version against range",
            vec![
                (".python-version", "3.12\n"),
                (
                    "pyproject.toml",
                    "[project]\nrequires-python = '>=3.13'\ndependencies = ['a']\n",
                ),
            ],
        ),
        (
            "range of the dead",
            vec![
                ("Pipfile", "[requires]\npython_version = '3.9'\n"),
                ("Pipfile.lock", "{}"),
            ],
        ),
        (
            "ranges without a common Python",
            vec![
                (".python-version", ">=3.13\n"),
                (
                    "pyproject.toml",
                    "[tool.poetry.dependencies]\npython = '~3.12'\n",
                ),
                ("poetry.lock", ""),
            ],
        ),
        (
            "malformed range",
            vec![(
                "pyproject.toml",
                "[project]\nrequires-python = 'three'\ndependencies = ['a']\n",
            )],
        ),
    ]);
    insta::assert_snapshot!("pythons", explanations);
}

#[test]
fn warnings_and_an_app_without_requirements() {
    let context = Context::new(&[
        ("app.py", "print('hi')\n"),
        ("venv/pyvenv.cfg", ""),
        ("runtime.txt", "python-[SERIES].0\n"),
    ]);
    let version = crate::context::python_version();
    let (series, patch) = version.rsplit_once('.').unwrap();
    let other_patch = if patch == "1" { "2" } else { "1" };
    context.write("runtime.txt", format!("python-{series}.{other_patch}\n"));
    let built = context.build().success();
    let said = context
        .stable(&built.stdout)
        .replace(&format!("[SERIES].{other_patch}"), "[OTHER]");
    insta::assert_snapshot!("warnings", said);
    context.run("python", &["app.py"]).success();
    let launch = context.venv().join("env.launch");
    assert_eq!(
        std::fs::read_to_string(launch.join("FORWARDED_ALLOW_IPS.default")).unwrap(),
        "*"
    );
}

/// The explanations of what uv and pip refuse.
#[test]
fn installs() {
    let packages = tempfile::tempdir().unwrap();
    wheel(packages.path(), "alpha", "1.0", &["beta<2"], &[]);
    wheel(packages.path(), "beta", "1.0", &[], &[]);
    wheel(packages.path(), "beta", "2.0", &[], &[]);
    sdist(
        packages.path(),
        "fails",
        "1.0",
        "raise RuntimeError('this project needs care')\n",
    );
    sdist(
        packages.path(),
        "headers",
        "1.0",
        "print('x.c:1:10: fatal error: libpq-fe.h: No such file or directory')\nraise SystemExit(1)\n",
    );
    let cases = [
        ("no such package", "alhpa\n"),
        ("no such version", "beta==7.0\n"),
        ("conflict", "alpha\nbeta==2.0\n"),
        ("syntax", "alpha\nfoo bar baz\n"),
        ("hash", &format!("beta==1.0 --hash=sha256:{:064}\n", 0)),
        ("failing build", "fails\n"),
        ("missing header", "headers\n"),
        ("git", "git+file:///nowhere/at/all.git\n"),
    ];
    for installer in ["uv", "pip"] {
        let Some(context) = Context::with_uv(&[], packages.path()) else {
            return;
        };
        context.set("BP_PYTHON_INSTALLER", installer);
        let mut explanations = String::new();
        for (what, requirements) in &cases {
            context.write("requirements.txt", requirements);
            let failed = context.build();
            // What the tool said is shown, and the mistake mended is enough to go on.
            assert!(
                failed.stdout.to_lowercase().contains("error"),
                "{what}: {}",
                failed.stdout
            );
            let explanation = context.stable(&failed.explanation());
            let pip = explanation
                .split_whitespace()
                .skip_while(|word| *word != "pip")
                .nth(1)
                .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
                .unwrap_or("none")
                .to_owned();
            let _ = writeln!(
                explanations,
                "--- {what}\n{}",
                explanation.replace(&pip, "[PIP]")
            );
        }
        context.write("requirements.txt", "alpha\n");
        context.build().success();
        insta::assert_snapshot!(format!("install_with_{installer}"), explanations);
    }
}

#[test]
fn no_network_and_no_credentials_in_the_output() {
    let nowhere = tempfile::tempdir().unwrap();
    let Some(context) = Context::with_uv(&[("requirements.txt", "alpha\n")], nowhere.path()) else {
        return;
    };
    context.set("PIP_NO_INDEX", "0");
    context.set("PIP_INDEX_URL", "http://someone:s3cr3t@127.0.0.1:9/simple");
    context.set("UV_HTTP_RETRIES", "0");
    for installer in ["uv", "pip"] {
        context.set("BP_PYTHON_INSTALLER", installer);
        context.set("PIP_RETRIES", "1");
        let failed = context.build();
        assert!(!failed.stdout.contains("s3cr3t"), "{}", failed.stdout);
        let explanation = failed.explanation();
        assert!(
            explanation.starts_with("[Error: The package index could not be reached]"),
            "{explanation}"
        );
        assert!(!explanation.contains("s3cr3t"));
    }
}

#[test]
fn a_python_that_cant_be_downloaded() {
    let nowhere = tempfile::tempdir().unwrap();
    let other = if crate::context::python_version().starts_with("3.12.") {
        "3.14"
    } else {
        "3.12"
    };
    let Some(context) = Context::with_uv(
        &[("requirements.txt", ""), (".python-version", other)],
        nowhere.path(),
    ) else {
        return;
    };
    context.set("UV_PYTHON_INSTALL_MIRROR", "http://127.0.0.1:9/pythons");
    context.set("UV_HTTP_RETRIES", "0");
    let explanation = context.build().explanation();
    insta::assert_snapshot!(
        "python_download",
        context.stable(&explanation).replace(other, "[OTHER]")
    );
}

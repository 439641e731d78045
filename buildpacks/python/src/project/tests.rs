#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::BuildpackError;

fn chosen(files: &[(&str, &str)], wanted: &str) -> Result<Option<String>, BuildpackError> {
    let app = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(app.path().join(name), text).unwrap();
    }
    let mut env = Env::new();
    env.insert(MANAGER_VARIABLE, wanted);
    choose(app.path(), &env).map(|choice| choice.map(|choice| choice.source.to_string()))
}

const PROJECT: (&str, &str) = ("pyproject.toml", "[project]\ndependencies = ['a']\n");

#[test]
fn the_first_of_several_wins_unless_another_is_asked_for() {
    let files = [
        PROJECT,
        ("poetry.lock", ""),
        ("uv.lock", ""),
        ("requirements.txt", ""),
        ("setup.py", ""),
    ];
    assert_eq!(chosen(&files, "").unwrap().unwrap(), "requirements.txt");
    assert_eq!(chosen(&files[..3], "").unwrap().unwrap(), "uv.lock");
    for (wanted, file) in [
        ("poetry", "poetry.lock"),
        ("UV.lock", "uv.lock"),
        ("pyproject", "pyproject.toml"),
        ("setup.py", "setup.py"),
    ] {
        assert_eq!(chosen(&files, wanted).unwrap().unwrap(), file);
    }
    assert!(matches!(
        chosen(&files, "pdm"),
        Err(BuildpackError::Project(ProjectError::AbsentManager {
            file: "pdm.lock",
            ..
        }))
    ));
    assert!(matches!(
        chosen(&files, "npm"),
        Err(BuildpackError::Project(ProjectError::UnknownManager { .. }))
    ));
}

#[test]
fn a_lock_needs_what_it_was_made_from() {
    for lock in ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"] {
        assert!(matches!(
            chosen(&[(lock, "")], ""),
            Err(BuildpackError::Project(
                ProjectError::MissingCompanion { .. }
            ))
        ));
    }
    assert!(matches!(
        chosen(&[("Pipfile", "")], ""),
        Err(BuildpackError::Project(ProjectError::MissingLock { .. }))
    ));
}

#[test]
fn without_a_lock_the_description_counts() {
    let script = "# /// script\n# dependencies = ['a']\n# ///\n";
    assert_eq!(
        chosen(&[PROJECT, ("a.py", script)], "").unwrap().unwrap(),
        "pyproject.toml"
    );
    assert_eq!(
        chosen(&[("setup.py", "")], "").unwrap().unwrap(),
        "setup.py"
    );
    assert_eq!(
        chosen(&[("a.py", script), ("b.py", "")], "")
            .unwrap()
            .unwrap(),
        "a.py"
    );
    assert_eq!(chosen(&[("b.py", "")], "").unwrap(), None);
    assert!(matches!(
        chosen(&[("a.py", script), ("b.py", script)], ""),
        Err(BuildpackError::Project(ProjectError::SeveralScripts { .. }))
    ));
}

fn fingerprint(app: &Path, wanted: &str) -> Plan {
    let mut env = Env::new();
    env.insert(MANAGER_VARIABLE, wanted);
    let choice = choose(app, &env).unwrap().unwrap();
    plan(app, choice, &env).unwrap()
}

#[test]
fn a_locks_inputs_are_complete() {
    let app = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = app.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("pyproject.toml", "[project]\nname = 'app'\n");
    write(
        "uv.lock",
        "[[package]]\nname = 'app'\nsource = { virtual = '.' }\n\
         [[package]]\nname = 'lib'\nsource = { editable = 'libs/lib' }\n\
         [[package]]\nname = 'member'\nsource = { virtual = 'libs/member' }\n",
    );
    write("libs/lib/pyproject.toml", "");
    write("libs/lib/lib.py", "");
    write("libs/member/pyproject.toml", "");
    write("libs/member/code.py", "");
    let first = fingerprint(app.path(), "");
    assert_eq!(first.local_packages, ["lib"]);
    assert!(first.local_sources);
    // Code of what is no package is no input.
    write("main.py", "x = 1\n");
    write("libs/member/code.py", "x = 1\n");
    assert_eq!(fingerprint(app.path(), "").fingerprint, first.fingerprint);
    for (name, text) in [
        ("libs/member/pyproject.toml", "[tool.x]\n"),
        ("libs/lib/lib.py", "x = 1\n"),
        ("pyproject.toml", "[project]\nname = 'app'\n[tool.x]\n"),
        ("uv.toml", "[pip]\n"),
    ] {
        let before = fingerprint(app.path(), "").fingerprint;
        write(name, text);
        assert_ne!(fingerprint(app.path(), "").fingerprint, before, "{name}");
    }
}

#[test]
fn merge_markers_and_bad_toml_are_found_with_their_place() {
    let app = tempfile::tempdir().unwrap();
    let choice = || Choice {
        source: Source::UvLock,
        others: Vec::new(),
        asked: false,
    };
    std::fs::write(app.path().join("uv.lock"), "a = 1\n<<<<<<< HEAD\n").unwrap();
    assert!(matches!(
        plan(app.path(), choice(), &Env::new()),
        Err(ProjectError::MergeMarker { line: 2, .. })
    ));
    std::fs::write(app.path().join("uv.lock"), "a =\n").unwrap();
    assert!(matches!(
        plan(app.path(), choice(), &Env::new()),
        Err(ProjectError::Malformed { .. })
    ));
}

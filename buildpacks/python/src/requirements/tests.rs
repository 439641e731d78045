#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::fs;
use tempfile::TempDir;

fn app(files: &[(&str, &str)]) -> TempDir {
    let app = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = app.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    app
}

fn fingerprint_of(app: &TempDir) -> String {
    read(app.path(), &Env::new()).unwrap().fingerprint
}

fn error_of(files: &[(&str, &str)]) -> String {
    read(app(files).path(), &Env::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn every_file_below_counts() {
    let app = app(&[
        (
            "requirements.txt",
            "-r requirements/base.txt\n-r ./wheels.txt\n",
        ),
        ("requirements/base.txt", "-c constraints.txt\nflask\n"),
        ("requirements/constraints.txt", "flask==3\n"),
        ("wheels.txt", "./lib\n"),
        ("lib/pyproject.toml", "[project]\nname = 'lib'\n"),
        ("unrelated.txt", "x\n"),
    ]);
    let first = fingerprint_of(&app);
    fs::write(app.path().join("unrelated.txt"), "y\n").unwrap();
    assert_eq!(fingerprint_of(&app), first);
    for name in [
        "requirements.txt",
        "requirements/base.txt",
        "requirements/constraints.txt",
        "wheels.txt",
        "lib/pyproject.toml",
    ] {
        let path = app.path().join(name);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{before}# changed\n")).unwrap();
        assert_ne!(fingerprint_of(&app), first, "{name}");
        fs::write(&path, before).unwrap();
    }
    assert_eq!(fingerprint_of(&app), first);
}

#[test]
fn variables_count() {
    let app = app(&[(
        "requirements.txt",
        "--index-url https://${TOKEN}@host/simple\n",
    )]);
    let with = |value: &str| {
        let mut env = Env::new();
        env.insert("TOKEN", value);
        read(app.path(), &env).unwrap().fingerprint
    };
    assert_ne!(with("a"), with("b"));
}

#[test]
fn problems_name_file_and_line() {
    assert_eq!(
        error_of(&[("requirements.txt", "flask\n\n-r base.txt\n")]),
        "requirements.txt line 3: there is no file base.txt"
    );
    assert_eq!(
        error_of(&[
            ("requirements.txt", "-r deps/a.txt"),
            ("deps/a.txt", "# first\n-r ../deps/../deps/b.txt\n"),
            ("deps/b.txt", "-c a.txt\n")
        ]),
        "deps/b.txt line 1 includes deps/a.txt again"
    );
    assert_eq!(
        error_of(&[("requirements.txt", "flask\n./lib\n")]),
        "requirements.txt line 2: there is no ./lib"
    );
    assert_eq!(
        error_of(&[(
            "requirements.txt",
            "<<<<<<< HEAD\nflask\n=======\n>>>>>>> b\n"
        )]),
        "requirements.txt line 1 is a merge marker"
    );
}

#[test]
fn one_file_included_twice_is_no_cycle() {
    let app = app(&[
        ("requirements.txt", "-r a.txt\n-r b.txt\n"),
        ("a.txt", "-r c.txt\n"),
        ("b.txt", "-r c.txt\n"),
        ("c.txt", "flask\n"),
    ]);
    assert!(!read(app.path(), &Env::new()).unwrap().local_sources);
}

#[test]
fn comments_alone_ask_for_nothing() {
    let empty = |files: &[(&str, &str)]| read(app(files).path(), &Env::new()).unwrap().empty;
    assert!(empty(&[("requirements.txt", "# later\n\n")]));
    let nested = ("requirements.txt", "-r base.txt\n");
    assert!(empty(&[nested, ("base.txt", "")]));
    assert!(!empty(&[nested, ("base.txt", "flask\n")]));
    assert!(!empty(&[(
        "requirements.txt",
        "--index-url https://host/simple\n"
    )]));
}

#[test]
fn encodings() {
    let app = tempfile::tempdir().unwrap();
    let path = app.path().join("requirements.txt");
    fs::write(&path, b"\xff\xfef\0l\0").unwrap();
    assert!(matches!(
        read(app.path(), &Env::new()),
        Err(RequirementsError::Text(TextFileError::Utf16 { .. }))
    ));
    fs::write(&path, b"flask\n# caf\xe9\n").unwrap();
    assert!(matches!(
        read(app.path(), &Env::new()),
        Err(RequirementsError::Text(TextFileError::NotUtf8 {
            line: 2,
            ..
        }))
    ));
}

#[test]
fn lines_that_mean_the_same_in_every_app() {
    for (line, expected) in [
        ("flask==3.1.0", true),
        ("psycopg[binary]>=3 ; python_version < '3.14'", true),
        ("flask==3.1.0 --hash=sha256:e3b0c442", true),
        ("-r base.txt", true),
        ("--requirement=deps/base.txt", true),
        ("-c constraints.txt", true),
        ("-r https://host.example/base.txt", false),
        ("--requirement=https://host.example/base.txt", false),
        ("-c http://host.example/constraints.txt", false),
        ("--constraint file:///etc/constraints.txt", false),
        ("-i https://host.example/simple", true),
        ("--extra-index-url=https://host.example/simple", true),
        ("--index-url http://host.example/simple", false),
        ("--index-url https://ann:x@host.example/simple", false),
        ("--index-url https://${HOST}/simple", false),
        ("--pre", false),
        ("-e .", false),
        ("./lib", false),
        ("lib @ https://host.example/lib-1.0.tar.gz", false),
        ("git+https://host.example/lib.git", false),
    ] {
        assert_eq!(is_of_indexes(line), expected, "{line}");
    }
}

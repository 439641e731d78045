#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    pairs(variables).into_iter().collect()
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)))
        .collect()
}

/// A folder of its own for a test, removed when the test passes.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cnb-env-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, path: &str, contents: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }
}

/// Before, files, what a file without a suffix does, after.
type Case<'a> = (
    &'a [(&'a str, &'a str)],
    &'a [(&'a str, &'a str)],
    Unsuffixed,
    &'a [(&'a str, &'a str)],
);

#[test]
fn modification_rules() {
    use Unsuffixed::{Default, Override};
    #[rustfmt::skip]
    let cases: &[Case<'_>] = &[
        (&[("A", "old")], &[("A", "new")], Override, &[("A", "new")]),
        (&[("A", "old")], &[("A", "new")], Default, &[("A", "old")]),
        (&[], &[("A", "new")], Default, &[("A", "new")]),
        (&[("A", "old")], &[("A.override", "new")], Default, &[("A", "new")]),
        (&[("A", "old")], &[("A.default", "new")], Override, &[("A", "old")]),
        (&[("A", "")], &[("A.default", "new")], Override, &[("A", "new")]),
        (&[("A", "old")], &[("A.append", "new")], Override, &[("A", "oldnew")]),
        (&[("A", "old")], &[("A.prepend", "new")], Override, &[("A", "newold")]),
        // No delimiter at an empty end.
        (&[], &[("A.append", "new"), ("A.delim", ":")], Override, &[("A", "new")]),
        (&[("A", "")], &[("A.prepend", "new"), ("A.delim", ":")], Override, &[("A", "new")]),
        (&[("A", "old")], &[("A.append", "new"), ("A.delim", ", ")], Override, &[("A", "old, new")]),
        (&[("A", "old")], &[("A.prepend", "new"), ("A.delim", ":")], Override, &[("A", "new:old")]),
        // Path variables get no delimiter by themselves.
        (&[("PATH", "/bin")], &[("PATH.prepend", "/new")], Override, &[("PATH", "/new/bin")]),
        // A delimiter is its own variable's.
        (&[("A", "old")], &[("A.append", "new"), ("B.delim", ":")], Override, &[("A", "oldnew")]),
        // A delimiter alone makes no variable.
        (&[], &[("A.delim", ":")], Override, &[]),
        // Several files of one variable: in the order of their names.
        (
            &[("A", "old")],
            &[("A.append", "z"), ("A.prepend", "a"), ("A.delim", "-"), ("A.default", "unused")],
            Override,
            &[("A", "a-old-z")],
        ),
        (&[], &[("A.append", "z"), ("A.override", "o"), ("A.prepend", "a")], Override, &[("A", "ao")]),
        // The name ends at the first period.
        (&[], &[("A.b.append", "x"), ("B.unknown", "x")], Override, &[]),
        (&[("A", "old")], &[("A.", "new")], Override, &[("A", "new:old")]),
        // Contents are not trimmed or expanded.
        (&[("B", "b")], &[("A", " $B\n")], Override, &[("A", " $B\n"), ("B", "b")]),
    ];
    for (before, files, unsuffixed, after) in cases {
        let mut actual = environment(before);
        EnvDelta::from_files(pairs(files)).apply(&mut actual, *unsuffixed);
        assert_eq!(
            actual,
            environment(after),
            "{before:?} {files:?} {unsuffixed:?}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_survive() {
    let value = OsString::from_vec(vec![0xff, b'\n', 0xfe]);
    let mut actual = environment(&[("A", "x")]);
    EnvDelta::from_files([("A.append".into(), value)]).apply(&mut actual, Unsuffixed::Override);
    assert_eq!(
        actual[OsStr::new("A")].as_bytes(),
        [b'x', 0xff, b'\n', 0xfe]
    );
}

#[test]
fn platform_variables_extend_paths_and_replace_others() {
    let mut actual = environment(&[("PATH", "/bin"), ("A", "old"), ("LIBRARY_PATH", "")]);
    let files = pairs(&[
        ("PATH", "/mine"),
        ("A", "new"),
        ("LIBRARY_PATH", "/lib"),
        ("B.append", "kept as a name"),
    ]);
    EnvDelta::from_files(files).apply_platform(&mut actual);
    let expected = environment(&[
        ("A", "new"),
        ("B.append", "kept as a name"),
        ("LIBRARY_PATH", "/lib"),
        ("PATH", "/mine:/bin"),
    ]);
    assert_eq!(actual, expected);
}

#[test]
fn what_a_build_starts_from() {
    let inherited = pairs(&[
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("CNB_REGISTRY_AUTH", "secret"),
        ("CPATH", "/c"),
        ("HOME", "/home/cnb"),
        ("PATH", "/bin"),
        ("no_proxy", "localhost"),
    ]);
    let expected = environment(&[
        ("CPATH", "/c"),
        ("HOME", "/home/cnb"),
        ("PATH", "/bin"),
        ("no_proxy", "localhost"),
    ]);
    assert_eq!(build_environment(inherited), expected);
}

#[test]
fn what_a_process_starts_from() {
    let inherited = pairs(&[
        ("CNB_APP_DIR", "/workspace"),
        ("CNB_DEPRECATION_MODE", "quiet"),
        ("CNB_EXEC_ENV", "test"),
        ("CNB_LAYERS_DIR", "/layers"),
        ("CNB_PLATFORM_API", "0.12"),
        ("CNB_PROCESS_TYPE", "web"),
        (
            "PATH",
            "/cnb/process:/cnb/lifecycle:/bin::/cnb/lifecycle/x:/cnb/process",
        ),
        ("SECRET", "s"),
    ]);
    let expected = environment(&[
        ("CNB_EXEC_ENV", "test"),
        ("PATH", "/bin::/cnb/lifecycle/x"),
        ("SECRET", "s"),
    ]);
    assert_eq!(launch_environment(inherited), expected);
    assert_eq!(launch_environment([]), Environment::new());
}

#[test]
fn a_build_layer() {
    let scratch = Scratch::new("build");
    for folder in ["bin", "lib", "include", "pkgconfig"] {
        std::fs::create_dir_all(scratch.0.join(folder)).unwrap();
    }
    scratch.file("env/A", "both");
    scratch.file("env.build/A.append", "+build");
    scratch.file("env.launch/A", "launch");
    let mut actual = environment(&[("PATH", "/bin")]);
    apply_build_layer(&mut actual, &scratch.0).unwrap();

    let layer = scratch.0.display();
    let expected = [
        ("A", "both+build".to_owned()),
        ("CPATH", format!("{layer}/include")),
        ("LD_LIBRARY_PATH", format!("{layer}/lib")),
        ("LIBRARY_PATH", format!("{layer}/lib")),
        ("PATH", format!("{layer}/bin:/bin")),
        ("PKG_CONFIG_PATH", format!("{layer}/pkgconfig")),
    ];
    let expected: Environment = expected
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    assert_eq!(actual, expected);
}

#[test]
fn launch_layers() {
    let scratch = Scratch::new("launch");
    scratch.file("a/bin/tool", "");
    scratch.file("b/bin/tool", "");
    scratch.file("b/include/x.h", "");
    scratch.file("a/env.launch/PATH.append", "/late");
    scratch.file("a/env.launch/PATH.delim", ":");
    scratch.file("a/env/A.append", "1");
    scratch.file("a/env.build/A.append", "never");
    scratch.file("a/env.launch/A.append", "2");
    scratch.file("a/env.launch/web/A.append", "3");
    scratch.file("a/env.launch/worker/A.append", "never");
    scratch.file("b/env/A.append", "4");
    let layers = [scratch.0.join("a"), scratch.0.join("b")];
    let (a, b) = (layers[0].display(), layers[1].display());

    let mut web = environment(&[("PATH", "/bin")]);
    apply_launch_layers(&mut web, &layers, Some("web")).unwrap();
    let path = format!("{b}/bin:{a}/bin:/bin:/late");
    assert_eq!(web, environment(&[("A", "1234"), ("PATH", &path)]));

    let mut none = Environment::new();
    apply_launch_layers(&mut none, &layers, None).unwrap();
    assert_eq!(none[OsStr::new("A")], "124");
}

#[test]
fn links_are_followed_and_a_dangling_one_is_an_error() {
    let scratch = Scratch::new("links");
    scratch.file("value", "linked");
    std::fs::create_dir_all(scratch.0.join("env/dir")).unwrap();
    std::os::unix::fs::symlink("../value", scratch.0.join("env/A")).unwrap();
    std::os::unix::fs::symlink("dir", scratch.0.join("env/D")).unwrap();
    let mut actual = Environment::new();
    let delta = EnvDelta::read(&scratch.0.join("env")).unwrap();
    delta.apply(&mut actual, Unsuffixed::Override);
    assert_eq!(actual, environment(&[("A", "linked")]));

    std::os::unix::fs::symlink("absent", scratch.0.join("env/B")).unwrap();
    let error = EnvDelta::read(&scratch.0.join("env")).unwrap_err();
    assert!(error.to_string().ends_with("/env/B"), "{error}");
}

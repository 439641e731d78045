//! What is kept between builds, and that it equals what a first build makes.

use crate::context::{Context, contents, traces};
use crate::packages::{backend, sdist, wheel};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn three_packages(folder: &Path) {
    wheel(folder, "alpha", "1.0", &["beta"], &[]);
    wheel(
        folder,
        "alpha",
        "2.0",
        &[],
        &[
            ("alpha/data/x.txt", "x"),
            ("alpha-2.0.data/data/share/alpha/y.txt", "y"),
        ],
    );
    wheel(folder, "beta", "1.0", &[], &[]);
    wheel(
        folder,
        "beta",
        "1.1",
        &[],
        &[("beta/broken.py", "print 'two'\n")],
    );
    wheel(
        folder,
        "gamma",
        "1.0",
        &["beta==1.0"],
        &[("gamma/deep/er/__init__.py", "")],
    );
}

#[test]
fn an_unchanged_app_costs_not_one_write() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let Some(context) = Context::with_uv(&[("requirements.txt", "alpha==1.0\n")], packages.path())
    else {
        return;
    };
    context.build().success();
    assert_eq!(context.run("alpha", &[]).success().stdout, "alpha 1.0\n");
    let before = traces(&context.venv());
    let again = context.build().success();
    assert!(
        again.stdout.contains("Reusing the virtual environment"),
        "{}",
        again.stdout
    );
    assert_eq!(traces(&context.venv()), before);
}

#[test]
fn an_updated_environment_equals_a_new_one() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let Some(context) = Context::with_uv(&[], packages.path()) else {
        return;
    };
    // Added, upgraded with data files, downgraded, removed, from a dependency to a requirement.
    for requirements in [
        "alpha==1.0\n",
        "alpha==1.0\ngamma\n",
        "alpha==2.0\nbeta==1.1\n",
        "gamma\n",
        "gamma\nbeta\n",
        "alpha\n",
        "# nothing\n",
        "beta\n",
    ] {
        context.write("requirements.txt", requirements);
        let updated = context.build().success();
        let updated_contents = contents(&context.venv());
        context.forget_layers();
        context.build().success();
        let new = contents(&context.venv());
        let differing: Vec<_> = updated_contents
            .keys()
            .chain(new.keys())
            .filter(|path| updated_contents.get(*path) != new.get(*path))
            .collect();
        assert!(
            differing.is_empty(),
            "{requirements}: {differing:?}\n{}",
            updated.stdout
        );
        std::fs::remove_dir_all(context.app().parent().unwrap().join("old")).unwrap();
    }
}

#[test]
fn bytecode_is_there_for_every_module_and_never_looked_at_again() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let Some(context) = Context::with_uv(
        &[("requirements.txt", "gamma\nbeta==1.0\n")],
        packages.path(),
    ) else {
        return;
    };
    context.build().success();
    let found = contents(&context.venv());
    let modules = found
        .keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .count();
    let compiled: Vec<_> = found
        .keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "pyc"))
        .collect();
    assert_eq!(compiled.len(), modules);
    for path in compiled {
        let bytes = std::fs::read(context.venv().join(path)).unwrap();
        assert_eq!(bytes[4..8], [1, 0, 0, 0], "{}", path.display());
    }
}

#[test]
fn packages_that_share_a_file_are_installed_anew() {
    let packages = tempfile::tempdir().unwrap();
    let shared = ("shared/__init__.py", "");
    wheel(packages.path(), "alpha", "1.0", &[], &[shared]);
    wheel(packages.path(), "beta", "1.0", &[], &[shared]);
    let Some(context) = Context::with_uv(&[("requirements.txt", "alpha\nbeta\n")], packages.path())
    else {
        return;
    };
    context.build().success();
    context.write("requirements.txt", "alpha\n");
    context.build().success();
    context
        .run("python", &["-c", "import shared, alpha"])
        .success();
    assert_ne!(context.run("python", &["-c", "import beta"]).code, Some(0));
}

#[test]
fn nested_files_and_local_folders_count() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let Some(context) = Context::with_uv(
        &[
            ("requirements.txt", "-r deps/base.txt\n./library\n"),
            ("deps/base.txt", "-c pins.txt\nbeta\n"),
            ("deps/pins.txt", "beta==1.0\n"),
            ("library/source.py", "answer = 1\n"),
        ],
        packages.path(),
    ) else {
        return;
    };
    for (name, text) in crate::packages::project(&backend("library")) {
        context.write(&format!("library/{name}"), text);
    }
    context.build().success();
    let ask = [
        "-c",
        "import beta, library; print(beta.version, library.answer)",
    ];
    assert_eq!(context.run("python", &ask).stdout, "1.0 1\n");

    context.write("deps/pins.txt", "beta==1.1\n");
    context.build().success();
    assert_eq!(context.run("python", &ask).stdout, "1.1 1\n");

    context.write("library/source.py", "answer = 2\n");
    let updated = context.build().success();
    assert_eq!(
        context.run("python", &ask).stdout,
        "1.1 2\n",
        "{}",
        updated.stdout
    );
    let new = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    assert_eq!(
        new.keys().collect::<Vec<_>>(),
        contents(&context.venv()).keys().collect::<Vec<_>>()
    );
}

#[test]
fn a_refresh_takes_the_newest_of_what_is_not_pinned() {
    let packages = tempfile::tempdir().unwrap();
    wheel(packages.path(), "beta", "1.0", &[], &[]);
    let Some(context) = Context::with_uv(&[("requirements.txt", "beta\n")], packages.path()) else {
        return;
    };
    context.build().success();
    wheel(packages.path(), "beta", "1.1", &[], &[]);
    context.build().success();
    assert_eq!(context.run("beta", &[]).stdout, "beta 1.0\n");
    context.set("BP_PYTHON_REFRESH", "2026-11-23");
    context.build().success();
    assert_eq!(context.run("beta", &[]).stdout, "beta 1.1\n");
    let same_period = context.build().success();
    assert!(
        same_period.stdout.contains("Reusing"),
        "{}",
        same_period.stdout
    );
    context.set("BP_PYTHON_REFRESH", "1");
    let forced = context.build().success();
    assert!(
        forced.stdout.contains("a look at the index is due"),
        "{}",
        forced.stdout
    );
}

#[test]
fn a_build_that_is_killed_leaves_nothing_behind() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let marker = packages.path().join("building");
    sdist(
        packages.path(),
        "slow",
        "1.0",
        &format!(
            "import time\nopen({:?}, 'w').close()\ntime.sleep(600)\n",
            marker.to_str().unwrap()
        ),
    );
    let Some(context) = Context::with_uv(&[("requirements.txt", "beta==1.0\n")], packages.path())
    else {
        return;
    };
    context.build().success();
    context.write("requirements.txt", "beta==1.1\nslow\n");
    let mut build = context.build_command().process_group(0).spawn().unwrap();
    let start = Instant::now();
    while !marker.exists() {
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "the build never began"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let group = format!("-{}", build.id());
    let killed = std::process::Command::new("kill")
        .args(["-KILL", "--", &group])
        .status();
    assert!(killed.unwrap().success());
    build.wait().unwrap();

    context.write("requirements.txt", "beta==1.0\n");
    let mended = context.build().success();
    assert!(
        mended.stdout.contains("did not come to its end"),
        "{}",
        mended.stdout
    );
    assert_eq!(context.run("beta", &[]).stdout, "beta 1.0\n");
}

#[test]
fn pip_installs_too() {
    let packages = tempfile::tempdir().unwrap();
    three_packages(packages.path());
    let context = Context::new(&[("requirements.txt", "alpha==1.0\n")]);
    context.set("BP_PYTHON_INSTALLER", "pip");
    context.set("PIP_NO_INDEX", "1");
    context.set("PIP_FIND_LINKS", packages.path().to_str().unwrap());
    let first = context.build().success();
    assert!(
        first
            .stdout
            .contains("Successfully installed alpha-1.0 beta-1.1"),
        "{}",
        first.stdout
    );
    assert_eq!(context.run("alpha", &[]).stdout, "alpha 1.0\n");

    let before = traces(&context.venv());
    context.build().success();
    assert_eq!(traces(&context.venv()), before);

    context.write("requirements.txt", "alpha==2.0\n");
    context.build().success();
    assert_eq!(context.run("alpha", &[]).stdout, "alpha 2.0\n");
    assert_ne!(context.run("python", &["-c", "import beta"]).code, Some(0));
    let changed = contents(&context.venv());
    context.forget_layers();
    context.build().success();
    assert_eq!(changed, contents(&context.venv()));
}

//! The Aptfile: Debian packages for an app, in sandboxes that have no rights over the system.

use crate::{as_each_user, context};
use test_support::{App, Lie, LyingMirror, Need, TestContext, Who, free_port, requires};

const FIXTURE: &str = "aptfile-library";

fn report(t: &TestContext, app: &App) -> String {
    t.slugc_in(app)
        .args(["run", "check"])
        .run()
        .success()
        .stdout
}

as_each_user! {
    /// A library that one package is compiled against and ctypes loads, and a program; nothing else is brought.
    fn libraries_and_programs(t: &TestContext) {
        let app = t.fixture(FIXTURE);
        let first = t.slugc_in(&app).args(["build", "."]).run().success();
        first.says(&[
            "slugc/aptfile 0.1.0",
            "For the app: hello ",
            ", libutf8proc3 ",
            "For the build alone: libutf8proc-dev ",
            "Building utf8procver",
        ]);
        let said = report(t, &app);
        let lines: Vec<&str> = said.lines().collect();
        let version = lines[0].strip_prefix("compiled ").unwrap();
        assert_eq!(lines[1], format!("loaded {version}"));
        assert_eq!(lines[2], "program /layers/slugc_aptfile/packages/usr/bin/hello");
        let run = |words: &[&str]| t.slugc_in(&app).args(["run", "--"]).args(words).run();
        assert_eq!(run(&["hello"]).success().stdout.trim(), "Hello, world!");
        run(&["ls", "/layers/slugc_aptfile/headers"]).failure(2);

        // What is in the layer is known to scanners.
        let sbom = t.slugc_in(&app).arg("sbom").run().success().json();
        let package = sbom["components"]
            .as_array()
            .unwrap()
            .iter()
            .find(|component| component["name"] == "libutf8proc3")
            .unwrap();
        assert!(package["purl"].as_str().unwrap().starts_with("pkg:deb/debian/libutf8proc3@"), "{package}");

        // Nothing is asked for again, unless the user wants it, and then nothing is new.
        app.append("check.py", "print('once more')\n");
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .says(&["Reusing the packages of the last build (3)."]);
        let refreshed = t.slugc_in(&app).args(["build", ".", "--refresh"]).run().success();
        refreshed.says(&["The packages of the last build are the newest ones."]);

        // What is asked for no more is gone.
        app.write("Aptfile", "libutf8proc-dev\n");
        t.slugc_in(&app).args(["build", "."]).run().success();
        assert!(report(t, &app).contains("program None"));

        // The same image in another folder, without a cache.
        let smaller = t.slugc_in(&app).args(["build", ".", "--clear-cache"]).run().success().digest();
        let scratch = tempfile::tempdir_in(t.scratch()).unwrap();
        let other = app.duplicate(scratch.path());
        assert_eq!(
            t.slugc_in(&other).args(["build", "."]).run().success().digest(),
            smaller
        );

        // Without the file nothing of it is left.
        std::fs::remove_file(app.path().join("Aptfile")).unwrap();
        app.write("requirements.txt", "");
        app.write("check.py", "import os; print(os.environ['LD_LIBRARY_PATH'])\n");
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .success()
            .never_says(&["slugc/aptfile"]);
        assert!(!report(t, &app).contains("aptfile"));
    }
}

/// Each mistake has its words, and the build after it needs no cleared cache.
#[test]
fn mistakes() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture(FIXTURE);
    app.write("requirements.txt", "");
    app.write("check.py", "");
    let failed = |aptfile: &str, texts: &[&str]| {
        app.write("Aptfile", aptfile);
        t.slugc_in(&app)
            .args(["build", "."])
            .run()
            .failure(51)
            .says(texts);
    };
    failed(
        "hello\n:repo:deb http://host.example/ trixie main\nLibPQ5, https://host.example/x.deb\n",
        &[
            "[Error: The Aptfile can't be used]",
            "Aptfile, line 2: :repo:deb http://host.example/ trixie main\n    Further archives are not supported",
            "Aptfile, line 3: LibPQ5,\n    Separate names by spaces or lines",
            "Aptfile, line 3: https://host.example/x.deb\n    Files are not supported",
        ],
    );
    t.slugc_in(&app)
        .arg("doctor")
        .run()
        .failure(3)
        .says(&["✗ The Aptfile can't be used", "Aptfile, line 2"]);
    failed(
        "libutf8prc3\n",
        &[
            "[Error: There is no package libutf8prc3 (perhaps libutf8proc3)]",
            "Similar: libutf8proc3",
        ],
    );
    // To apt-get this is an expression that thousands of names match.
    failed(
        "hello.\n",
        &["[Error: There is no package hello. (perhaps hello)]"],
    );
    failed(
        "hello=0.1\n",
        &[
            "[Error: A version that is asked for is not there]",
            "Version '0.1' for 'hello' was not found",
        ],
    );
    failed(
        "mail-transport-agent\n",
        &["[Error: A package that is asked for is only a name]"],
    );
    app.write("Aptfile", "hello\npython3-requests-unixsocket\n");
    t.slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .says(&["[Warning: The app will not see Debian's Python packages]"]);
    t.slugc_in(&app)
        .arg("doctor")
        .run()
        .success()
        .says(&["✓ Aptfile asks for hello python3-requests-unixsocket"]);
}

/// What a mirror sends counts only as far as Debian vouches for it; the app builds as before where there is none.
#[test]
fn mirrors_that_lie() {
    requires!(Need::AptMirror, Need::PlainUser);
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture(FIXTURE);
    app.write("requirements.txt", "");
    app.write("check.py", "");
    app.write("Aptfile", "hello\n");
    let build = |url: &str| t.slugc_in(&app).args(["build", ".", "--mirror", url]).run();
    for (lie, title) in [
        (
            Lie::AlteredRelease,
            "[Error: The mirror's lists are not signed by Debian]",
        ),
        (
            Lie::UnsignedRelease,
            "[Error: The mirror's lists are not signed by Debian]",
        ),
        (
            Lie::AlteredPackages,
            "[Error: The packages could not be fetched]",
        ),
        (Lie::Empty, "[Error: The mirror does not have this Debian]"),
    ] {
        let mirror = LyingMirror::start(lie).unwrap();
        build(&mirror.url()).failure(51).says(&[title]);
    }
    let nobody = format!("http://127.0.0.1:{}/debian", free_port());
    build(&nobody).failure(51).says(&[
        "[Error: The mirror of Debian packages can't be reached]",
        &nobody,
        "BP_DEBIAN_MIRROR",
    ]);
    t.slugc_in(&app)
        .args(["build", ".", "-e", "BP_DEBIAN_MIRROR=/srv/debian"])
        .run()
        .failure(51)
        .says(&["[Error: BP_DEBIAN_MIRROR is no address]"]);

    t.slugc_in(&app).args(["build", "."]).run().success();
    t.slugc_in(&app)
        .args(["build", ".", "--refresh", "--mirror", &nobody])
        .run()
        .success()
        .says(&["[Warning: It is not known whether there are newer Debian packages]"]);

    // A mirror that begins to lie is none that is down, though there are lists of it.
    let mirror = LyingMirror::honest().unwrap();
    let refresh = |mirror: &LyingMirror| {
        let url = mirror.url();
        t.slugc_in(&app)
            .args(["build", ".", "--refresh", "--mirror", &url])
            .run()
    };
    refresh(&mirror)
        .success()
        .says(&["The packages of the last build are the newest ones."]);
    for (lie, title) in [
        (
            Lie::AlteredRelease,
            "[Error: The mirror's lists are not signed by Debian]",
        ),
        (
            Lie::UnsignedRelease,
            "[Error: The mirror's lists are not signed by Debian]",
        ),
        (Lie::Empty, "[Error: The mirror does not have this Debian]"),
    ] {
        mirror.tell(lie);
        refresh(&mirror).failure(51).says(&[title]);
    }
}

/// The archives are asked once in each period that the user names, and not where the user says no.
#[test]
fn periods() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture(FIXTURE);
    app.write("requirements.txt", "");
    app.write("check.py", "");
    app.write("Aptfile", "hello\n");
    let build = |value: &str, expected: &str| {
        // Something else has to be new, or nothing is built.
        app.append("check.py", "print()\n");
        let variable = format!("BP_PYTHON_REFRESH={value}");
        t.slugc_in(&app)
            .args(["build", ".", "-e", &variable])
            .run()
            .success()
            .says(&[expected]);
    };
    let (asked, reused) = ("for the newest lists.", "Reusing the packages");
    // The platform has a first build look whatever the user says.
    build("0", asked);
    build("0", reused);
    build("2026-11-23", asked);
    build("2026-11-23", reused);
    build("2026-11-24", asked);
    build("2026-11-24", reused);
    build("1", asked);
}

/// What Debian's packages set for compilers is nothing to wheels; what must be compiled is not of the wheel store.
#[test]
fn beside_the_wheel_store() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.fixture("flask-gunicorn");
    app.write("Aptfile", "libutf8proc-dev\n");
    let build = |app: &App| {
        t.slugc_in(app)
            .args(["build", ".", "-v", "-e", "BP_SHARED_WHEELS=1"])
            .run()
            .success()
    };
    build(&app).says(&["from the wheel store."]);
    app.write("requirements.txt", "click==8.1.8\n");
    build(&app).says(&["from the wheel store."]);

    // There is no wheel of it.
    app.write("requirements.txt", "docopt==0.6.2\n");
    build(&app).says(&[
        " + docopt==0.6.2",
        "Not from the wheel store: there is no wheel of docopt, and nothing is built for the store",
    ]);
}

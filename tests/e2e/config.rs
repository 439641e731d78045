//! `slugc config` and its verbs.

use crate::{as_each_user, context};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use test_support::{App, TestContext, Who, with_filters};

/// The app's folder in the store.
fn stored(t: &TestContext, app: &App) -> PathBuf {
    t.store().join("apps").join(app.name())
}

as_each_user! {
    /// Before the first build, too: the first release has no image.
    fn set_get_unset(t: &TestContext) {
        let app = t.empty_app("configured");
        let slugc = |line: &str| t.slugc_in(&app).args(line.split(' ')).run();
        let name = app.name();
        slugc("config").failure(3).says(&[name, "slugc build"]);

        let set = slugc("config:set DEBUG=1 EMPTY=").success();
        assert_eq!(
            set.stdout,
            format!("Setting DEBUG, EMPTY and restarting ⬢ {name}... done, v1\n")
        );
        let listed = slugc("config").success();
        assert_eq!(listed.stdout, format!("=== ⬢ {name} Config Vars\n\nDEBUG: 1\nEMPTY:\n"));

        // With blanks instead of colons, and from elsewhere.
        let set = t
            .slugc()
            .args(["config", "set", "GREETING=it's  me", "-a", name])
            .run()
            .success();
        assert!(set.stdout.ends_with("done, v2\n"), "{}", set.stdout);
        // A new app is made, but a typo is told.
        let typo = format!("{name}x");
        t.slugc()
            .args(["config:set", "A=1", "-a", &typo])
            .run()
            .success()
            .says(&[&format!("{typo} is new; did you mean")]);
        assert_eq!(slugc("config get GREETING DEBUG").success().stdout, "it's  me\n1\n");
        assert_eq!(
            slugc("config -s").success().stdout,
            "DEBUG=1\nEMPTY=\nGREETING=\"it's  me\"\n"
        );
        let json = slugc("config --json").success().json();
        assert_eq!(json["GREETING"], "it's  me");
        assert_eq!(json["EMPTY"], "");
        let json = slugc("config:get --json DEBUG DEBIG").success();
        assert_eq!(json.json()[0]["value"], "1");
        assert!(json.json()[1]["value"].is_null());
        json.says(&["DEBIG is not set; did you mean DEBUG?"]);
        assert_eq!(slugc("config:get NEVER").success().stdout, "\n");

        // The same again is no release.
        slugc("config:set DEBUG=1").success().says(&["Nothing changed", "v2"]);
        let unset = slugc("config:unset DEBUG EMPTY").success();
        assert_eq!(
            unset.stdout,
            format!("Unsetting DEBUG, EMPTY and restarting ⬢ {name}... done, v3\n")
        );
        let refused = slugc("config:unset GREETING GREETNG").failure(3);
        refused.says(&["GREETNG is not set; did you mean GREETING?"]);
        assert_eq!(slugc("config -s").success().stdout, "GREETING=\"it's  me\"\n");
    }
}

as_each_user! {
    fn env_files(t: &TestContext) {
        let app = t.empty_app("imported");
        app.write(".env", "# one\nexport A='a b'\nB=\"x\ny\"\nC=$A # c\n");
        t.slugc_in(&app)
            .args(["config:set", "--env-file", ".env", "C=wins"])
            .run()
            .success()
            .says(&["Setting A, B, C and restarting"]);
        let shell = t.slugc_in(&app).args(["config", "-s"]).run().success().stdout;
        assert_eq!(shell, "A='a b'\nB=\"x\\ny\"\nC=wins\n");
        // What is printed can be read back, here from standard input.
        t.slugc_in(&app)
            .args(["config:set", "--env-file", "-"])
            .stdin(shell)
            .run()
            .success()
            .says(&["Nothing changed"]);

        app.write("bad.env", "A=1\nB='hunter2\n");
        app.write("reserved.env", "A=1\n\n  PORT=8000\n");
        app.write("bare.env", "A\n");
        for (file, message) in [
            ("bad.env", "bad.env: line 2, column 3: the quote that begins here is never closed"),
            ("reserved.env", "reserved.env: line 3, column 3: PORT cannot be set"),
            ("bare.env", "bare.env: line 1, column 1: A has no value"),
            ("gone.env", "cannot read gone.env"),
        ] {
            t.slugc_in(&app)
                .args(["config:set", "--env-file", file])
                .run()
                .failure(3)
                .says(&[message])
                .never_says(&["hunter2", "8000"]);
        }
        let releases = t.slugc_in(&app).args(["releases", "--json"]).run().success().json();
        assert_eq!(releases.as_array().unwrap().len(), 1);
    }
}

#[test]
fn bad_input() {
    let Some(t) = context(Who::Plain) else { return };
    let app = t.empty_app("refused");
    let large = format!("LARGE={}", "x".repeat(33_000));
    t.slugc_in(&app).args(["config:set", "A=1"]).run().success();
    let mut texts = Vec::new();
    for (line, code) in [
        (&["config:set", "hunter2"][..], 2),
        (&["config:set"], 2),
        (&["config:set", "1A=hunter2"], 2),
        (&["config:set", "A-B=hunter2"], 2),
        (&["config:set", "__A=hunter2"], 2),
        (&["config:set", "HEROKU_A=hunter2"], 2),
        (&["config:set", "PORT=hunter2"], 2),
        (&["config:set", "DYNO=hunter2"], 2),
        (&["config:set", &large], 3),
        (&["config:unset", "B"], 3),
        (&["config", "sett", "A=hunter2"], 2),
        (&["config", "-a", "no-such-app-at-all"], 3),
        (&["config", "-a", "No"], 2),
        (&["releases:info", "x"], 2),
    ] {
        let failed = t.slugc_in(&app).args(line).run().failure(code);
        let failed = failed.never_says(&["hunter2", "xxxxx"]);
        let line: Vec<&str> = line
            .iter()
            .map(|word| &word[..word.len().min(20)])
            .collect();
        let printed = format!("$ slugc {}\n{}", line.join(" "), failed.stderr);
        texts.push(printed);
    }
    with_filters(&t, || {
        insta::assert_snapshot!("config_refusals", texts.join("\n"));
    });
    let config = t.slugc_in(&app).args(["config", "-s"]).run().success();
    assert_eq!(config.stdout, "A=1\n");
}

as_each_user! {
    /// Each of several changes at once is made, on top of the others.
    fn at_once(t: &TestContext) {
        let app = t.empty_app("busy");
        let running: Vec<_> = (0..8)
            .map(|n| t.slugc_in(&app).args(["config:set", &format!("N{n}={n}")]).start())
            .collect();
        for one in running {
            one.wait(Duration::from_mins(1)).success();
        }
        let config = t.slugc_in(&app).args(["config", "-s"]).run().success().stdout;
        assert_eq!(config, "N0=0\nN1=1\nN2=2\nN3=3\nN4=4\nN5=5\nN6=6\nN7=7\n");
        let releases = t.slugc_in(&app).args(["releases", "--json"]).run().success().json();
        let versions: Vec<u64> = releases
            .as_array()
            .unwrap()
            .iter()
            .map(|release| release["version"].as_u64().unwrap())
            .collect();
        assert_eq!(versions, [8, 7, 6, 5, 4, 3, 2, 1]);
    }
}

as_each_user! {
    fn edited(t: &TestContext) {
        let app = t.empty_app("edited");
        t.slugc_in(&app).args(["config:set", "A=1", "B=it's"]).run().success();
        let edit = |editor: &str| {
            t.slugc_in(&app)
                .arg("config:edit")
                .env("VISUAL", "")
                .env("EDITOR", editor)
                .run()
        };
        edit("true").success().says(&["Nothing changed"]);
        edit("sed -i -e s/^A=1/A=2/ -e /^B=/d").success().says(&["done, v2"]);
        assert_eq!(t.slugc_in(&app).args(["config", "-s"]).run().success().stdout, "A=2\n");
        edit("sed -i s/2/\\'hunter2/")
            .failure(3)
            .says(&["line 1, column 3", "Edit again?", "nothing was set"])
            .never_says(&["hunter2"]);
        edit("exit 4; true").failure(1).says(&["exit 4", "nothing was set"]);
        edit("no-such-editor").failure(1).says(&["no-such-editor"]);
        // What somebody else sets while the editor is open stays.
        let other = format!("{} config:set C=3 && true", env!("CARGO_BIN_EXE_slugc"));
        edit(&format!("sed -i s/2/5/ \"$1\" && {other}"))
            .failure(3)
            .says(&["changed by somebody else"]);
        assert_eq!(t.slugc_in(&app).args(["config", "-s"]).run().success().stdout, "A=2\nC=3\n");
        let left: Vec<_> = fs::read_dir(stored(t, &app))
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(".tmp-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// Files below a folder that contain a text.
fn files_with(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_with(&entry.path(), text, found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
            {
                found.push(entry.path());
            }
        }
    }
}

as_each_user! {
    /// Values are in the releases' own files, closed to others, and nowhere else.
    fn secrets(t: &TestContext) {
        const SECRET: &str = "hunter2-correct-horse";
        let app = t.fixture("procfile-duplicates");
        app.write("Procfile", "web: echo serving\nrelease: test \"$KIND\" != bad\n");
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        let setting = format!("TOKEN={SECRET}");
        slugc(&["config:set", &setting]).success().never_says(&[SECRET]);
        slugc(&["build", ".", "-v", "-o", "oci:image"]).success().never_says(&[SECRET]);
        slugc(&["config:set", "KIND=bad", &format!("MORE={SECRET}")])
            .failure(7)
            .never_says(&[SECRET]);
        for words in [
            &["releases"][..],
            &["releases", "--json"],
            &["releases:info", "--json"],
            &["inspect", "--output", "json"],
            &["rollback", "v99"],
        ] {
            slugc(words).never_says(&[SECRET]);
        }
        slugc(&["run", "--", "sh", "-c", "echo $TOKEN"]).success().says(&[SECRET]);

        let mut found = Vec::new();
        files_with(&stored(t, &app), SECRET, &mut found);
        files_with(&app.path().join("image"), SECRET, &mut found);
        let releases = stored(t, &app).join("releases");
        assert_eq!(found.len(), 3, "{found:?}");
        for file in &found {
            assert!(file.starts_with(&releases), "{found:?}");
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        let mode = fs::metadata(&releases).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

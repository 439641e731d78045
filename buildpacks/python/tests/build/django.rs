//! collectstatic, with the real Django from the machine's package index.

use crate::context::{Context, skip};
use std::fmt::Write as _;

pub(crate) const SETTINGS: &str = "
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = 'x'
INSTALLED_APPS = ['django.contrib.staticfiles']
STATIC_URL = 'static/'
STATIC_ROOT = BASE_DIR / 'collected'
STATICFILES_DIRS = [BASE_DIR / 'assets']
";
const MANAGE: &str = "
import os, sys
if __name__ == '__main__':
    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site_.settings')
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
";

/// A Django project with its packages installed, or `None` where there is no index.
fn project() -> Option<Context> {
    let nowhere = tempfile::tempdir().unwrap();
    project_with("django>=5.2,<5.3\n", nowhere.path())
}

/// The same with other requirements, of which some are in a folder.
pub(crate) fn project_with(requirements: &str, packages: &std::path::Path) -> Option<Context> {
    let context = Context::with_uv(
        &[
            ("requirements.txt", requirements),
            ("manage.py", MANAGE),
            ("site_/__init__.py", ""),
            ("site_/settings.py", SETTINGS),
            ("assets/style.css", "a { color: red }\n"),
        ],
        packages,
    )?;
    // Here the index is wanted.
    context.set("PIP_NO_INDEX", "0");
    let first = context.build();
    if first.stdout.contains("dns error") || first.stdout.contains("error sending request") {
        skip("no package index to fetch Django from");
        return None;
    }
    first.success();
    Some(context)
}

#[test]
fn static_files() {
    let Some(context) = project() else { return };
    let collected = context.app().join("collected");
    assert!(collected.join("style.css").is_file());
    let caches = crate::context::contents(&context.app());
    assert!(!caches.keys().any(|path| path.ends_with("__pycache__")));

    let build_with = |settings: &str| {
        context.write("site_/settings.py", settings);
        if collected.exists() {
            std::fs::remove_dir_all(&collected).unwrap();
        }
        context.build()
    };

    let skipped = build_with(&SETTINGS.replace("STATIC_ROOT", "OTHER_ROOT")).success();
    assert!(
        skipped
            .stdout
            .contains("Skipping collectstatic: STATIC_ROOT is not set"),
        "{}",
        skipped.stdout
    );
    let skipped = build_with(&SETTINGS.replace("'django.contrib.staticfiles'", "")).success();
    assert!(
        skipped.stdout.contains("is not in INSTALLED_APPS"),
        "{}",
        skipped.stdout
    );

    let mut explanations = String::new();
    for (what, settings) in [
        (
            "a variable",
            format!("{SETTINGS}\nimport os\nX = os.environ['STRIPE_KEY']\n"),
        ),
        ("a module", format!("{SETTINGS}\nimport stripe_client\n")),
        ("a syntax error", format!("{SETTINGS}\nif True\n")),
        (
            "a database",
            format!("{SETTINGS}\nraise ConnectionRefusedError(111, 'Connection refused')\n"),
        ),
    ] {
        let explanation = build_with(&settings).explanation();
        let _ = writeln!(explanations, "--- {what}\n{}", context.stable(&explanation));
    }
    context.write(
        "manage.py",
        MANAGE.replace("site_.settings", "sight.settings"),
    );
    let explanation = build_with(SETTINGS).explanation();
    let _ = writeln!(
        explanations,
        "--- wrong settings\n{}",
        context.stable(&explanation)
    );
    insta::assert_snapshot!("collectstatic", explanations);

    context.set("DISABLE_COLLECTSTATIC", "1");
    let disabled = context.build().success();
    assert!(
        disabled.stdout.contains("DISABLE_COLLECTSTATIC is set"),
        "{}",
        disabled.stdout
    );
    // Failures of Django never made the environment be installed again.
    assert!(
        disabled.stdout.contains("Reusing the virtual environment"),
        "{}",
        disabled.stdout
    );
}

pub(crate) const RUNNING: &str = "Running manage.py collectstatic";
pub(crate) const STANDS: &str = "Static files are those of the last build";

/// Builds in an app folder as a platform lays it out each time: without what the last build added.
#[track_caller]
pub(crate) fn build(context: &Context, expected: &str) {
    let collected = context.app().join("collected");
    if collected.exists() {
        std::fs::remove_dir_all(&collected).unwrap();
    }
    let finished = context.build().success();
    assert!(
        finished.stdout.contains(expected),
        "{expected}\n{}",
        finished.stdout
    );
    assert!(collected.join("style.css").is_file());
}

/// What an installed package says of its files.
fn record(context: &Context) -> std::path::PathBuf {
    let is_record = |path: &std::path::Path| {
        path.ends_with("RECORD") && path.to_string_lossy().contains("/sqlparse-")
    };
    crate::context::traces(&context.venv())
        .into_keys()
        .find(|path| is_record(path))
        .unwrap()
}

/// The result stands while nothing that was read changes, and whatever is read makes it fall.
#[test]
fn the_last_static_files_stand() {
    let Some(context) = project() else { return };
    let has_packages = std::path::Path::new("/var/lib/dpkg/status").is_file();
    if !has_packages {
        println!("skipped: needs a Debian, whose packages are an input");
        return;
    }
    context.write("views.py", "unused = 1\n");
    context.write("site_/constants.py", "SECRET_KEY = 'y'\n");
    let settings = format!("{SETTINGS}\nfrom site_.constants import *\n");
    context.write("site_/settings.py", &settings);
    build(&context, RUNNING);
    let first = crate::context::contents(&context.app());
    build(&context, STANDS);
    assert_eq!(crate::context::contents(&context.app()), first);
    context.write("views.py", "unused = 2\n");
    build(&context, STANDS);

    let changes: [(&str, &dyn Fn()); 8] = [
        ("a static file", &|| {
            context.write("assets/style.css", "a { color: blue }\n");
        }),
        ("a new static file", &|| {
            context.write("assets/more.css", "b {}\n");
        }),
        ("the settings", &|| {
            context.write("site_/settings.py", format!("{settings}\nX = 1\n"));
        }),
        ("a module that the settings import", &|| {
            context.write("site_/constants.py", "SECRET_KEY = 'z'\n");
        }),
        ("a file that nothing is known to read", &|| {
            context.write("notes.txt", "x\n");
        }),
        ("the name of a module", &|| {
            let at = |name: &str| context.app().join(name);
            std::fs::rename(at("views.py"), at("sights.py")).unwrap();
        }),
        ("a variable", &|| context.set("COLOUR", "red")),
        ("a package", &|| {
            std::fs::write(record(&context), "x.py,,\n").unwrap();
        }),
    ];
    for (what, change) in changes {
        change();
        println!("{what}");
        build(&context, RUNNING);
        build(&context, STANDS);
    }
    let css = std::fs::read_to_string(context.app().join("collected/style.css")).unwrap();
    assert_eq!(css, "a { color: blue }\n");
}

/// What cannot be followed is done each time.
#[test]
fn what_reaches_out_is_not_remembered() {
    let Some(context) = project() else { return };
    context.write("site_/there.txt", "1");
    for (what, code) in [
        ("a process", "import subprocess; subprocess.run(['true'])"),
        ("a shell", "import os; os.system('true')"),
        ("the network", "import socket; socket.socket().close()"),
        ("a file elsewhere", "open('/proc/self/status').close()"),
        ("a folder elsewhere", "import os; os.listdir('/')"),
        (
            "a scratch file",
            "import tempfile; tempfile.TemporaryFile().close()",
        ),
        ("a library", "import ctypes; ctypes.CDLL(None).getpid()"),
        (
            "another process's memory of the app",
            "import os; os.fork() or os._exit(0)",
        ),
        (
            "a database",
            "from django.db.backends.base.base import BaseDatabaseWrapper as B\ntry: B.connect(None)\nexcept AttributeError: pass",
        ),
        (
            "a file of the app, changed",
            "open(BASE_DIR / 'site_/there.txt', 'a').write('1')",
        ),
        (
            "a thread that goes on",
            "import threading as t; t.Thread(target=t.main_thread().join).start()",
        ),
    ] {
        println!("{what}");
        context.write("site_/settings.py", format!("{SETTINGS}\n{code}\n"));
        build(&context, RUNNING);
        build(&context, RUNNING);
    }
    // A failed run is none to come back to.
    context.write("site_/settings.py", SETTINGS);
    build(&context, RUNNING);
    build(&context, STANDS);
    context.write("site_/settings.py", format!("{SETTINGS}\nimport missing\n"));
    std::fs::remove_dir_all(context.app().join("collected")).unwrap();
    context.build().explanation();
    context.write("site_/settings.py", SETTINGS);
    build(&context, RUNNING);
}

/// Everything that a run adds to the app comes back, wherever it is; and nothing does when there was nothing.
#[test]
fn all_additions_come_back() {
    let Some(context) = project() else { return };
    let addition = "(BASE_DIR / 'assets/made.txt').write_text('made')\n\
                (BASE_DIR / 'assets/made.txt').chmod(0o600)\n";
    context.write("site_/settings.py", format!("{SETTINGS}\n{addition}"));
    let file = context.app().join("assets/made.txt");
    build(&context, RUNNING);
    std::fs::remove_file(&file).unwrap();
    let before = crate::context::contents(&context.app());
    build(&context, STANDS);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "made");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(crate::context::contents(&context.app()), before);

    context.write(
        "site_/settings.py",
        SETTINGS.replace("STATIC_ROOT", "OTHER"),
    );
    std::fs::remove_dir_all(context.app().join("collected")).unwrap();
    let skipped = context.build().success();
    assert!(
        skipped.stdout.contains("STATIC_ROOT is not set"),
        "{}",
        skipped.stdout
    );
    let again = context.build().success();
    assert!(again.stdout.contains(STANDS), "{}", again.stdout);
    assert!(!context.app().join("collected").exists());
}

/// A platform that wants to know hears that the environment is done while Django still runs, if it changed.
#[test]
fn a_finished_environment_is_announced() {
    let Some(context) = project() else { return };
    let sealed = tempfile::tempdir().unwrap();
    context.set("BP_SEALED_DIR", sealed.path().to_str().unwrap());
    let heard = sealed.path().join("layers/venv");
    build(&context, STANDS);
    assert!(!heard.exists(), "it is the last build's");
    // Django has the time to wait for it.
    let wait = format!(
        "import os, time\nfor _ in range(600):\n    if os.path.exists({heard:?}): break\n    time.sleep(0.1)\n"
    );
    context.write("site_/settings.py", format!("{SETTINGS}\n{wait}"));
    context.write(
        "requirements.txt",
        "django>=5.2,<5.3\n./alpha-1.0-py3-none-any.whl\n",
    );
    crate::packages::wheel(&context.app(), "alpha", "1.0", &[], &[]);
    context.set("PIP_FIND_LINKS", "");
    build(&context, RUNNING);
    assert!(heard.is_file());
}

//! collectstatic, with the real Django from the machine's package index.

use crate::context::Context;
use std::fmt::Write as _;

const SETTINGS: &str = "
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
    let context = Context::with_uv(
        &[
            ("requirements.txt", "django>=5.2,<5.3\n"),
            ("manage.py", MANAGE),
            ("site_/__init__.py", ""),
            ("site_/settings.py", SETTINGS),
            ("assets/style.css", "a { color: red }\n"),
        ],
        nowhere.path(),
    )?;
    // Here the index is wanted.
    context.set("PIP_NO_INDEX", "0");
    let first = context.build();
    if first.stdout.contains("dns error") || first.stdout.contains("error sending request") {
        println!("skipped: no package index to fetch Django from");
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

//! What can be told of a Django project from its text alone.

use super::{Findings, Level};
use crate::django::{DISABLE_VARIABLE, find_manage};
use crate::tool_env;
use libcnb::Env;
use std::path::Path;

/// Looks at `manage.py` and the settings that it names. `has_django`: whether the packages hold it, where that is known.
pub(super) fn look(findings: &mut Findings, app_dir: &Path, env: &Env, has_django: Option<bool>) {
    let Some(manage) = find_manage(app_dir).ok().flatten() else {
        return;
    };
    if has_django == Some(false) {
        findings.add(
            Level::Warning,
            format!("There is a {}, and Django is not asked for", manage.display()),
            "If something else brings Django along, all is well; if not, add it to the requirements.",
        );
    }
    let folder = manage.parent().map(Path::to_path_buf).unwrap_or_default();
    let Ok(text) = std::fs::read_to_string(app_dir.join(&manage)) else {
        return;
    };
    let named = env
        .get("DJANGO_SETTINGS_MODULE")
        .map(|value| value.to_string_lossy().into_owned());
    let Some(module) = named.or_else(|| settings_module(&text)) else {
        return;
    };
    let path = module.replace('.', "/");
    let candidates = [
        folder.join(format!("{path}.py")),
        folder.join(&path).join("__init__.py"),
    ];
    let Some(settings) = candidates.iter().find(|path| app_dir.join(path).is_file()) else {
        findings.add(
            Level::Error,
            format!("The settings module {module} is not there"),
            format!(
                "{} or DJANGO_SETTINGS_MODULE names it. Check its spelling, and that the file is committed and not excluded.",
                manage.display()
            ),
        );
        return;
    };
    let collects = !env.get(DISABLE_VARIABLE).is_some_and(tool_env::is_on);
    if let Ok(text) = std::fs::read_to_string(app_dir.join(settings)) {
        of_settings(findings, settings, &text, env, collects);
    }
}

/// The module in `os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")`.
fn settings_module(manage: &str) -> Option<String> {
    let (_, rest) = manage.split_once("DJANGO_SETTINGS_MODULE")?;
    let mut parts = rest.split(['"', '\'']);
    let module = parts
        .nth(2)
        .filter(|module| !module.is_empty() && !module.contains('\n'))?;
    let is_module = module
        .chars()
        .all(|character| character.is_alphanumeric() || character == '_' || character == '.');
    is_module.then(|| module.to_owned())
}

fn of_settings(findings: &mut Findings, path: &Path, text: &str, env: &Env, collects: bool) {
    let path = path.display();
    for name in required_variables(text) {
        if collects && !env.contains_key(&name) {
            findings.add(
                Level::Error,
                format!("collectstatic needs the variable {name}"),
                format!(
                    "{path} reads it and has no default; config vars are not visible to builds. Give it one that is good enough for a \
                     build,\n    os.environ.get(\"{name}\", \"only-for-the-build\")\nor pass it: -e {name}=... (or \
                     {DISABLE_VARIABLE}=1)"
                ),
            );
        }
    }
    // Settings that import others may have it there.
    let is_whole = !text.contains("import *") && !text.contains("include(");
    if collects
        && is_whole
        && text.contains("django.contrib.staticfiles")
        && !text.contains("STATIC_ROOT")
        && !text.contains("STORAGES")
        && !text.contains("STATICFILES_STORAGE")
        && !text.contains("settings(locals()")
    {
        findings.add(
            Level::Error,
            "STATIC_ROOT is not set",
            format!("collectstatic needs it. Add to {path}:\n    STATIC_ROOT = BASE_DIR / \"staticfiles\""),
        );
    }
    if text
        .lines()
        .any(|line| line.trim_end() == "ALLOWED_HOSTS = []")
    {
        findings.add(
            Level::Warning,
            "ALLOWED_HOSTS is empty",
            format!("Django answers every request with 400 unless DEBUG is on. Name the hosts in {path}."),
        );
    }
    if text.lines().any(|line| line.trim_end() == "DEBUG = True") {
        findings.add(
            Level::Warning,
            "DEBUG is on",
            format!(
                "{path} shows the app's insides to everybody who causes an error. Read it from the environment:\n    \
                 DEBUG = os.environ.get(\"DEBUG\") == \"1\""
            ),
        );
    }
}

/// The names in `os.environ["NAME"]` at the top level, of variables that must be set.
fn required_variables(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines() {
        // What is indented may stand behind a condition.
        if line.starts_with([' ', '\t', '#']) || line.starts_with("del ") {
            continue;
        }
        let Some((_, rest)) = line.split_once("environ[") else {
            continue;
        };
        let mut parts = rest.split(['"', '\'']);
        let (Some(""), Some(name)) = (parts.next(), parts.next()) else {
            continue;
        };
        // It is set, not read.
        let after = parts.next().unwrap_or_default();
        let after = after.trim_start_matches(']').trim_start();
        if after.starts_with('=') && !after.starts_with("==") {
            continue;
        }
        if !name.is_empty() && !names.contains(&name.to_owned()) {
            names.push(name.to_owned());
        }
    }
    names
}

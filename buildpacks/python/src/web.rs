//! What an app without a Procfile would serve the web with: told to the user, and used only on request.

use crate::{django, log, tool_env};
use libcnb::Env;
use libcnb::data::launch::{Launch, LaunchBuilder, ProcessBuilder, WorkingDirectory};
use libcnb::data::process_type;
use std::path::Path;

/// Makes the suggestion the web process.
pub(crate) const DEFAULT_VARIABLE: &str = "BP_WEB_DEFAULT";

/// Modules in which an app is looked for, in this order.
const MODULES: [&str; 6] = ["app", "main", "wsgi", "asgi", "server", "api"];

/// What is known of an app's web server.
#[derive(Debug, PartialEq, Eq)]
struct Suggestion {
    framework: &'static str,
    command: String,
    /// A package that the command needs and that is not installed.
    missing: Option<&'static str>,
}

/// Suggests a web process where there is no Procfile in the app's root; returns it, for the folder with the project, if
/// the user wants it.
pub(crate) fn suggest(
    root: &Path,
    app_dir: &Path,
    site_packages: &Path,
    env: &Env,
) -> Option<Launch> {
    if root.join("Procfile").exists() {
        return None;
    }
    let has = |package: &str| {
        site_packages.join(package).is_dir()
            || site_packages.join(format!("{package}.py")).is_file()
    };
    let found = suggestion(app_dir, has)?;
    log::section("Web process");
    let line = format!("web: {}", found.command);
    let framework = found.framework;
    if let Some(missing) = found.missing {
        log::step(format!(
            "There is no Procfile. This looks like a {framework} app; to serve it, add {missing} to what is installed and \
             write\na file Procfile with this line:\n    {line}"
        ));
        return None;
    }
    if !env.get(DEFAULT_VARIABLE).is_some_and(tool_env::is_on) {
        log::step(format!(
            "There is no Procfile. This looks like a {framework} app; to serve it, write a file Procfile with this line:\n    \
             {line}\n{DEFAULT_VARIABLE}=1 uses it without a Procfile."
        ));
        return None;
    }
    log::step(format!(
        "There is no Procfile; as {DEFAULT_VARIABLE} says, this serves the {framework} app:\n    {line}"
    ));
    let mut web = ProcessBuilder::new(process_type!("web"), ["bash", "-c", &found.command]);
    web.default(true);
    if root != app_dir {
        web.working_directory(WorkingDirectory::Directory(app_dir.to_path_buf()));
    }
    let web = web.build();
    Some(LaunchBuilder::new().process(web).build())
}

/// What would serve the web, for those who only look: the framework and the line of a Procfile.
pub(crate) fn line(app_dir: &Path, has: impl Fn(&str) -> bool) -> Option<(&'static str, String)> {
    let found = suggestion(app_dir, has)?;
    let line = format!("web: {}", found.command);
    Some((
        found.framework,
        match found.missing {
            Some(missing) => format!("{line}   (add {missing} to what is installed)"),
            None => line,
        },
    ))
}

fn suggestion(app_dir: &Path, has: impl Fn(&str) -> bool) -> Option<Suggestion> {
    let missing = |package: &'static str| (!has(package)).then_some(package);
    let script = || {
        MODULES
            .iter()
            .chain(&["streamlit_app", "demo"])
            .find(|module| app_dir.join(format!("{module}.py")).is_file())
    };
    if has("django")
        && let Some(project) = wsgi_of_django(app_dir)
    {
        return Some(Suggestion {
            framework: "Django",
            command: format!("gunicorn {project} --bind 0.0.0.0:$PORT"),
            missing: missing("gunicorn"),
        });
    }
    if has("fastapi")
        && let Some(app) = application(app_dir, &["FastAPI"])
    {
        // uvicorn takes a function that makes the app by its name, and a flag that says that it is one.
        let app = app
            .strip_suffix("()")
            .map_or_else(|| app.clone(), |factory| format!("{factory} --factory"));
        return Some(Suggestion {
            framework: "FastAPI",
            command: format!("uvicorn {app} --host 0.0.0.0 --port $PORT"),
            missing: missing("uvicorn"),
        });
    }
    if has("flask")
        && let Some(app) = application(app_dir, &["Flask"])
    {
        let app = if app.contains('(') {
            format!("'{app}'")
        } else {
            app
        };
        return Some(Suggestion {
            framework: "Flask",
            command: format!("gunicorn {app} --bind 0.0.0.0:$PORT"),
            missing: missing("gunicorn"),
        });
    }
    if has("streamlit") {
        return script().map(|module| Suggestion {
            framework: "Streamlit",
            command: format!(
                "streamlit run {module}.py --server.address 0.0.0.0 --server.port $PORT --server.headless true"
            ),
            missing: None,
        });
    }
    if has("gradio") {
        return script().map(|module| Suggestion {
            framework: "Gradio",
            command: format!(
                "env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python {module}.py"
            ),
            missing: None,
        });
    }
    None
}

/// The module of a Django project that serves it, as gunicorn takes it: the one `wsgi.py` in a folder beside
/// `manage.py`.
fn wsgi_of_django(app_dir: &Path) -> Option<String> {
    let manage = django::find_manage(app_dir).ok().flatten()?;
    let folder = manage.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(app_dir.join(folder)).ok()?.flatten() {
        let name = entry.file_name().into_string().ok()?;
        if entry.path().join("wsgi.py").is_file() && is_identifier(&name) {
            found.push(name);
        }
    }
    let [project] = found.as_slice() else {
        return None;
    };
    Some(if folder.as_os_str().is_empty() {
        format!("{project}.wsgi")
    } else {
        format!("--chdir {} {project}.wsgi", folder.display())
    })
}

/// `module:variable` of the first application that one of the usual modules makes.
fn application(app_dir: &Path, classes: &[&str]) -> Option<String> {
    MODULES.iter().find_map(|module| {
        let text = std::fs::read_to_string(app_dir.join(format!("{module}.py"))).ok()?;
        let variable = text.lines().find_map(|line| assigned(line, classes));
        let factory = || {
            text.lines()
                .any(|line| line.starts_with("def create_app("))
                .then(|| "create_app()".to_owned())
        };
        let variable = variable.or_else(factory)?;
        Some(format!("{module}:{variable}"))
    })
}

/// The name in `name = Class(…)` or `name: Class = Class(…)` at the beginning of a line.
fn assigned(line: &str, classes: &[&str]) -> Option<String> {
    let (left, right) = line.split_once('=')?;
    let name = left.split(':').next()?.trim_end();
    let (callee, _) = right.trim_start().split_once('(')?;
    let class = callee.trim().rsplit('.').next()?;
    (is_identifier(name) && classes.contains(&class)).then(|| name.to_owned())
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || character == '_')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn suggested(files: &[(&str, &str)], packages: &[&str]) -> Option<Suggestion> {
        let app = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = app.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        suggestion(app.path(), |package| packages.contains(&package))
    }

    #[test]
    fn frameworks() {
        let flask = (
            "app.py",
            "from flask import Flask\nserver = Flask(__name__)\n",
        );
        for (files, packages, command) in [
            (
                vec![
                    ("manage.py", ""),
                    ("shelf/wsgi.py", ""),
                    ("books/models.py", ""),
                ],
                vec!["django", "gunicorn"],
                "gunicorn shelf.wsgi --bind 0.0.0.0:$PORT",
            ),
            (
                vec![("site/manage.py", ""), ("site/shelf/wsgi.py", "")],
                vec!["django", "gunicorn"],
                "gunicorn --chdir site shelf.wsgi --bind 0.0.0.0:$PORT",
            ),
            (
                vec![flask],
                vec!["flask", "gunicorn"],
                "gunicorn app:server --bind 0.0.0.0:$PORT",
            ),
            (
                vec![("wsgi.py", "def create_app(config=None):\n")],
                vec!["flask", "gunicorn"],
                "gunicorn 'wsgi:create_app()' --bind 0.0.0.0:$PORT",
            ),
            (
                vec![(
                    "main.py",
                    "api: fastapi.FastAPI = fastapi.FastAPI(title='x')\n",
                )],
                vec!["fastapi", "uvicorn"],
                "uvicorn main:api --host 0.0.0.0 --port $PORT",
            ),
            (
                vec![("main.py", "def create_app() -> FastAPI:\n")],
                vec!["fastapi", "uvicorn"],
                "uvicorn main:create_app --factory --host 0.0.0.0 --port $PORT",
            ),
            (
                vec![("app.py", "")],
                vec!["gradio"],
                "env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python app.py",
            ),
        ] {
            assert_eq!(suggested(&files, &packages).unwrap().command, command);
        }
        assert_eq!(
            suggested(&[flask], &["flask"]).unwrap().missing,
            Some("gunicorn")
        );
    }

    #[test]
    fn what_is_not_clear_is_not_guessed() {
        let two = [("manage.py", ""), ("a/wsgi.py", ""), ("b/wsgi.py", "")];
        assert_eq!(suggested(&two, &["django", "gunicorn"]), None);
        assert_eq!(
            suggested(&[("app.py", "x == Flask(1)\n")], &["flask"]),
            None
        );
        assert_eq!(suggested(&[("worker.py", "")], &["streamlit"]), None);
    }
}

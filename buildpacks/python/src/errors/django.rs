//! Words about collectstatic, by what Django printed.

mod known;

use super::known::{between, find};
use super::{Explanation, chain};
use crate::django::{DISABLE_VARIABLE, DjangoError};

/// What to do where nothing says which settings are meant.
const NO_SETTINGS: &str = "DJANGO_SETTINGS_MODULE is not set. manage.py usually sets it:\n    \
     os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"project.settings\")";

pub(super) fn explain(error: &DjangoError) -> Explanation {
    let (manage, output) = match error {
        DjangoError::Look { .. } => {
            return Explanation::new(
                "The app's folders could not be read",
                format!("{}.\nCheck their permissions.", chain(error)),
            );
        }
        DjangoError::Collect { manage, source } => (manage.display().to_string(), source.output()),
    };
    let (title, cause) = cause(output);
    Explanation::new(
        title,
        format!(
            "{manage} collectstatic failed; its own words are above.\n{cause}\n\n\
             To see the same on your machine: python {manage} collectstatic --noinput\n\
             To build without collecting static files: -e {DISABLE_VARIABLE}=1"
        ),
    )
}

fn cause(output: &str) -> (String, String) {
    // The last line of a traceback that names an exception; what follows may be its longer text.
    let exception = output
        .lines()
        .rev()
        .find(|line| !line.starts_with(' ') && is_exception(line))
        .unwrap_or_default();
    if let Some(name) = missing_variable(exception, output) {
        return (
            format!("Collecting static files needs the variable {name}"),
            format!(
                "The settings read {name}, which is not set during the build. Config vars are not visible to builds.\n\
                 Give the settings a default that is good enough for a build, for example\n    \
                 {name} = os.environ.get(\"{name}\", \"only-for-the-build\")\n\
                 or pass one to the build alone: -e {name}=..."
            ),
        );
    }
    // Lines of code before the exception may hold the same words.
    let last = output.rfind(exception).map_or(output, |at| &output[at..]);
    if let Some(found) = find(known::TABLE, last).or_else(|| find(known::TABLE, output)) {
        return found;
    }
    if let Some(module) = between(exception, "No module named '", "'") {
        return if module.contains("settings") || is_import_of_settings(output) {
            (
                format!("The settings module {module} can't be imported"),
                format!(
                    "DJANGO_SETTINGS_MODULE (in manage.py or the environment) leads to {module}, which is not there.\n\
                     Check its spelling, that the file is committed, and that it is not excluded (.slugignore, \
                     project.toml)."
                ),
            )
        } else {
            (
                format!("The module {module} is not installed"),
                format!(
                    "The project imports {module}, which is neither in the app nor among the installed packages.\n\
                     If it is a package, add it to requirements.txt (its name there may be another one)."
                ),
            )
        };
    }
    if output.contains("Requested setting") && output.contains("but settings are not configured") {
        return (
            "Django does not know its settings".to_owned(),
            NO_SETTINGS.to_owned(),
        );
    }
    if exception.contains("OperationalError") || output.contains("Connection refused") {
        return (
            "The project needs its database or another service to start".to_owned(),
            "Something connects when the project is imported; during a build there is no database and no add-on.\n\
             Move the query out of module level (into a view, a command or AppConfig.ready with care)."
                .to_owned(),
        );
    }
    if exception.contains("could not be found with") || output.contains("MissingFileError") {
        return (
            "A static file refers to one that is not there".to_owned(),
            "The storage with hashed names follows every url(...) in style sheets and scripts. The message names the \
             file\nthat is missing: add it, or correct the reference. (whitenoise: WHITENOISE_MANIFEST_STRICT = False \
             is about\ntemplates, not about this.)"
                .to_owned(),
        );
    }
    if exception.contains("SyntaxError") || exception.contains("IndentationError") {
        return (
            "A file of the project is not valid Python".to_owned(),
            "The file and the line are in the message. Mind that the image may use another Python than your machine."
                .to_owned(),
        );
    }
    if exception.contains("ImportError") {
        return (
            "The project can't be imported".to_owned(),
            "An import failed. If it is in an installed package, a package is too old or too new for another one: \
             compare\nthe versions above with those on your machine (pip freeze)."
                .to_owned(),
        );
    }
    (
        "Static files could not be collected".to_owned(),
        "The last lines above say why.".to_owned(),
    )
}

/// Whether Django itself failed to import the settings, rather than an import in them failed: no
/// file of the project is the last one in the traceback.
fn is_import_of_settings(output: &str) -> bool {
    let last_file = output
        .lines()
        .rfind(|line| line.trim_start().starts_with("File \""))
        .unwrap_or_default();
    output.contains("SETTINGS_MODULE") && last_file.contains("<frozen importlib")
}

fn is_exception(line: &str) -> bool {
    let name = line.split([':', ' ']).next().unwrap_or_default();
    let name = name.rsplit('.').next().unwrap_or_default();
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && ["Error", "Exception", "Configured", "Found", "Exist"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// The variable that the settings miss, in the words of Django, os.environ, decouple and environ.
fn missing_variable<'a>(exception: &'a str, output: &str) -> Option<&'a str> {
    if exception.contains("SECRET_KEY setting must not be empty") {
        return Some("SECRET_KEY");
    }
    let name = if exception.starts_with("KeyError: ") && output.contains("environ") {
        between(exception, "KeyError: '", "'")?
    } else if let Some(name) = between(exception, "Set the ", " environment variable") {
        name
    } else if exception.contains("UndefinedValueError") {
        between(exception, ": ", " not found")?
    } else {
        return None;
    };
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

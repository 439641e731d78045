//! Everything that can stop a build, and all words about it: what happened, why, what to do.
//!
//! The tools' own output has been shown by the time an explanation is printed, so it is not repeated.

mod django;
mod environment;
mod install;
mod known;
mod packages;
mod project;
mod source;

use crate::bytecode::BytecodeError;
use crate::checks::{APP_PATH_VARIABLE, CheckError};
use crate::django::DjangoError;
use crate::hooks::HookError;
use crate::install::InstallError;
use crate::interpreter::InterpreterError;
use crate::layers::nltk::NltkError;
use crate::layers::pip::PipError;
use crate::layers::project_tool::ProjectToolError;
use crate::layers::python::PythonError;
use crate::layers::static_files::StaticFilesError;
use crate::layers::uv::UvError;
use crate::layers::venv::VenvError;
use crate::log;
use crate::project::{MEMBER_VARIABLE, ProjectError};
use crate::python_range::Range;
use crate::python_version::{
    PYTHON_VERSION_FILE, PythonVersion, PythonVersionError, RUNTIME_TXT, Request, Stage, Support,
    Variety, newest_patch,
};
use crate::records::RecordError;
use crate::sbom::SbomError;
use crate::secrets::SecretError;
use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// What detection says when it passes an app by.
pub(crate) const NOT_A_PYTHON_PROJECT: &str = "\
No Python project found: the app's root folder has no requirements.txt, no pyproject.toml, no manage.py,
no other file of a Python package manager, and no *.py file.
If it is a Python app, check that the right folder is built, and that requirements.txt is committed and
not excluded (.slugignore, project.toml).";

/// Why the build stopped, by the part of the build's story that stopped it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildpackError {
    #[error("the project can't be built as it is")]
    Check(#[source] CheckError),
    #[error("a secret could not be kept out of the image")]
    Secret(#[source] SecretError),
    #[error("the Python version asked for can't be used")]
    PythonVersion(#[source] PythonVersionError),
    #[error("a Python does not work")]
    Interpreter(#[source] InterpreterError),
    #[error("a script of the app failed")]
    Hook(#[source] HookError),
    #[error("the stack has no Python")]
    NoPython,
    #[error("Python could not be installed")]
    Python(#[source] PythonError),
    #[error("uv is not available")]
    Uv(#[source] UvError),
    #[error("pip is not available")]
    Pip(#[source] PipError),
    #[error("a package manager is not available")]
    ProjectTool(#[source] ProjectToolError),
    #[error("the project can't be read")]
    Project(#[source] ProjectError),
    #[error("the virtual environment could not be made")]
    Venv(#[source] VenvError),
    #[error("a package is not what it says")]
    Record(#[source] RecordError),
    #[error("the requirements could not be installed")]
    Install(#[source] InstallError),
    #[error("bytecode could not be compiled")]
    Bytecode(#[source] BytecodeError),
    #[error("static files could not be collected")]
    Django(#[source] DjangoError),
    #[error("what is not needed could not be left out")]
    Slim(#[source] io::Error),
    #[error("NLTK's data could not be had")]
    Nltk(#[source] NltkError),
    #[error("static files could not be kept")]
    StaticFiles(#[source] StaticFilesError),
    #[error("the packages could not be described")]
    Sbom(#[source] SbomError),
    #[error("the app's packages are none that apps share: {0}")]
    NotShared(&'static str),
}

impl From<BuildpackError> for libcnb::Error<BuildpackError> {
    fn from(error: BuildpackError) -> Self {
        Self::BuildpackError(error)
    }
}

/// An explanation: the title says what happened; the body says why and what to do.
#[derive(Debug, PartialEq, Eq)]
struct Explanation {
    title: String,
    body: String,
}

impl Explanation {
    fn new(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            body: body.into(),
        }
    }
}

/// Prints why the build stopped.
pub(crate) fn explain(error: &libcnb::Error<BuildpackError>) {
    let explanation = match error {
        libcnb::Error::BuildpackError(error) => explanation_of(error),
        framework => Explanation::new(
            "The buildpack could not do its work",
            format!(
                "{framework}\n\n\
                 This comes from the platform's side of the build (layers, plan or environment), not from \
                 the app.\nBuild again with a cleared cache; if it happens again, report it with this text."
            ),
        ),
    };
    log::error(&explanation.title, &explanation.body);
}

/// One line about why the build stopped.
pub(crate) fn in_short(error: &libcnb::Error<BuildpackError>) -> String {
    let text = match error {
        libcnb::Error::BuildpackError(BuildpackError::Install(error)) => install::without_wheel(
            error.source.output(),
        )
        .map_or_else(
            || install::explain(error).title,
            |package| format!("there is no wheel of {package}, and nothing is built for the store"),
        ),
        libcnb::Error::BuildpackError(error) => chain(error),
        framework => chain(framework),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Title and body of the explanation of a failure, for those who only look.
pub(crate) fn words(error: &BuildpackError) -> (String, String) {
    let explanation = explanation_of(error);
    (explanation.title, explanation.body)
}

fn explanation_of(error: &BuildpackError) -> Explanation {
    match error {
        BuildpackError::Check(error) => project::check(error),
        BuildpackError::Secret(error) => source::secret(error),
        BuildpackError::PythonVersion(error) => project::python_version(error),
        BuildpackError::Project(error) => source::project(error),
        BuildpackError::ProjectTool(error) => environment::project_tool(error),
        BuildpackError::Hook(error) => source::hook(error),
        BuildpackError::NoPython => environment::no_python(),
        BuildpackError::Python(error) => environment::python(error),
        BuildpackError::Uv(error) => environment::uv(error),
        BuildpackError::Pip(error) => environment::pip(error),
        BuildpackError::Install(error) => install::explain(error),
        BuildpackError::Django(error) => django::explain(error),
        BuildpackError::Nltk(error) => source::nltk(error),
        BuildpackError::Interpreter(error) => environment::interpreter(error),
        BuildpackError::Venv(error) => packages::venv(error),
        BuildpackError::Record(error) => packages::record(error),
        BuildpackError::Bytecode(error) => environment::broken(error),
        BuildpackError::StaticFiles(error) => environment::broken(error),
        BuildpackError::Sbom(error) => environment::broken(error),
        BuildpackError::Slim(_) => environment::broken(error),
        BuildpackError::NotShared(_) => environment::not_shared(error),
    }
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing into a String can't fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Virtual environments in the app's folder.
pub(crate) fn warn_of_stray_venvs(folders: &[PathBuf]) {
    for folder in folders {
        log::warning(
            "The app contains a virtual environment",
            &format!(
                "The folder {0}/ is a virtual environment made on another machine. It is not used: the image \
                 gets one\nof its own. It only makes the image bigger.\n\
                 Leave it out: add \"{0}/\" to .gitignore and .slugignore, and, if it was committed, run\n\
                 git rm -r --cached {0}",
                folder.display()
            ),
        );
    }
}

/// Folders of other tools in the app's folder.
pub(crate) fn warn_of_stray_folders(folders: &[&str]) {
    if folders.is_empty() {
        return;
    }
    let names = folders.join(", ");
    log::warning(
        "The app contains folders that other tools made",
        &format!(
            "{names}: made on another machine and not used; in the image they are only weight.\n\
             Leave them out: add them to .gitignore and .slugignore, and, if they were committed, run git rm -r --cached {}",
            folders.join(" ")
        ),
    );
}

/// A project in a folder whose lock is further up.
pub(crate) fn warn_of_workspace(folder: &Path) {
    let place = match folder.to_str() {
        None | Some("") => "the app's root".to_owned(),
        Some(folder) => folder.to_owned(),
    };
    log::warning(
        "The lock of the workspace is not used",
        &format!(
            "There is a uv.lock in {place}, and none in the folder that {APP_PATH_VARIABLE} names. To install one member of a \
             workspace\nfrom its lock, let {APP_PATH_VARIABLE} name {place} (or unset it), and name the member: -e {MEMBER_VARIABLE}=NAME"
        ),
    );
}

/// Files that nobody reads, because their names are not quite right.
pub(crate) fn warn_of_misspelt_files(files: &[(String, &str)]) {
    for (name, right) in files {
        log::warning(
            &format!("{name} is not called {right}"),
            &format!(
                "There is a file {name}, but no {right}, which is the only name that is read.\nRename it: mv \"{name}\" {right}"
            ),
        );
    }
}

/// Installed packages that do not fit each other, in the words of uv.
pub(crate) fn warn_of_inconsistency(words: &str) {
    log::warning(
        "Installed packages do not fit each other",
        &format!(
            "{}\n\nThe app may fail where they meet. Change one of the versions, and lock again if there is a lock.",
            words.trim_end()
        ),
    );
}

/// Variables in requirements that have no value.
pub(crate) fn warn_of_unset_variables(names: &[String]) {
    for name in names {
        log::warning(
            &format!("The requirements use ${{{name}}}, which is not set"),
            &format!(
                "It stays in the line as it is, which will hardly be right. Pass it to the build: -e {name}=..."
            ),
        );
    }
}

/// A version file that is on its way out. `used` is what the version files say together; `None`: a range.
pub(crate) fn warn_of_runtime_txt(used: Option<Request>) {
    log::warning("runtime.txt is deprecated", &about_runtime_txt(used));
}

/// What to do about a `runtime.txt`.
pub(crate) fn about_runtime_txt(used: Option<Request>) -> String {
    match used {
        Some(request) if request.file == RUNTIME_TXT => format!(
            "The file {RUNTIME_TXT} is deprecated. Replace it by a file {PYTHON_VERSION_FILE} with this line:\n\
             {}",
            request.series
        ),
        _ => format!(
            "The file {RUNTIME_TXT} is ignored, because there is a {PYTHON_VERSION_FILE}. Remove it."
        ),
    }
}

/// A series that gets no fixes any more.
pub(crate) fn warn_of_ended_support(request: Request, support: Support) {
    if let Support::Ended(month) = support {
        log::warning(
            &format!("Python {} gets no security fixes any more", request.series),
            &format!(
                "Its support ended in {month}. Move to a newer one: write for example \"3.13\" in \
                 {PYTHON_VERSION_FILE}."
            ),
        );
    }
}

/// A Python that may still change.
pub(crate) fn warn_of_pre_release(request: Request) {
    if request.variety.stage != Stage::Released {
        log::warning(
            &format!("Python {request} is not for production"),
            &format!(
                "{} asks for what may not be out yet: few packages have wheels for it, and it may still change. When it is out, write \
                 \"{}\".",
                request.file, request.series
            ),
        );
    }
}

/// The stack has another patch release than the one asked for.
pub(crate) fn warn_of_other_patch(request: Request, stack: PythonVersion) {
    if request.patch.is_some_and(|patch| patch != stack.patch) {
        log::warning(
            &format!("Python {stack} is used instead of {request}"),
            &format!(
                "{file} asks for exactly {request}; the stack has {stack}, which is compatible and gets security \
                 fixes\nwith the stack. To say that any {series} will do, write only \"{series}\" in {PYTHON_VERSION_FILE}.",
                file = request.file,
                series = request.series,
            ),
        );
    }
}

/// An installed Python that is not the newest of its series.
pub(crate) fn warn_of_old_patch(request: Request, range: Option<&Range>, python: PythonVersion) {
    let newest = newest_patch(python.series)
        .filter(|newest| python.patch < *newest && request.variety == Variety::default());
    if let Some(newest) = newest.filter(|_| request.patch.is_some()) {
        let Request { file, series, .. } = request;
        let asked = match range {
            Some(range) => format!("{file} asks for {range}"),
            None => format!("{file} asks for exactly {request}"),
        };
        let advice = match range {
            Some(_) => format!("Let the range in {file} hold all of {series}"),
            None => format!("Write only \"{series}\" in {file}"),
        };
        log::warning(
            &format!("Python {python} lacks fixes"),
            &format!(
                "{asked}; {series}.{newest} is out, with fixes for bugs and security holes.\n\
                 {advice} to get the newest with each build that installs it.",
            ),
        );
    }
}

/// The project says that it runs on other Pythons, but installs what says nothing of them.
pub(crate) fn warn_of_range(python: PythonVersion, ranges: &[Range]) {
    if let Some((title, body)) = about_range(python, ranges) {
        log::warning(&title, &body);
    }
}

/// Title and body of that warning, if there is reason for one.
pub(crate) fn about_range(python: PythonVersion, ranges: &[Range]) -> Option<(String, String)> {
    let range = ranges.iter().find(|range| !range.allows(python))?;
    Some((
        format!("Python {python} is not in the range of {}", range.file),
        format!(
            "{file} asks for Python {range}, which requirements.txt does not enforce. Choose a version in \
             {PYTHON_VERSION_FILE},\nor correct the range in {file}.",
            file = range.file,
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::about_runtime_txt;

    /// A range in `.python-version` is no request, and makes a `runtime.txt` as useless.
    #[test]
    fn an_ignored_runtime_txt_is_told_of() {
        assert!(about_runtime_txt(None).contains("is ignored"));
    }
}

#[cfg(test)]
#[path = "errors/words_tests.rs"]
mod words_tests;

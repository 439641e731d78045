//! Words about the project's own files and settings.

use super::{Explanation, chain};
use crate::checks::{APP_PATH_VARIABLE, CheckError};
use crate::python_version::{
    NEWEST, OLDEST, OLDEST_FREE_THREADED, PYTHON_VERSION_FILE, PythonVersionError, RUNTIME_TXT,
};
use crate::requirements::RequirementsError;
use crate::slim;
use crate::text_file::TextFileError;

pub(super) fn check(error: &CheckError) -> Explanation {
    match error {
        CheckError::Look(_) => Explanation::new(
            "The app's files could not be read",
            format!(
                "{}.\nCheck the permissions of the app's folder.",
                chain(error)
            ),
        ),
        CheckError::RefusedVariable { name, reason } => Explanation::new(
            format!("The variable {name} must not be set"),
            format!(
                "{name} is set for this build. It can't be used:\n{reason}.\n\
                 Remove it from the build's variables (-e, --env-file, project.toml) and build again."
            ),
        ),
        CheckError::MisspeltRequirements { name } => Explanation::new(
            format!("The file {name} is not called requirements.txt"),
            format!(
                "There is a file {name}, but no requirements.txt, which is the only name that is read.\n\
                 Rename it: mv {name} requirements.txt"
            ),
        ),
        CheckError::OtherManager {
            file,
            manager,
            export,
        } => Explanation::new(
            format!("{file} can't be installed"),
            format!(
                "The app's dependencies are in {file} ({manager}), and there is no other file to install them from. Make \
                 a\nrequirements.txt from it and commit that:\n    {export}"
            ),
        ),
        CheckError::AppPath { value } => Explanation::new(
            format!("{APP_PATH_VARIABLE} names no folder of the app"),
            format!(
                "{APP_PATH_VARIABLE} is \"{value}\". It is the path of a folder in the app, relative to its root, such as \
                 services/api.\nCheck its spelling, and that the folder is committed and not excluded (.slugignore, project.toml)."
            ),
        ),
        CheckError::UnknownWeight { word } => Explanation::new(
            format!("{VARIABLE} is not understood", VARIABLE = slim::VARIABLE),
            format!(
                "\"{word}\" is nothing that can be left out. It is 1 (tests, pip and debug symbols), or some of these: tests, pip, \
                 symbols,\nbytecode (which makes the app start more slowly)."
            ),
        ),
        CheckError::UnknownInstaller { value } => Explanation::new(
            "The installer asked for is not known",
            format!(
                "BP_PYTHON_INSTALLER is \"{value}\". It can be \"uv\" (used when it is not set) or \"pip\"."
            ),
        ),
    }
}

pub(super) fn python_version(error: &PythonVersionError) -> Explanation {
    let example = format!("Write the series alone, for example:\n    {NEWEST}");
    match error {
        PythonVersionError::Read(source) => text_file(source),
        PythonVersionError::Empty { file } => Explanation::new(
            format!("{file} names no Python version"),
            format!(
                "The file is empty or has only comments. {example}\nor remove it to get the stack's Python."
            ),
        ),
        PythonVersionError::Several { file, lines } => Explanation::new(
            format!("{file} names more than one Python version"),
            format!(
                "There is a version in each of these lines: {}. An image has one Python: keep one line.",
                lines
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
        PythonVersionError::Malformed { file, line, text } => {
            let expected = if *file == RUNTIME_TXT {
                format!(
                    "\"python-X.Y.Z\" is expected in {RUNTIME_TXT}, which is deprecated. Better remove it and write a \
                     {PYTHON_VERSION_FILE}.\n"
                )
            } else {
                String::new()
            };
            Explanation::new(
                format!("{file} is not understood"),
                format!(
                    "{file}, line {line}: \"{text}\" is not a version of Python (3.13, 3.13.5, 3.13t, 3.14.0rc1, pypy3.11).\n{}{expected}{example}",
                    other_python(text)
                ),
            )
        }
        PythonVersionError::EndOfLife { request, since } => Explanation::new(
            format!("Python {} is past its end of life", request.series),
            format!(
                "{file} asks for Python {request}, which {since}; it can't be installed.\n\
                 The oldest that can be is {OLDEST}, the newest is {NEWEST}. Write one of them in {PYTHON_VERSION_FILE}, \
                 run the app's tests\nwith it, and build again.",
                file = request.file,
                since = since.map_or_else(
                    || "ended long ago".to_owned(),
                    |month| format!("has had no security fixes since {month}")
                ),
            ),
        ),
        PythonVersionError::NoSuchVariety { request } => Explanation::new(
            format!("There is no Python {request}"),
            format!(
                "{file} asks for a build without the global interpreter lock; the first Python with such builds is \
                 {OLDEST_FREE_THREADED}t.\nWrite \"{series}\", or \"{OLDEST_FREE_THREADED}t\" or a newer one, in {file}.",
                file = request.file,
                series = request.series,
            ),
        ),
        PythonVersionError::Conflict { request, range } => Explanation::new(
            format!("{} and {} contradict each other", request.file, range.file),
            format!(
                "{file} asks for Python {request}, {other} for {range}; an image has one Python.\n\
                 {file} decides which one, and it must be in the range of {other}: change one of the two.",
                file = request.file,
                other = range.file
            ),
        ),
        PythonVersionError::NothingFits { ranges } => Explanation::new(
            "No Python is in the range asked for",
            format!(
                "{}.\nOf the Pythons that can be had, {OLDEST} to {NEWEST}, none fits.\n\
                 Correct the range; one without an upper end, such as \">=3.11\", goes on fitting.",
                ranges
                    .iter()
                    .map(|range| format!("{} asks for Python {range}", range.file))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        ),
        PythonVersionError::Unknown { request } => Explanation::new(
            format!("Python {} is not known", request.series),
            format!(
                "{file} asks for Python {request}; the newest that this buildpack knows is {NEWEST}.\n\
                 Write a version from {OLDEST} to {NEWEST} in {PYTHON_VERSION_FILE}, or use a newer buildpack.",
                file = request.file
            ),
        ),
    }
}

/// What somebody who writes such a version means.
fn other_python(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    let begins = |names: &[&str]| names.iter().any(|name| text.starts_with(name));
    if begins(&["<<<<<<<", "=======", ">>>>>>>"]) {
        "It is a marker of an unfinished merge: choose which line to keep.\n"
    } else if begins(&["graalpy", "jython", "micropython", "ironpython"]) {
        "It is another implementation of Python; this buildpack installs CPython and PyPy.\n"
    } else if begins(&["pypy"]) {
        "PyPy's versions are those of the language that it speaks, and it has no other builds: pypy3.11\n"
    } else if is_number
        && ["a", "b", "rc", "dev"]
            .iter()
            .any(|mark| text.contains(mark))
    {
        "Pre-releases are written as 3.16.0a2, 3.16.0b1 or 3.16.0rc1, what is in development as 3.16-dev.\n"
    } else if begins(&["system", "miniconda", "anaconda", "mambaforge", "miniforge"])
        || text.contains('/')
        || !is_number && !text.starts_with(['<', '>', '=', '~', '!', '^', 'v'])
    {
        "pyenv writes names of environments into this file, which mean nothing on another machine.\n"
    } else {
        ""
    }
}

pub(super) fn requirements(error: &RequirementsError) -> Explanation {
    match error {
        RequirementsError::Text(source) => text_file(source),
        RequirementsError::MissingFile {
            file,
            line,
            missing,
        } => Explanation::new(
            format!("{} is missing", missing.display()),
            format!(
                "{}, line {line}, includes {}, which is not there.\n\
                 Paths are relative to the file that includes them. Check the name, and that the file is committed \
                 and not\nexcluded (.slugignore, project.toml).",
                file.display(),
                missing.display()
            ),
        ),
        RequirementsError::MissingLocal {
            file,
            line,
            missing,
        } => Explanation::new(
            format!("{} is missing", missing.display()),
            format!(
                "{}, line {line}, asks for the folder or archive {}, which is not there.\n{}",
                file.display(),
                missing.display(),
                if missing.is_absolute() {
                    "It is a path of another machine; pip freeze of a conda environment writes such lines. Name the version instead \
                     (NAME==1.2),\nas pip list --format=freeze does, or put the file into the app's folder."
                } else {
                    "Paths are relative to the app's root. Check the name, and that it is committed and not excluded \
                     (.slugignore,\nproject.toml). A package from the index is written without a path."
                }
            ),
        ),
        RequirementsError::Cycle {
            file,
            line,
            included,
        } => Explanation::new(
            "The requirements files include each other",
            format!(
                "{}, line {line}, includes {}, which leads to this line again.\nRemove one of the two inclusions.",
                file.display(),
                included.display()
            ),
        ),
        RequirementsError::MergeMarker { file, line } => Explanation::new(
            format!("{} has an unfinished merge", file.display()),
            format!(
                "{}, line {line}, is a marker that git leaves where two versions conflict.\n\
                 Choose which lines to keep, remove the markers (<<<<<<<, =======, >>>>>>>), and commit the file.",
                file.display()
            ),
        ),
        RequirementsError::Local(source) => Explanation::new(
            "A local requirement could not be read",
            format!("{}.\nCheck its permissions.", chain(source)),
        ),
    }
}

pub(super) fn text_file(error: &TextFileError) -> Explanation {
    match error {
        TextFileError::Read { path, .. } => Explanation::new(
            format!("{} could not be read", path.display()),
            format!(
                "{}.\nCheck that it is a file and that it may be read.",
                chain(error)
            ),
        ),
        TextFileError::TooLarge { path } => Explanation::new(
            format!("{} is too large", path.display()),
            format!(
                "{}. It can't be what its name says; write it anew.",
                chain(error)
            ),
        ),
        TextFileError::Utf16 { path } => Explanation::new(
            format!("{} is encoded as UTF-16", path.display()),
            format!(
                "Some Windows tools (PowerShell's \">\", Notepad) write UTF-16; UTF-8 is expected.\n\
                 Save it as \"UTF-8\" in the editor, or convert it:\n    \
                 iconv -f UTF-16 -t UTF-8 {0} > new.txt && mv new.txt {0}",
                path.display()
            ),
        ),
        TextFileError::NotUtf8 { path, line } => Explanation::new(
            format!("{} is not valid UTF-8", path.display()),
            format!(
                "Line {line} of {} holds bytes that are no UTF-8 text. Save the file as UTF-8 in the editor.",
                path.display()
            ),
        ),
    }
}

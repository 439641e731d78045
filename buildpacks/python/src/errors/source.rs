//! Words about what packages are installed from.

use super::{Explanation, chain, project as other};
use crate::hooks::HookError;
use crate::layers::nltk::{INDEX_VARIABLE, NLTK_TXT, NltkError};
use crate::project::{MANAGER_VARIABLE, ORDER, ProjectError};
use crate::secrets::SecretError;

pub(super) fn project(error: &ProjectError) -> Explanation {
    match error {
        ProjectError::Text(source) => other::text_file(source),
        ProjectError::Requirements(source) => other::requirements(source),
        ProjectError::Look(_) => Explanation::new(
            "The app's files could not be read",
            format!(
                "{}.\nCheck the permissions of the app's folder.",
                chain(error)
            ),
        ),
        ProjectError::Local(source) => Explanation::new(
            "A part of the project could not be read",
            format!("{}.\nCheck its permissions.", chain(source)),
        ),
        ProjectError::MergeMarker { file, line } => Explanation::new(
            format!("{file} has an unfinished merge"),
            format!(
                "{file}, line {line}, is a marker that git leaves where two versions conflict.\n\
                 {}",
                if file.ends_with("lock") || file == "pylock.toml" {
                    "Take one of the two versions whole (git checkout --theirs FILE), let the package manager lock again, \
                     and commit."
                } else {
                    "Choose which lines to keep, remove the markers (<<<<<<<, =======, >>>>>>>), and commit the file."
                }
            ),
        ),
        ProjectError::Malformed { file, source } => Explanation::new(
            format!("{file} is not valid TOML"),
            format!("{source}\nCorrect the file at the place shown and build again."),
        ),
        ProjectError::MalformedJson { file, source } => Explanation::new(
            format!("{file} is not valid JSON"),
            format!("{file}: {source}.\nLet its tool make it again (pipenv lock) and commit it."),
        ),
        ProjectError::MissingLock {
            file,
            lock,
            command,
        } => Explanation::new(
            format!("{lock} is missing"),
            format!(
                "{file} says what the app needs, but not in which versions: there is no {lock}.\n\
                 Make it and commit it, and see that it is not excluded (.slugignore, project.toml):\n    {command}"
            ),
        ),
        ProjectError::MissingCompanion { file, companion } => Explanation::new(
            format!("{companion} is missing"),
            format!(
                "{file} was made from a {companion}, which is not there; without it the lock can't be checked.\n\
                 Commit it too, and see that it is not excluded (.slugignore, project.toml)."
            ),
        ),
        ProjectError::UnknownManager { value } => Explanation::new(
            "The package manager asked for is not known",
            format!(
                "{MANAGER_VARIABLE} is \"{value}\". It can be requirements, uv, poetry, pdm, pipenv, pylock, pyproject, \
                 setup, script,\nor the name of the file to install from. When it is not set, the first of these is \
                 taken:\n    {ORDER}"
            ),
        ),
        ProjectError::AbsentManager { value, file } => Explanation::new(
            format!("There is no {file}"),
            format!(
                "{MANAGER_VARIABLE} is \"{value}\", which is installed from {file}; the app's root has none.\n\
                 Commit it (and see that it is not excluded: .slugignore, project.toml), or unset {MANAGER_VARIABLE}."
            ),
        ),
        ProjectError::SeveralScripts { names } => Explanation::new(
            "Several scripts say what they need",
            format!(
                "Each of these has a \"# /// script\" block: {}. An image has one environment.\n\
                 Say whose: -e {MANAGER_VARIABLE}={}",
                names.join(", "),
                names.first().map_or("", String::as_str)
            ),
        ),
        ProjectError::OpenScript { file, line } => Explanation::new(
            format!("The script block of {file} does not end"),
            format!(
                "{file}, line {line}, begins a \"# /// script\" block. Each of its lines must begin with \"#\", and the \
                 last one is\n    # ///"
            ),
        ),
        ProjectError::MalformedRange { file, key, text } => Explanation::new(
            format!("The Python version in {file} is not understood"),
            format!(
                "{key} is \"{text}\", which is no range of versions. Write for example:\n    >=3.11,<3.15"
            ),
        ),
        ProjectError::MalformedSelection { variable, name } => Explanation::new(
            format!("{variable} is not understood"),
            format!(
                "\"{name}\" in {variable} is no name. Names are separated by commas, for example:\n    \
                 -e {variable}=postgres,s3"
            ),
        ),
    }
}

pub(super) fn secret(error: &SecretError) -> Explanation {
    let SecretError::Remove { path, .. } = error else {
        return Explanation::new(
            ".slugignore can't be read",
            format!(
                "{}.\nIt names files that the image is to have although they look like secrets, so nothing is done without it. Let it be \
                 an\nordinary file in UTF-8 that everybody may read.",
                chain(error)
            ),
        );
    };
    let path = path.display();
    Explanation::new(
        format!("The secret file {path} could not be kept out of the image"),
        format!(
            "{}.\n\nFiles with secrets are removed from the build's copy of the app. Give whoever builds the right to write to the \
             file's\nfolder; or leave the file out (.slugignore, project.toml); or, if the image is meant to have it, write !{path} in \
             .slugignore.",
            chain(error)
        ),
    )
}

/// A shell's exit status (POSIX, "Exit Status for Commands").
const PROGRAM_NOT_FOUND: i32 = 127;

pub(super) fn hook(error: &HookError) -> Explanation {
    let path = error.hook.path();
    Explanation::new(
        format!("{path} failed"),
        format!(
            "The app's own script {path}, which runs during each build, did not succeed: {}.\n\
             Its output is above. It runs in the app's root with the build's variables; correct it, or remove it if it \
             is not\nmeant for builds.{}",
            error.source,
            if error.source.status() == Some(PROGRAM_NOT_FOUND) {
                "\nA program that it runs is not on the build image: bring it with another buildpack (-b) or, if it is a Debian package, \
                 in an\nAptfile."
            } else {
                ""
            }
        ),
    )
}

pub(super) fn nltk(error: &NltkError) -> Explanation {
    match error {
        NltkError::Read(source) => other::text_file(source),
        NltkError::Malformed { line, text } => Explanation::new(
            format!("{NLTK_TXT} is not understood"),
            format!(
                "{NLTK_TXT}, line {line}: \"{text}\" is not the name of a corpus or model. Write one a line, for example:\n    \
                 punkt_tab"
            ),
        ),
        NltkError::Fetch(source) => {
            let is_unknown = source.output().contains("not found in index");
            Explanation::new(
                "NLTK's data could not be fetched",
                format!(
                    "{NLTK_TXT} lists data that NLTK fetches from its own index; its words are above.\n{}",
                    if is_unknown {
                        "The index does not have the name shown there: check its spelling, or whether this version of NLTK calls it \
                         otherwise\n(punkt became punkt_tab)."
                            .to_owned()
                    } else {
                        format!(
                            "If the network was down for a moment, build again. If this network has no way to it, mirror it and name the \
                             mirror:\n    -e {INDEX_VARIABLE}=https://mirror.example/index.xml"
                        )
                    }
                ),
            )
        }
    }
}

//! Everything that can stop a build, and all words about it: what happened, why, what to do.

use crate::apt::AptError;
use crate::aptfile::{APTFILE, AptfileError, Mistake, Problem};
use crate::fault::Fault;
use crate::mirror::MIRROR_VARIABLE;
use crate::unpack::UnpackError;
use std::error::Error;
use std::fmt::Write as _;
use std::io;

/// Why the packages are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildpackError {
    #[error("the {APTFILE} can't be used")]
    Aptfile(#[from] AptfileError),
    #[error("the packages can't be had")]
    Apt(#[from] AptError),
    #[error("the packages can't be unpacked")]
    Unpack(#[from] UnpackError),
    #[error("the list of packages could not be written")]
    Sbom(#[from] serde_json::Error),
    #[error("the layer could not be cleared")]
    Clear(#[source] io::Error),
}

impl From<BuildpackError> for libcnb::Error<BuildpackError> {
    fn from(error: BuildpackError) -> Self {
        Self::BuildpackError(error)
    }
}

/// Prints why the build stopped.
pub(crate) fn explain(error: &libcnb::Error<BuildpackError>) {
    let (title, body) = match error {
        libcnb::Error::BuildpackError(error) => words(error),
        framework => (
            "The Aptfile buildpack could not do its work".to_owned(),
            format!(
                "{framework}\n\nThis comes from the platform's side of the build, not from the app. Build again with a cleared cache; \
                 if it\nhappens again, report it with this text."
            ),
        ),
    };
    eprintln!("\n[Error: {title}]\n{}\n", body.trim_end());
}

/// Title and body of an explanation.
pub(crate) fn words(error: &BuildpackError) -> (String, String) {
    match error {
        BuildpackError::Aptfile(error) => of_file(error),
        BuildpackError::Apt(error) => of_apt(error),
        BuildpackError::Unpack(UnpackError::Package { package, output }) => (
            format!("The package {package} can't be unpacked"),
            format!("{output}\nIf the disk is full, make room. If not, build again."),
        ),
        BuildpackError::Unpack(UnpackError::Missing(_)) => no_apt(error),
        BuildpackError::Unpack(_) | BuildpackError::Sbom(_) | BuildpackError::Clear(_) => (
            "The build could not go on".to_owned(),
            format!(
                "{}.\n\nIf the disk is full, make room and build again. If not, build once more with a cleared cache; if it happens\n\
                 again, report it with this text.",
                chain(error)
            ),
        ),
    }
}

fn of_file(error: &AptfileError) -> (String, String) {
    let title = format!("The {APTFILE} can't be used");
    match error {
        AptfileError::Mistakes(mistakes) => {
            let mut body = String::new();
            for mistake in mistakes {
                // Writing into a String can't fail.
                let _ = writeln!(body, "{}", advice(mistake));
            }
            let _ = write!(
                body,
                "\nA line has the names of Debian packages, such as\n    libgdal36\n    ffmpeg   # a comment"
            );
            (title, body)
        }
        AptfileError::NotUtf8 { line } => (
            title,
            format!(
                "{APTFILE}, line {line}, is not UTF-8. Save the file as UTF-8 and build again."
            ),
        ),
        AptfileError::TooLong => (
            title,
            format!("{error}; it is to hold names of Debian packages. Remove what is none."),
        ),
        AptfileError::Read(_) => (
            title,
            format!(
                "{}.\nIt has to be an ordinary file that everybody may read.",
                chain(error)
            ),
        ),
    }
}

fn advice(mistake: &Mistake) -> String {
    let place = format!("{APTFILE}, line {}: {}\n    ", mistake.line, mistake.text);
    place
        + &match &mistake.problem {
            Problem::Repository => {
                "Further archives are not supported: nothing would vouch for what they send. Use the package of the stack's own \
                 Debian,\n    or bring the program along with a buildpack."
                    .to_owned()
            }
            Problem::File => {
                "Files are not supported: nothing would vouch for them. Name the package as Debian's archive does."
                    .to_owned()
            }
            Problem::Option => {
                "Options of apt-get are not supported. Remove it.".to_owned()
            }
            Problem::Comma => "Separate names by spaces or lines, not by commas.".to_owned(),
            Problem::Case(right) => {
                format!("Names of packages have no capital letters. Write {right}.")
            }
            Problem::Name => {
                "This is no name of a package: those have two or more of the characters a-z 0-9 + - ."
                    .to_owned()
            }
            Problem::Version => {
                "What follows the = is no version. Write NAME=VERSION, or the name alone for the newest."
                    .to_owned()
            }
        }
}

fn of_apt(error: &AptError) -> (String, String) {
    match error {
        AptError::Missing { .. } => no_apt(error),
        AptError::NoMirror => (
            "It is not known where Debian packages come from".to_owned(),
            format!(
                "The build image names no archive of packages, and {MIRROR_VARIABLE} is not set. Name a Debian mirror, a folder with \
                 dists/\nand pool/:\n    --env {MIRROR_VARIABLE}=https://mirror.example/debian"
            ),
        ),
        AptError::BadMirror { variable, value } => (
            format!("{variable} is no address"),
            format!(
                "It is \"{value}\". Write a mirror's address, such as https://mirror.example/debian"
            ),
        ),
        AptError::Update { mirror, output } => update(mirror, output),
        AptError::Resolve { output, unknown } => resolve(output, unknown),
        AptError::Download { output } => {
            let advice = match Fault::of(output) {
                Fault::Disk => "Make room on the disk, and build again.",
                Fault::Unreachable => {
                    "If the network was down for a moment, build again. If not, name another mirror:"
                }
                Fault::Altered | Fault::Unsigned => {
                    "What the mirror sent is not what Debian signed; nothing of it is used. Name another mirror:"
                }
                Fault::NotThere | Fault::Untimely => {
                    "The mirror was just being updated. Build again in some minutes, or name another one:"
                }
            };
            (
                "The packages could not be fetched".to_owned(),
                format!(
                    "{output}\n\n{advice}\n    -e {MIRROR_VARIABLE}=https://mirror.example/debian"
                ),
            )
        }
        AptError::File { .. } => (
            "The build could not go on".to_owned(),
            format!(
                "{}.\n\nIf the disk is full, make room and build again. If not, build once more with a cleared cache.",
                chain(error)
            ),
        ),
    }
}

fn update(mirror: &str, output: &str) -> (String, String) {
    let (title, advice) = match Fault::of(output) {
        Fault::Disk => (
            "There is no room for the mirror's lists",
            "Make room on the disk, and build again.",
        ),
        Fault::Unsigned => (
            "The mirror's lists are not signed by Debian",
            "What this mirror sends was not signed by a key of the image's, or was changed since. Nothing of it is used. Name another \
             mirror.",
        ),
        Fault::Altered => (
            "The mirror's lists are not those that Debian signed",
            "The mirror was just being updated, or what it sends was changed. Nothing of it is used. Build again in some minutes, or \
             name\nanother mirror.",
        ),
        Fault::Untimely => (
            "The mirror's lists are not of this time",
            "The mirror is out of date, or this machine's clock is wrong. Set the clock, or name another mirror.",
        ),
        Fault::NotThere => (
            "The mirror does not have this Debian",
            "The address is not that of a Debian mirror (a folder with dists/ and pool/), or the mirror does not have this release.",
        ),
        Fault::Unreachable => (
            "The mirror of Debian packages can't be reached",
            "If the network was down for a moment, build again. If this network has no way to it, name a mirror that it has.",
        ),
    };
    (
        title.to_owned(),
        format!(
            "{output}\n\nasked: {mirror}\n{advice}\n    -e {MIRROR_VARIABLE}=https://mirror.example/debian"
        ),
    )
}

fn resolve(output: &str, unknown: &[(String, Vec<String>)]) -> (String, String) {
    if let [(name, like), others @ ..] = unknown {
        let mut body = String::new();
        for (name, like) in unknown {
            let _ = match like.as_slice() {
                [] => writeln!(
                    body,
                    "{APTFILE} asks for {name}, which this Debian does not have."
                ),
                like => writeln!(
                    body,
                    "{APTFILE} asks for {name}, which this Debian does not have. Similar: {}",
                    like.join(", ")
                ),
            };
        }
        let _ = write!(
            body,
            "\nCheck the name; with a new release of Debian many libraries get a new number (libicu72, libicu76)."
        );
        let title = if others.is_empty() {
            match like.first() {
                Some(right) => format!("There is no package {name} (perhaps {right})"),
                None => format!("There is no package {name}"),
            }
        } else {
            format!("There are no packages {name} and {} more", others.len())
        };
        return (title, body);
    }
    let has = |text: &str| output.contains(text);
    let (title, advice) = if has("was not found") && has("E: Version '") {
        (
            "A version that is asked for is not there",
            "Debian has one version of each package at a time, and its mirrors forget older ones. Write the name without a version.",
        )
    } else if has("has no installation candidate") {
        (
            "A package that is asked for is only a name",
            "Other packages provide it, or others replaced it; apt's words above name them. Write one of those instead.",
        )
    } else {
        (
            "The packages do not go together",
            "apt's words above say which need what. Ask for fewer, or for other versions; the stack's own packages can't be replaced.",
        )
    };
    (title.to_owned(), format!("{output}\n\n{advice}"))
}

fn no_apt(error: &dyn Error) -> (String, String) {
    (
        "The build image is no Debian or Ubuntu".to_owned(),
        format!(
            "{}.\n{APTFILE} is for images that have apt. Build on slugc's stack, or remove the file.",
            chain(error)
        ),
    )
}

/// An error with its causes, each once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

//! Everything that the buildpack says when something is wrong: the line, the cause, what to do.

use crate::launch::printable;
use crate::procfile::{LONGEST_NAME, Mistake, Problem, Warning};
use libcnb::data::launch::ProcessTypeError;
use std::error::Error;
use std::fmt::Write;
use std::io;

/// Why a Procfile gave no processes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcfileError {
    #[error("listing the app folder")]
    List(#[source] io::Error),
    #[error("reading Procfile")]
    Read(#[source] io::Error),
    #[error("parsing Procfile")]
    Parse(Vec<Mistake>),
    /// The grammar lets only such names through that are process types.
    #[error("naming a process")]
    ProcessType(#[source] ProcessTypeError),
}

impl From<ProcfileError> for libcnb::Error<ProcfileError> {
    fn from(error: ProcfileError) -> Self {
        Self::BuildpackError(error)
    }
}

/// The text for an error that ends the build or the detection.
pub(crate) fn message(error: &libcnb::Error<ProcfileError>) -> String {
    match error {
        libcnb::Error::BuildpackError(ProcfileError::Parse(mistakes)) => of_mistakes(mistakes),
        libcnb::Error::BuildpackError(ProcfileError::Read(error)) => of_read(error),
        libcnb::Error::BuildpackError(error) => internal(&chain(error)),
        // These print their own cause.
        error => internal(&error.to_string()),
    }
}

/// The text for a warning.
pub(crate) fn warning(warning: &Warning) -> String {
    match warning {
        Warning::Corrected {
            line,
            text,
            written,
            name,
        } => {
            format!(
                "\n[Warning: Procfile]\n\
                 Procfile:{line}: {}\n\
                 {written:?} was read as {name:?}: names have lower-case letters, digits and inner hyphens only.\n\
                 Write {name:?} there.\n",
                excerpt(text)
            )
        }
        Warning::Repeated {
            line,
            text,
            name,
            earlier,
        } => format!(
            "\n[Warning: Procfile]\n\
             Procfile:{line}: {}\n\
             Line {earlier} defines {name:?} too. This line counts.\n\
             Remove or rename one of them.\n",
            excerpt(text)
        ),
        Warning::Empty => "\n[Warning: Procfile has no processes]\n\
             It has blank lines and comments at most, so the image gets no process from it.\n\
             Add a line like \"web: <command>\", or remove the file.\n"
            .to_owned(),
    }
}

/// The text for a file whose name differs from `Procfile` in case.
pub(crate) fn misspelt(name: &str) -> String {
    format!(
        "No Procfile found, but {name:?}: the name has to be \"Procfile\".\n\
         Rename it: mv {name} Procfile\n"
    )
}

fn of_mistakes(mistakes: &[Mistake]) -> String {
    let mut text = match mistakes.len() {
        1 => "\n[Error: Procfile has a line that cannot be understood]\n".to_owned(),
        count => format!("\n[Error: Procfile has {count} mistakes]\n"),
    };
    for mistake in mistakes {
        let place = format!("Procfile:{}: {}", mistake.line, excerpt(&mistake.text));
        let advice = advice(mistake.problem);
        let _ = writeln!(text, "\n{}\n{advice}", place.trim_end());
    }
    text + "\nA line looks like this: web: <command>\n"
}

/// Cause and cure of one mistake.
fn advice(problem: Problem) -> String {
    match problem {
        Problem::Utf16 => "The file is UTF-16. Save it as UTF-8 without a byte-order mark.".into(),
        Problem::NotUtf8 => "The line is not UTF-8 text. Save the file as UTF-8.".into(),
        Problem::ByteOrderMark => {
            "The file starts with a byte-order mark, which would become part of the first name.\n\
             Save it as \"UTF-8\", not as \"UTF-8 with BOM\"."
                .into()
        }
        Problem::NoColon { continued: false } => {
            "No colon follows the name of the process. Put one right behind the name.".into()
        }
        Problem::NoColon { continued: true } => {
            "No colon follows the name of the process. The line before ends with a backslash, but a line cannot\n\
             be continued: write the command in one line, or put it into a script."
                .into()
        }
        Problem::NoName => "No name stands before the colon. Put one there.".into(),
        Problem::SpaceBeforeColon => {
            "White space stands between the name and the colon. Remove it.".into()
        }
        Problem::Character(character) => format!(
            "The name has {character:?} in it. Use letters, digits and inner hyphens only."
        ),
        Problem::Edge(character) => format!(
            "The name starts or ends with {character:?}. Let it start and end with a letter or a digit."
        ),
        Problem::TooLong(length) => {
            format!("The name has {length} characters. Use {LONGEST_NAME} at most.")
        }
        Problem::NoCommand => {
            "No command follows the colon. Add one, or remove the line.".into()
        }
        Problem::Nul => {
            "The command has a NUL character in it, which no program can be given. Remove it.".into()
        }
    }
}

fn of_read(error: &io::Error) -> String {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => {
            "It is a link that leads nowhere. Replace it by the file itself."
        }
        io::ErrorKind::IsADirectory => {
            "It is a folder. The processes have to be in a file of that name."
        }
        io::ErrorKind::PermissionDenied => "Let everybody read it: chmod a+r Procfile",
        _ => "Check that it is an ordinary file and try again.",
    };
    format!("\n[Error: Procfile cannot be read]\n\n{error}\n{cure}\n")
}

fn internal(cause: &str) -> String {
    format!(
        "\n[Error: The Procfile buildpack failed]\n\n{cause}\n\
         The Procfile is not to blame. Try again; if it stays, report it with this message.\n"
    )
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The line, short enough to be read.
fn excerpt(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(LONGEST).collect();
    let more = if characters.next().is_some() {
        "…"
    } else {
        ""
    };
    printable(&start) + more
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;

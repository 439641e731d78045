//! The two ways in which this buildpack runs other programs: showing their output as it comes while
//! keeping it for the error's explanation, or capturing it.

use crate::redact::redacted;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};

/// How much of a tool's output is kept for the explanation of its failure, in bytes.
const KEPT_OUTPUT: usize = 256 * 1024;

/// A program could not be run, or it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The program could not be started.
    #[error("could not start {program}")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    /// Reading the program's output failed.
    #[error("could not read the output of {program}")]
    Output {
        program: String,
        #[source]
        source: io::Error,
    },
    /// The program ran and reported failure.
    #[error("{program} failed ({status})")]
    Failed {
        program: String,
        status: ExitStatus,
        /// What it printed, secrets redacted; the end of it if it was very long.
        output: String,
    },
}

impl CommandError {
    /// With what status the program ended, if it ran to its end.
    pub(crate) fn status(&self) -> Option<i32> {
        match self {
            Self::Failed { status, .. } => status.code(),
            Self::Start { .. } | Self::Output { .. } => None,
        }
    }

    /// What the program printed before it failed; empty when it never ran.
    pub(crate) fn output(&self) -> &str {
        match self {
            Self::Failed { output, .. } => output,
            Self::Start { .. } | Self::Output { .. } => "",
        }
    }
}

/// Runs a program, shows what it prints (both streams, in their order) as it comes, and keeps it for
/// the error. Credentials in URLs are redacted in both.
pub(crate) fn stream(command: &mut Command) -> Result<(), CommandError> {
    stream_and_keep(command).map(drop)
}

/// As [`stream`], and returns what was printed; the end of it if it was very long.
pub(crate) fn stream_and_keep(command: &mut Command) -> Result<String, CommandError> {
    let program = program_name(command);
    let output_error = |source| CommandError::Output {
        program: program.clone(),
        source,
    };
    let (reader, writer) = io::pipe().map_err(output_error)?;
    let copy = writer.try_clone().map_err(output_error)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(copy)
        .spawn()
        .map_err(|source| CommandError::Start {
            program: program.clone(),
            source,
        })?;
    // The command still holds the pipe's writing ends; with them open the reader would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut kept = String::new();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(output_error)? == 0 {
            break;
        }
        let text = redacted(&String::from_utf8_lossy(&line)).into_owned();
        // A closed standard output must not stop the build: the exit code still tells.
        if io::stdout().lock().write_all(text.as_bytes()).is_ok() {
            kept.push_str(&text);
        }
        if kept.len() > 2 * KEPT_OUTPUT {
            let cut = kept.floor_char_boundary(kept.len() - KEPT_OUTPUT);
            kept.drain(..cut);
        }
    }
    let status = child.wait().map_err(output_error)?;
    if status.success() {
        return Ok(kept);
    }
    Err(CommandError::Failed {
        program,
        status,
        output: kept,
    })
}

/// Runs a program quietly and returns its standard output; both streams are in the error.
pub(crate) fn capture(command: &mut Command) -> Result<String, CommandError> {
    let program = program_name(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| CommandError::Start {
            program: program.clone(),
            source,
        })?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(stdout.into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(CommandError::Failed {
        program,
        status: output.status,
        output: redacted(&format!("{stdout}{stderr}")).into_owned(),
    })
}

fn program_name(command: &Command) -> String {
    std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_keeps_both_streams_in_order() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; echo three; exit 3"]);
        let error = stream(&mut command).unwrap_err();
        assert_eq!(error.output(), "one\ntwo\nthree\n");
        assert_eq!(error.to_string(), "sh failed (exit status: 3)");
    }

    #[test]
    fn credentials_are_not_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo at https://me:secret@host/simple; exit 1"]);
        let error = stream(&mut command).unwrap_err();
        assert_eq!(error.output(), "at https://****@host/simple\n");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = capture(&mut Command::new("/no/such/program")).unwrap_err();
        assert_eq!(error.to_string(), "could not start program");
    }
}

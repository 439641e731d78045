//! From a Procfile to the processes of an image.

use crate::procfile::Procfile;
use libcnb::data::launch::{Launch, LaunchBuilder, ProcessBuilder, ProcessType, ProcessTypeError};
use std::fmt::Write;

/// The processes for `launch.toml`. The text is an argument, not a part of the command: so a user can give
/// another one to the same process type, as in `docker run IMAGE 'env | sort'`.
pub(crate) fn launch(procfile: &Procfile) -> Result<Launch, ProcessTypeError> {
    let mut launch = LaunchBuilder::new();
    for process in &procfile.processes {
        let process_type: ProcessType = process.name.parse()?;
        launch.process(
            ProcessBuilder::new(process_type, ["bash", "-c"])
                .arg(&process.command)
                .default(procfile.default_process() == Some(&process.name))
                .build(),
        );
    }
    Ok(launch.build())
}

/// What the build prints of them.
pub(crate) fn summary(procfile: &Procfile) -> String {
    let mut text = String::from("[Procfile]\n");
    for process in &procfile.processes {
        let _ = writeln!(text, "{} -> {}", process.name, printable(&process.command));
    }
    match procfile.default_process() {
        Some(name) => {
            let _ = writeln!(text, "Default process: {name}");
        }
        None if procfile.processes.is_empty() => {}
        None => text.push_str("No default process: there are several and none is called web.\n"),
    }
    text
}

/// The text with its control characters escaped, so that a command cannot steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::new();
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::procfile;

    fn summary_of(text: &str) -> String {
        summary(&procfile::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn processes() {
        let procfile = procfile::parse(b"worker: run $A\nweb: serve --port $PORT").unwrap();
        let launch = launch(&procfile).unwrap();
        let processes: Vec<_> = launch
            .processes
            .iter()
            .map(|p| {
                (
                    p.r#type.as_str(),
                    p.command.join(" "),
                    p.args.clone(),
                    p.default,
                )
            })
            .collect();
        insta::assert_debug_snapshot!(processes, @r#"
        [
            (
                "worker",
                "bash -c",
                [
                    "run $A",
                ],
                false,
            ),
            (
                "web",
                "bash -c",
                [
                    "serve --port $PORT",
                ],
                true,
            ),
        ]
        "#);
    }

    #[test]
    fn summaries() {
        insta::assert_snapshot!(summary_of("worker: run $A\nweb: serve --port $PORT"), @r"
        [Procfile]
        worker -> run $A
        web -> serve --port $PORT
        Default process: web
        ");
        insta::assert_snapshot!(summary_of("clock: tick\nworker: run\x1b[31m"), @r"
        [Procfile]
        clock -> tick
        worker -> run\u{1b}[31m
        No default process: there are several and none is called web.
        ");
        insta::assert_snapshot!(summary_of("worker: run"), @r"
        [Procfile]
        worker -> run
        Default process: worker
        ");
        insta::assert_snapshot!(summary_of(""), @"[Procfile]");
    }
}

//! What a command tells while it works: headings, lines, warnings, and progress on a terminal.

use crate::ui::style::Style;
use cnb_phases::log::Level;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Detail {
    /// `--quiet`: the result only.
    Quiet,
    Normal,
    /// `--verbose`.
    Verbose,
}

/// Prints to stdout (results, build output) and stderr (warnings, progress).
#[derive(Debug)]
pub(crate) struct Printer {
    detail: Detail,
    style: Style,
    progress: bool,
}

impl Printer {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            detail,
            style: Style::for_terminal(std::io::stdout().is_terminal()),
            progress: detail != Detail::Quiet && std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.detail == Detail::Quiet
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.detail == Detail::Verbose
    }

    /// The start of a step: `===> Detecting`.
    pub(crate) fn heading(&self, text: &str) {
        if self.detail >= Detail::Normal {
            out(&format!(
                "{} {}\n",
                self.style.cyan("===>"),
                self.style.bold(text)
            ));
        }
    }

    /// A line under a heading.
    pub(crate) fn line(&self, text: &str) {
        if self.detail >= Detail::Normal {
            out(&format!("     {text}\n"));
        }
    }

    /// A line that only `--verbose` shows.
    pub(crate) fn detail(&self, text: &str) {
        if self.detail >= Detail::Verbose {
            out(&format!("     {}\n", self.style.dim(text)));
        }
    }

    /// What a phase of the lifecycle says.
    pub(crate) fn log(&self, level: Level, line: &str) {
        match level {
            Level::Debug | Level::Info => self.detail(line),
            Level::Warn | Level::Error => self.warning(line),
        }
    }

    /// A result: printed whatever the detail.
    #[expect(clippy::unused_self, reason = "a printer is what prints")]
    pub(crate) fn result(&self, text: &str) {
        out(&format!("{text}\n"));
    }

    /// What a process of the app prints, as it comes. `--quiet` leaves stdout to the result.
    pub(crate) fn pass_on(&self, bytes: &[u8]) {
        if self.is_quiet() {
            drop(std::io::stderr().lock().write_all(bytes));
        } else {
            let mut stdout = std::io::stdout().lock();
            drop(stdout.write_all(bytes));
            drop(stdout.flush());
        }
    }

    /// Bytes as they are; `false` when nobody reads them any longer.
    #[expect(clippy::unused_self, reason = "a printer is what prints")]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> bool {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .is_ok()
    }

    /// Why a result is not what was expected: beside it, on stderr.
    #[expect(clippy::unused_self, reason = "a printer is what prints")]
    pub(crate) fn note(&self, text: &str) {
        drop(writeln!(std::io::stderr().lock(), "note: {text}"));
    }

    /// Something the user should know; the command goes on.
    pub(crate) fn warning(&self, text: &str) {
        let line = format!("{} {text}\n", self.style.yellow("warning:"));
        drop(std::io::stderr().lock().write_all(line.as_bytes()));
    }

    /// Asks for a line of input.
    #[expect(clippy::unused_self, reason = "a printer is what prints")]
    pub(crate) fn question(&self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()));
        drop(stderr.flush());
    }

    /// Asks on stderr; only a yes on stdin counts.
    #[expect(clippy::unused_self, reason = "a printer is what asks")]
    pub(crate) fn asks(&self, question: &str) -> bool {
        drop(
            std::io::stderr()
                .lock()
                .write_all(format!("{question} [y/N] ").as_bytes()),
        );
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
    }

    /// A bar of `total` bytes on a terminal; elsewhere an invisible one.
    pub(crate) fn bytes_bar(&self, total: u64, label: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), self.target());
        if let Ok(style) = ProgressStyle::with_template(
            "     {msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}",
        ) {
            bar.set_style(style);
        }
        bar.set_message(label.to_owned());
        bar
    }

    /// A spinner on a terminal; elsewhere nothing.
    pub(crate) fn spinner(&self, label: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(None, self.target());
        if self.progress {
            bar.set_message(label.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        bar
    }

    fn target(&self) -> ProgressDrawTarget {
        if self.progress {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        }
    }
}

/// A closed stdout (`slugc … | head`) must not turn a finished build into a failed one.
fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()));
    drop(stdout.flush());
}

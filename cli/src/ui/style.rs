//! Colours, where a person reads.

use slug_runtime::Colour;

/// Paints text, or leaves it alone: colours appear on terminals only and never with `NO_COLOR`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// `terminal` says whether the stream is one; `NO_COLOR` (any non-empty value) and
    /// `TERM=dumb` switch colours off.
    pub(crate) fn for_terminal(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            colour: terminal && !refused,
        }
    }

    /// For lines of logs, coloured by dyno.
    pub(crate) fn of_logs(self) -> Colour {
        if self.colour {
            Colour::Always
        } else {
            Colour::Never
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

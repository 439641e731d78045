//! Prints a failure: one chain, then what to do.

use crate::failure::Failure;
use crate::ui::style::Style;
use std::error::Error;
use std::io::{IsTerminal, Write};

/// Prints `error: what: why: deeper why` and, on a line of its own, the next step, to stderr.
pub(crate) fn print(failure: &Failure) {
    let style = Style::for_terminal(std::io::stderr().is_terminal());
    let text = format!("{} {}\n", style.red("error:"), chain(failure));
    let mut stderr = std::io::stderr().lock();
    // Nobody is left to tell when stderr itself is gone.
    drop(stderr.write_all(text.as_bytes()));
    if let Some(hint) = failure.next_step() {
        drop(writeln!(stderr, "{} {hint}", style.bold("  next:")));
    }
}

/// The error and its sources, joined by colons; a source that only repeats its parent is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !message.is_empty() && !text.ends_with(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn the_chain_is_joined_once() {
        let inner = std::io::Error::other("disk on fire");
        let failure = Failure::new(Exit::Store, "cannot write a.json").because(inner);
        assert_eq!(chain(&failure), "cannot write a.json: disk on fire");
    }

    #[test]
    fn a_source_that_repeats_its_parent_is_not_printed_twice() {
        let failure = Failure::new(Exit::Store, "disk on fire")
            .because(std::io::Error::other("disk on fire"));
        assert_eq!(chain(&failure), "disk on fire");
    }
}

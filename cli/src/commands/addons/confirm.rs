//! Asking before something is lost.

use crate::failure::{Exit, Failure, OrFail};
use crate::ui::printer::Printer;
use std::io::{BufRead, IsTerminal};

/// Goes on only if `given` is the app's name, or the user types it when asked on a terminal.
/// `command` is what to type instead, without the confirmation.
pub(crate) fn confirm(
    printer: &Printer,
    app: &str,
    given: Option<&str>,
    danger: &str,
    command: &str,
) -> Result<(), Failure> {
    let refused = |message: String| {
        Failure::new(Exit::Usage, message).hint(format!("slugc {command} -a {app} --confirm {app}"))
    };
    let typed = match given {
        Some(given) => given.to_owned(),
        None if std::io::stdin().is_terminal() => {
            printer.warning(danger);
            printer.question(&format!("To go on, type {app}: "));
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .read_line(&mut line)
                .or_fail(Exit::General, || "cannot read the answer".to_owned())?;
            line.trim().to_owned()
        }
        None => return Err(refused(format!("{danger}; this has to be confirmed"))),
    };
    if typed == app {
        Ok(())
    } else {
        Err(refused(format!(
            "{typed:?} does not confirm it: the app's name is {app}"
        )))
    }
}

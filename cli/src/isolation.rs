//! What the user is told where the machine allows a weaker sandbox only.

use crate::failure::{Exit, Failure};
use crate::ui::printer::Printer;
use sandbox::Tier;
use std::sync::Once;

/// Says once per command what is weaker and what would make it stronger; nothing where namespaces work.
pub(crate) fn warn_if_weak(printer: &Printer) {
    static TOLD: Once = Once::new();
    if sandbox::tier() == Tier::Chroot {
        TOLD.call_once(|| printer.warning(&text(&sandbox::probe().refusals)));
    }
}

/// For what the weaker sandbox cannot do.
pub(crate) fn require_namespaces(what: &str) -> Result<(), Failure> {
    let probe = sandbox::probe();
    if probe.tier.has_namespaces() {
        return Ok(());
    }
    let message = format!("{what} namespaces, which this machine forbids");
    let advice = probe.refusals.iter().find_map(|it| it.advice.as_deref());
    Err(Failure::new(Exit::Sandbox, message)
        .hint(advice.unwrap_or("run slugc where user namespaces are allowed")))
}

fn text(refusals: &[sandbox::Refusal]) -> String {
    let mut text = String::from(
        "this machine forbids namespaces, so the sandbox is a weaker one: files of the machine stay \
         hidden, but process ids, IPC and the host name are the machine's, and there is no /proc",
    );
    // The first is about the strongest kind, which whoever may start containers can allow.
    if let Some(advice) = refusals.iter().find_map(|it| it.advice.as_ref()) {
        text.push_str("; for the full one, ");
        text.push_str(advice);
    }
    text
}

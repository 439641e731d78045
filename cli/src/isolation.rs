//! What the user is told where the machine allows a weaker sandbox only.

use crate::failure::{Exit, Failure};
use crate::ui::printer::Printer;
use sandbox::{Probe, Tier};
use std::sync::Once;

/// Says once per command what is weaker and what would make it stronger; nothing where namespaces work.
pub(crate) fn warn_if_weak(printer: &Printer) {
    static TOLD: Once = Once::new();
    let weaker = match sandbox::tier() {
        Tier::Chroot => "and there is no /proc",
        Tier::Traced => "and whatever names a file takes longer",
        Tier::Root | Tier::UserNamespace | Tier::Landlock => return,
    };
    TOLD.call_once(|| printer.warning(&text(weaker, sandbox::probe())));
}

/// For what the weaker sandbox cannot do.
pub(crate) fn require_namespaces(what: &str) -> Result<(), Failure> {
    let probe = sandbox::probe();
    if probe.tier.has_namespaces() {
        return Ok(());
    }
    let message = format!("{what} namespaces, which this machine forbids");
    Err(Failure::new(Exit::Sandbox, message)
        .hint(advice(probe).unwrap_or("run slugc where user namespaces are allowed")))
}

/// What would allow the strongest kind that this user can hope for. Whoever may start containers can
/// allow root its own; a plain user is better off with user namespaces than as root.
fn advice(probe: &Probe) -> Option<&str> {
    let of = |tier| {
        let mut refusals = probe.refusals.iter();
        refusals.find(|it| it.tier == tier)?.advice.as_deref()
    };
    match probe.tier {
        Tier::Chroot => of(Tier::Root).or(of(Tier::UserNamespace)),
        _ => of(Tier::UserNamespace).or(of(Tier::Root)),
    }
}

fn text(weaker: &str, probe: &Probe) -> String {
    let mut text = format!(
        "this machine forbids namespaces, so the sandbox is a weaker one: files of the machine stay \
         hidden, but process ids, IPC and the host name are the machine's, {weaker}"
    );
    if let Some(advice) = advice(probe) {
        text.push_str("; for the full one, ");
        text.push_str(advice);
    }
    text
}

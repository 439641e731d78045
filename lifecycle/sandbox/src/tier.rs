//! Which kind of sandbox this process can make, found out by trying.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;

use crate::spec::{Root, Sandbox, Tier, Writable};
use crate::{chroot, spawn, traced};

/// What was found out by trying.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The strongest tier that works.
    pub tier: Tier,
    /// The stronger ones, and why they do not.
    pub refusals: Vec<Refusal>,
}

/// Why a tier does not work here.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Which one.
    pub tier: Tier,
    /// What failed and how.
    pub reason: String,
    /// What would allow it, where that is known.
    pub advice: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tier, self.reason)?;
        match &self.advice {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// The strongest tier that works for this process; tried once.
pub fn tier() -> Tier {
    probe().tier
}

/// The strongest tier that works for this process, and why no stronger one does; tried once.
///
/// [`Tier::Traced`] is tried where [`crate::trace_if_called`] was called.
/// [`Tier::Landlock`] is what remains when everything else is refused; [`crate::spawn()`] then says whether
/// the kernel has Landlock.
pub fn probe() -> &'static Probe {
    static PROBE: OnceLock<Probe> = OnceLock::new();
    PROBE.get_or_init(|| {
        let mut refusals = Vec::new();
        for tier in [Tier::Root, Tier::UserNamespace, Tier::Chroot, Tier::Traced] {
            match attempt(tier) {
                Ok(()) => return Probe { tier, refusals },
                Err(refusal) => refusals.push(refusal),
            }
        }
        Probe {
            tier: Tier::Landlock,
            refusals,
        }
    })
}

/// The host's ids for inside ids: what must own a directory for the program to write there.
pub fn host_ids(uid: u32, gid: u32) -> (u32, u32) {
    let own = (rustix::process::geteuid(), rustix::process::getegid());
    match tier() {
        Tier::Root | Tier::Chroot => (uid, gid),
        Tier::Landlock if own.0.is_root() => (uid, gid),
        Tier::UserNamespace | Tier::Traced | Tier::Landlock => (own.0.as_raw(), own.1.as_raw()),
    }
}

/// All refusals in one line.
pub(crate) fn explain(refusals: &[Refusal]) -> String {
    refusals
        .iter()
        .map(Refusal::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn attempt(tier: Tier) -> Result<(), Refusal> {
    if tier.keeps_ids() && !rustix::process::geteuid().is_root() {
        let advice =
            (tier == Tier::Root).then(|| String::from("run as root, or rely on user namespaces"));
        return Err(Refusal {
            tier,
            reason: String::from("the caller is not root"),
            advice,
        });
    }
    if tier == Tier::Traced {
        return traced::attempt().map_err(|reason| Refusal {
            tier,
            reason,
            advice: None,
        });
    }
    let root = Root {
        lower: vec!["/".into()],
        writable: Writable::ReadOnly,
    };
    let sandbox = Sandbox::new(root, vec!["/bin/true".into()]);
    if tier == Tier::Chroot {
        chroot::require_capabilities().map_err(|reason| Refusal {
            tier,
            reason,
            advice: None,
        })?;
    }
    spawn::rehearse(&sandbox, tier).map_err(|error| {
        let source = std::error::Error::source(&error);
        let reason =
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        Refusal {
            tier,
            reason,
            advice: advice(tier),
        }
    })
}

/// The usual suspects, in the order of how often they are the cause.
fn advice(tier: Tier) -> Option<String> {
    let setting = |path| {
        fs::read_to_string(path)
            .ok()
            .map(|value| value.trim().to_owned())
    };
    let container = is_filtered();
    if tier == Tier::Chroot {
        return None;
    }
    if tier == Tier::Root {
        return container.then(|| {
            String::from("start the container with --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined, or --privileged")
        });
    }
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return Some(String::from(
            "allow them for slugc in AppArmor (a profile with `userns,`), or for all: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ));
    }
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return Some(String::from(
            "switch them on: sudo sysctl user.max_user_namespaces=15000",
        ));
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return Some(String::from(
            "switch them on: sudo sysctl kernel.unprivileged_userns_clone=1",
        ));
    }
    container.then(|| {
        String::from("start the container, whose seccomp filter refuses them, with --security-opt seccomp=unconfined, or in Kubernetes with hostUsers: false")
    })
}

fn is_filtered() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status.lines().any(|line| {
            line.strip_prefix("Seccomp:")
                .is_some_and(|mode| mode.trim() == "2")
        })
    })
}

/// Where this process' command line and its first environment lie in memory; empty if the kernel does not say.
pub(crate) fn caller_strings() -> [Range<usize>; 2] {
    static STRINGS: OnceLock<[Range<usize>; 2]> = OnceLock::new();
    STRINGS
        .get_or_init(|| read_caller_strings().unwrap_or([0..0, 0..0]))
        .clone()
}

/// proc(5), `/proc/pid/stat`: `arg_start`, `arg_end`, `env_start`, `env_end` are fields 48 to 51; the
/// name in field 2 may itself contain blanks and parentheses.
fn read_caller_strings() -> io::Result<[Range<usize>; 2]> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let (_, rest) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let mut fields = rest
        .split_ascii_whitespace()
        .skip(48 - 3)
        .map(str::parse::<usize>);
    let mut next = || fields.next().and_then(Result::ok).ok_or_else(malformed);
    Ok([next()?..next()?, next()?..next()?])
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_strongest_tier_is_not_among_the_refused() {
        let probe = probe();
        assert!(
            probe
                .refusals
                .iter()
                .all(|refusal| refusal.tier != probe.tier)
        );
        assert_eq!(tier(), probe.tier);
    }

    #[test]
    fn caller_strings_hold_the_command_line() {
        let [arguments, environment] = read_caller_strings().unwrap();
        let expected = fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(arguments.len(), expected.len());
        // SAFETY: the range is this process' own, and nothing writes to it.
        let found =
            unsafe { std::slice::from_raw_parts(arguments.start as *const u8, arguments.len()) };
        assert_eq!(found, expected);
        assert!(environment.len() >= fs::read("/proc/self/environ").unwrap().len());
    }
}

//! The port of the web dyno, and who listens where.

use crate::process_tree::{ProcessTree, processes};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::time::Duration;

/// The port that is used when none is asked for.
pub const DEFAULT_PORT: u16 = 5000;

/// How many ports after the default one are tried.
const FURTHER_PORTS: u16 = 100;

/// Which port the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// This one and no other; 0 lets the kernel choose a free one.
    Exact(u16),
    /// This one, or the next free one after it.
    From(u16),
}

impl Default for PortChoice {
    fn default() -> Self {
        Self::From(DEFAULT_PORT)
    }
}

/// Sockets on a port that was chosen.
#[derive(Debug)]
pub(crate) struct Listening {
    /// On the loopback addresses that this machine has.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) number: u16,
    /// The port that was wanted but taken, and by whom.
    pub(crate) instead_of: Option<(u16, Holder)>,
}

/// Who listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    Process {
        pid: u32,
        /// Its command line, the words separated by blanks.
        command: String,
    },
    /// A process of another user or in another container.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, command } => write!(f, "process {pid} ({command})"),
            Self::Unknown => f.write_str("a process that this user cannot see"),
        }
    }
}

/// Why there is no port for the web dyno.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("port {port} is taken by {holder}: stop it, or choose another port with --port")]
    Taken { port: u16, holder: Holder },
    #[error("ports {first} to {last} are all taken: choose another one with --port")]
    AllTaken { first: u16, last: u16 },
    #[error("this user may not listen on port {port}: choose a port above 1023 with --port")]
    Forbidden { port: u16, source: io::Error },
    #[error("cannot try whether port {port} is free")]
    Try { port: u16, source: io::Error },
}

/// Listens on the loopback addresses, on a port on which nothing else listens on any address.
pub(crate) fn listen(choice: PortChoice) -> Result<Listening, PortError> {
    match choice {
        PortChoice::Exact(port) => match bind(port)? {
            Some((listeners, number)) => Ok(Listening {
                listeners,
                number,
                instead_of: None,
            }),
            None => Err(PortError::Taken {
                port,
                holder: holder(port),
            }),
        },
        PortChoice::From(first) => {
            let last = first.saturating_add(FURTHER_PORTS);
            for port in first..=last {
                if let Some((listeners, number)) = bind(port)? {
                    let instead_of = (port != first).then(|| (first, holder(first)));
                    return Ok(Listening {
                        listeners,
                        number,
                        instead_of,
                    });
                }
            }
            Err(PortError::AllTaken { first, last })
        }
    }
}

/// Sockets on the port, or nothing when it is taken.
fn bind(port: u16) -> Result<Option<(Vec<TcpListener>, u16)>, PortError> {
    let Some(number) = attempt(port)? else {
        return Ok(None);
    };
    let first = match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
        Ok(listener) => listener,
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(None),
        Err(source) => return Err(PortError::Try { port, source }),
    };
    // Where there is no IPv6, nobody asks for it.
    let second = TcpListener::bind((Ipv6Addr::LOCALHOST, number));
    Ok(Some((
        std::iter::once(first).chain(second).collect(),
        number,
    )))
}

/// Makes sure that nothing listens on the port, on any address.
pub(crate) fn require_free(port: u16) -> Result<(), PortError> {
    match attempt(port)? {
        Some(_) => Ok(()),
        None => Err(PortError::Taken {
            port,
            holder: holder(port),
        }),
    }
}

/// Where web dynos listen: below the ports that Linux gives to outgoing connections (ip-sysctl,
/// `ip_local_port_range`), any of which may take a port between its choice and its use.
const DYNO_PORTS: Range<u16> = 20_000..32_000;

/// A port for a web dyno, on which nothing listens and which is not among `taken`.
pub(crate) fn for_dyno(taken: &BTreeSet<u16>) -> Result<u16, PortError> {
    let mut bytes = [0_u8; 2];
    // Supervisors that start at the same time should not try the same ports.
    let _ = getrandom(&mut bytes, GetRandomFlags::NONBLOCK);
    let count = DYNO_PORTS.end - DYNO_PORTS.start;
    let begin = u16::from_le_bytes(bytes) % count;
    for step in 0..count {
        let port = DYNO_PORTS.start + (begin + step) % count;
        if !taken.contains(&port) && attempt(port)?.is_some() {
            return Ok(port);
        }
    }
    Err(PortError::AllTaken {
        first: DYNO_PORTS.start,
        last: DYNO_PORTS.end - 1,
    })
}

/// Whether something on this machine's loopback accepts connections on the port.
pub(crate) fn accepts(port: u16) -> bool {
    // Loopback answers at once, unless a listener's backlog is full: then it does not serve either.
    let patience = Duration::from_millis(50);
    [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ]
    .iter()
    .any(|address| TcpStream::connect_timeout(address, patience).is_ok())
}

/// The TCP ports on which a process or its descendants listen.
pub(crate) fn ports_of(ancestor: u32) -> BTreeSet<u16> {
    let listeners = listeners();
    let mut ports = BTreeSet::new();
    for pid in ProcessTree::now().family(ancestor) {
        for inode in sockets_of(pid) {
            ports.extend(listeners.get(&inode));
        }
    }
    ports
}

/// The port's number when nothing listens on it.
fn attempt(port: u16) -> Result<Option<u16>, PortError> {
    let classify = |source: io::Error| match source.kind() {
        ErrorKind::AddrInUse => Ok(None),
        ErrorKind::PermissionDenied => Err(PortError::Forbidden { port, source }),
        _ => Err(PortError::Try { port, source }),
    };
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(error) => return classify(error),
    };
    let number = match listener.local_addr() {
        Ok(address) => address.port(),
        Err(error) => return classify(error),
    };
    drop(listener);
    // Something on [::1] alone would get the requests of browsers that resolve localhost to it.
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, number)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        // Everything else says that there is no IPv6 here.
        _ => Ok(Some(number)),
    }
}

fn holder(port: u16) -> Holder {
    let inodes: BTreeSet<u64> = listeners()
        .into_iter()
        .filter_map(|(inode, listening)| (listening == port).then_some(inode))
        .collect();
    processes()
        .find(|pid| sockets_of(*pid).any(|inode| inodes.contains(&inode)))
        .map_or(Holder::Unknown, |pid| Holder::Process {
            pid,
            command: command_line(pid),
        })
}

/// Listening sockets by inode, of this process's network namespace.
fn listeners() -> BTreeMap<u64, u16> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table))
        .collect()
}

/// Reads a table of the form that `proc_net_tcp.rst` (Linux documentation) describes.
fn listening_sockets(table: &str) -> Vec<(u64, u16)> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (_, port) = fields.get(1)?.rsplit_once(':')?;
            if *fields.get(3)? != LISTEN {
                return None;
            }
            let inode = fields.get(9)?.parse().ok()?;
            Some((inode, u16::from_str_radix(port, 16).ok()?))
        })
        .collect()
}

/// Inodes of a process's sockets; none where this user may not look.
fn sockets_of(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
}

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    // Enough to recognize the program; arguments further on may be secrets.
    let shown: String = words.join(" ").chars().take(60).collect();
    if shown.is_empty() {
        return "which hides its command".to_owned();
    }
    shown
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        for address in [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ] {
            let Ok(listener) = TcpListener::bind(address) else {
                println!("skipped: no {address} here");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let error = listen(PortChoice::Exact(port)).unwrap_err();
            let PortError::Taken { holder, .. } = &error else {
                panic!("{error}");
            };
            assert!(
                matches!(holder, Holder::Process { pid, .. } if *pid == std::process::id()),
                "{address}: {error}"
            );
            assert!(accepts(port));
            assert!(ports_of(std::process::id()).contains(&port));
        }
    }

    #[test]
    fn the_default_moves_on_and_says_why() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap().port();
        if taken > u16::MAX - 50 {
            println!("skipped: no room above port {taken}");
            return;
        }
        let chosen = listen(PortChoice::From(taken)).unwrap();
        assert!(chosen.number > taken);
        assert!(matches!(chosen.instead_of, Some((port, _)) if port == taken));
    }

    #[test]
    fn zero_lets_the_kernel_choose() {
        let chosen = listen(PortChoice::Exact(0)).unwrap();
        assert_ne!(chosen.number, 0);
        assert!(accepts(chosen.number));
    }

    #[test]
    fn tables_of_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000 100\n   \
             1: 0100007F:1388 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0000 100\n";
        assert_eq!(listening_sockets(table), [(4242, 5000)]);
        assert!(listening_sockets("").is_empty());
    }
}

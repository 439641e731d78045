//! Redis: append-only file, a password, on 127.0.0.1 alone.

use super::record::Addon;
use super::server::Kind;
use sandbox::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

pub(super) const KIND: Kind = Kind {
    setup: SETUP,
    argv,
    answers,
    // As SHUTDOWN: the append-only file is complete and a snapshot is saved.
    stop: Signal::TERM,
    patience: Duration::from_mins(5),
};

/// What is answered with OK was written to the append-only file before: it survives a SIGKILL of
/// everything. `everysec` is about power cuts.
const SETUP: &str = r"
umask 077
cat > /srv/redis.conf <<END
bind 127.0.0.1
dir /srv
appendonly yes
appendfsync everysec
requirepass $ADDON_PASSWORD
END
";

fn argv(addon: &Addon) -> Vec<String> {
    [
        "redis-server",
        "/srv/redis.conf",
        "--port",
        &addon.port.to_string(),
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Whether it answers PING: while it loads its data it says `-LOADING`.
fn answers(addon: &Addon) -> bool {
    ask(addon).is_ok_and(|answer| answer.ends_with("+PONG\r\n"))
}

fn ask(addon: &Addon) -> std::io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, addon.port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let commands = format!("AUTH {}\r\nPING\r\nQUIT\r\n", addon.password);
    stream.write_all(commands.as_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    // QUIT is answered with OK, too.
    Ok(answer.strip_suffix("+OK\r\n").unwrap_or(&answer).to_owned())
}

//! `PostgreSQL`: set up with TLS and SCRAM passwords, on 127.0.0.1 alone.

use super::record::Addon;
use super::server::{DATA, Kind};
use sandbox::Signal;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

pub(super) const KIND: Kind = Kind {
    setup: SETUP,
    argv,
    answers,
    // "Fast shutdown": transactions are rolled back, clients sent away, everything is on disk.
    stop: Signal::INT,
    patience: Duration::from_mins(5),
};

/// The certificate signs itself: `sslmode=require` asks for encryption, not for a name.
///
/// The app's role owns the server: on Heroku it may create the extensions that Heroku allows, here
/// all of contrib.
const SETUP: &str = r#"
umask 077
printf %s "$ADDON_PASSWORD" > /tmp/password
initdb -D /srv -U "$ADDON_USER" --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 \
    --locale-provider=builtin --locale=C.UTF-8 --no-sync --no-instructions
openssl req -new -x509 -days 3650 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout /srv/server.key -out /srv/server.crt
cat >> /srv/postgresql.conf <<'END'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
max_connections = 120
recovery_init_sync_method = syncfs
shared_preload_libraries = 'pg_stat_statements'
END
echo "CREATE DATABASE $ADDON_DATABASE" | postgres --single -D /srv postgres
"#;

fn argv(addon: &Addon) -> Vec<String> {
    ["postgres", "-D", DATA, "-p", &addon.port.to_string()]
        .map(str::to_owned)
        .to_vec()
}

/// Whether the server asks for a password: until it has recovered it answers with an error instead
/// (`PostgreSQL` documentation, "Message Formats", `StartupMessage`).
fn answers(addon: &Addon) -> bool {
    ask(addon).is_ok_and(|answer| answer == b'R')
}

fn ask(addon: &Addon) -> std::io::Result<u8> {
    const VERSION_3: u32 = 3 << 16;
    let mut body = VERSION_3.to_be_bytes().to_vec();
    for text in ["user", &addon.user, "database", &addon.database, ""] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    let length = u32::try_from(body.len() + 4).unwrap_or(0);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, addon.port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat())?;
    // All of it: closed with something unread, the connection would be a broken one in the server's log.
    let mut answer = [0; 1024];
    match stream.read(&mut answer)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(answer[0]),
    }
}

//! A Debian mirror that lies: it stands between slugc and the mirror that this machine's apt uses.

use crate::http::FileServer;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What the mirror does to what it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// A word of every `InRelease` is another, its signature is the old one.
    AlteredRelease,
    /// Every `InRelease` comes without its signature.
    UnsignedRelease,
    /// A byte in the middle of every package is another.
    AlteredPackages,
    /// Every package ends in the middle, and its length says so.
    TruncatedPackages,
    /// There is nothing at all.
    Empty,
}

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub struct LyingMirror {
    server: FileServer,
    path: String,
}

impl LyingMirror {
    /// Starts one; `None` where the machine's apt has no mirror over plain HTTP.
    pub fn start(lie: Lie) -> Option<Self> {
        let upstream = upstream()?;
        let host = upstream.host.clone();
        let server = FileServer::answering(Arc::new(move |path: &str| tell(lie, &host, path)));
        Some(Self {
            server,
            path: upstream.path,
        })
    }

    /// What to give to `--mirror`.
    pub fn url(&self) -> String {
        self.server.url() + &self.path
    }
}

/// A mirror of the machine's apt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// `host` or `host:port`
    host: String,
    /// `/debian`
    path: String,
}

/// The first plain-HTTP Debian mirror among apt's sources.
pub(crate) fn upstream() -> Option<Upstream> {
    if std::env::var_os("http_proxy").is_some() || std::env::var_os("HTTP_PROXY").is_some() {
        return None;
    }
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| first_mirror(&text))
}

/// Finds the first `http://…/debian` in either of apt's formats.
fn first_mirror(text: &str) -> Option<Upstream> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.strip_prefix("http://"))
        .map(|rest| rest.trim_end_matches('/'))
        .filter_map(|rest| rest.split_once('/'))
        .find(|(_, path)| *path == "debian" || path.ends_with("/debian"))
        .map(|(host, path)| Upstream {
            host: host.to_owned(),
            path: format!("/{path}"),
        })
}

fn tell(lie: Lie, host: &str, path: &str) -> Option<Vec<u8>> {
    if lie == Lie::Empty {
        return None;
    }
    let mut body = fetch(host, path)?;
    let extension = Path::new(path)
        .extension()
        .and_then(|extension| extension.to_str());
    match (lie, extension) {
        (Lie::AlteredPackages, Some("deb")) => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        (Lie::TruncatedPackages, Some("deb")) => body.truncate(body.len() / 2),
        (Lie::AlteredRelease, None) if path.ends_with("/InRelease") => {
            body = String::from_utf8_lossy(&body)
                .replace("Origin: Debian", "Origin: Nobody")
                .into_bytes();
        }
        (Lie::UnsignedRelease, None) if path.ends_with("/InRelease") => {
            let text = String::from_utf8_lossy(&body);
            let signed = text.split_once("\n\n").map_or("", |(_, rest)| rest);
            let end = signed
                .find("-----BEGIN PGP SIGNATURE")
                .unwrap_or(signed.len());
            body = signed.as_bytes()[..end].to_vec();
        }
        _ => {}
    }
    Some(body)
}

/// Passes a request on; the real mirror closes the connection after its answer.
fn fetch(host: &str, path: &str) -> Option<Vec<u8>> {
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_mins(1))).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: slugc-tests\r\n\r\n"
    )
    .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let ok = bytes
        .split(|byte| *byte == b'\r')
        .next()?
        .windows(5)
        .any(|word| word == b" 200 ");
    ok.then(|| bytes.split_off(end + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_apt_are_read() {
        let found = Some(Upstream {
            host: "mirror.test:8080".to_owned(),
            path: "/pub/debian".to_owned(),
        });
        let old = "# deb http://other.test/debian a\ndeb [arch=amd64] http://mirror.test:8080/pub/debian/ trixie main\n";
        let new = "Types: deb\nURIs: http://mirror.test:8080/pub/debian\nSuites: trixie\n";
        assert_eq!(first_mirror(old), found);
        assert_eq!(first_mirror(new), found);
        assert_eq!(
            first_mirror("URIs: https://mirror.test/debian\nURIs: http://a.test/debian-security\n"),
            None
        );
    }
}

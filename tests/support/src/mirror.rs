//! A Debian mirror that lies: it stands between slugc and the mirror that this machine's apt uses.

use crate::http::FileServer;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    lie: Arc<Mutex<Option<Lie>>>,
}

impl LyingMirror {
    /// Starts one; `None` where no mirror is known among apt's sources.
    pub fn start(lie: Lie) -> Option<Self> {
        let mirror = Self::honest()?;
        mirror.tell(lie);
        Some(mirror)
    }

    /// Starts one that passes on what there is until it is made to lie.
    pub fn honest() -> Option<Self> {
        let lie = Arc::default();
        let told = Arc::clone(&lie);
        let Upstream { origin, path } = upstream()?;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_mins(2)))
            .build()
            .into();
        let server = FileServer::answering(Arc::new(move |path: &str| {
            let fetch = |path: &str| fetch(&agent, &format!("{origin}{path}"));
            let lie = *locked(&told);
            match lie {
                Some(lie) => tell(lie, path, fetch),
                None => fetch(path),
            }
        }));
        Some(Self { server, path, lie })
    }

    /// Has it lie from now on.
    pub fn tell(&self, lie: Lie) {
        *locked(&self.lie) = Some(lie);
    }

    /// What to give to `--mirror`.
    pub fn url(&self) -> String {
        self.server.url() + &self.path
    }
}

fn locked(lie: &Mutex<Option<Lie>>) -> MutexGuard<'_, Option<Lie>> {
    lie.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of the Debian mirror that the machine's apt uses, if it uses one.
pub fn apt_mirror() -> Option<String> {
    let Upstream { origin, path } = upstream()?;
    Some(origin + &path)
}

/// A mirror of the machine's apt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// `http://host:port`
    origin: String,
    /// `/debian`
    path: String,
}

/// The first Debian mirror among apt's sources.
pub(crate) fn upstream() -> Option<Upstream> {
    let mut files = vec![Path::new("/etc/apt/sources.list").to_owned()];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| first_mirror(&text))
}

/// Finds the first `http(s)://…/debian` in either of apt's formats.
fn first_mirror(text: &str) -> Option<Upstream> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .find_map(|word| {
            let (scheme, rest) = word.trim_end_matches('/').split_once("://")?;
            let (host, path) = rest.split_once('/')?;
            let known = matches!(scheme, "http" | "https");
            (known && (path == "debian" || path.ends_with("/debian"))).then(|| Upstream {
                origin: format!("{scheme}://{host}"),
                path: format!("/{path}"),
            })
        })
}

fn tell(lie: Lie, path: &str, fetch: impl Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    if lie == Lie::Empty {
        return None;
    }
    let mut body = fetch(path)?;
    let is_release = path.ends_with("/InRelease");
    let is_package = Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "deb");
    match lie {
        Lie::AlteredPackages if is_package => {
            let middle = body.len() / 2;
            body[middle] ^= 1;
        }
        Lie::TruncatedPackages if is_package => body.truncate(body.len() / 2),
        Lie::AlteredRelease if is_release => {
            body = String::from_utf8_lossy(&body)
                .replace("Origin: Debian", "Origin: Nobody")
                .into_bytes();
        }
        Lie::UnsignedRelease if is_release => {
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

fn fetch(agent: &ureq::Agent, url: &str) -> Option<Vec<u8>> {
    let mut response = agent.get(url).call().ok()?;
    let body = response.body_mut().with_config().limit(1 << 30);
    body.read_to_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_apt_are_read() {
        let found = Some(Upstream {
            origin: "http://mirror.test:8080".to_owned(),
            path: "/pub/debian".to_owned(),
        });
        let old = "# deb http://other.test/debian a\n\
                   deb [arch=amd64] http://mirror.test:8080/pub/debian/ trixie main\n";
        let new = "Types: deb\nURIs: http://mirror.test:8080/pub/debian\nSuites: trixie\n";
        assert_eq!(first_mirror(old), found);
        assert_eq!(first_mirror(new), found);
        assert_eq!(
            first_mirror("URIs: ftp://mirror.test/debian http://a.test/debian-security\n"),
            None
        );
    }

    #[test]
    fn lies_touch_what_they_are_about() {
        let release =
            b"-----BEGIN\nHash: SHA256\n\nOrigin: Debian\n-----BEGIN PGP SIGNATURE-----\nx\n";
        let told =
            |lie, path: &str| tell(lie, path, |_| Some(release.to_vec())).unwrap_or_default();
        assert_eq!(
            told(Lie::UnsignedRelease, "/debian/dists/x/InRelease"),
            b"Origin: Debian\n"
        );
        assert_ne!(
            told(Lie::AlteredRelease, "/debian/dists/x/InRelease"),
            release
        );
        assert_eq!(told(Lie::AlteredRelease, "/debian/pool/a.deb"), release);
        assert_ne!(told(Lie::AlteredPackages, "/debian/pool/a.deb"), release);
        assert_eq!(
            told(Lie::TruncatedPackages, "/debian/pool/a.deb").len(),
            release.len() / 2
        );
        assert_eq!(tell(Lie::Empty, "/", |_| Some(vec![1])), None);
    }
}

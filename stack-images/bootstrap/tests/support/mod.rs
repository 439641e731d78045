//! An archive of Debian's kind on a loopback port, which may misbehave.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by tests, each of which uses a part"
)]

pub(crate) mod deb;
pub(crate) mod key;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use oci_image::Digest;

use key::{BORN, Key};

/// The time the tests take place.
pub(crate) const NOW: i64 = BORN as i64 + 86_400;

/// What the server does with a request, instead of answering it rightly.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mischief {
    /// Answers with this status and `Retry-After: 0`.
    Status(u16),
    /// Sends this many bytes of what it announced, then hangs up.
    DropAfter(usize),
    /// Sends other bytes of the same length.
    Lie,
    /// Sends all from the beginning although a part was asked for.
    IgnoreRange,
}

/// A running server.
pub(crate) struct Mirror {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    mischief: HashMap<String, VecDeque<Mischief>>,
    requests: Vec<(String, Option<String>)>,
}

impl Mirror {
    pub(crate) fn start(files: HashMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                // A client that hangs up is no failure of the test.
                std::thread::spawn(move || answer(&stream, &state).ok());
            }
        });
        Self { address, state }
    }

    /// Makes the next requests for a path go wrong, one mischief each.
    pub(crate) fn misbehave(&self, path: &str, mischief: &[Mischief]) {
        let mut state = self.state.lock().unwrap();
        state
            .mischief
            .insert(path.to_owned(), mischief.iter().copied().collect());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path).unwrap();
    }

    pub(crate) fn put(&self, path: &str, content: Vec<u8>) {
        self.state
            .lock()
            .unwrap()
            .files
            .insert(path.to_owned(), content);
    }

    /// The `Range` headers of all requests for a path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Option<String>> {
        let state = self.state.lock().unwrap();
        let requests = state
            .requests
            .iter()
            .filter(|(requested, _)| requested == path);
        requests.map(|(_, range)| range.clone()).collect()
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)??;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(value.trim().to_owned());
        }
    }
    let (content, mischief) = {
        let mut state = state.lock().unwrap();
        state.requests.push((path.clone(), range.clone()));
        let mischief = state.mischief.get_mut(&path).and_then(VecDeque::pop_front);
        (state.files.get(&path).cloned(), mischief)
    };
    let refuse = |status: u16| {
        format!(
            "HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let Some(mut content) = content else {
        return stream.write_all(refuse(404).as_bytes());
    };
    if let Some(Mischief::Status(status)) = mischief {
        return stream.write_all(refuse(status).as_bytes());
    }
    if let Some(Mischief::Lie) = mischief {
        for byte in &mut content {
            *byte ^= 1;
        }
    }
    let from = match (range, mischief) {
        (Some(_), Some(Mischief::IgnoreRange)) | (None, _) => 0,
        (Some(range), _) => range
            .trim_start_matches("bytes=")
            .trim_end_matches('-')
            .parse()
            .unwrap(),
    };
    let status = if from > 0 {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    let body = &content[from..];
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    match mischief {
        Some(Mischief::DropAfter(count)) => stream.write_all(&body[..count]),
        _ => stream.write_all(body),
    }
}

/// A package of the archive: its control fields beside name, version and architecture, and its files.
pub(crate) struct Package<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
    pub(crate) fields: &'a str,
    pub(crate) control: &'a [deb::File<'a>],
    pub(crate) data: &'a [deb::File<'a>],
}

/// Where a package is in the archive.
pub(crate) fn pool(name: &str, version: &str) -> String {
    format!("pool/main/{name}_{version}_all.deb")
}

/// A suite named `test` with these packages, signed by the key, by path under the base `/debian`.
pub(crate) fn archive(
    key: &Key,
    packages: &[Package<'_>],
    valid_until: &str,
) -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    let mut index = String::new();
    for package in packages {
        let Package {
            name,
            version,
            fields,
            control,
            data,
        } = package;
        let own = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody\nDescription: test\n{fields}"
        );
        let mut parts = control.to_vec();
        parts.push(("control", 0o644, &own));
        let bytes = deb::deb(
            &parts,
            deb::compress("data.tar.xz", &deb::tar(data)),
            "data.tar.xz",
        );
        let path = pool(name, version);
        let digest = Digest::of(&bytes).hex();
        let size = bytes.len();
        write!(
            index,
            "{own}Filename: {path}
Size: {size}
SHA256: {digest}

"
        )
        .unwrap();
        files.insert(format!("/debian/{path}"), bytes);
    }
    let index = deb::compress("Packages.tar.xz", index.as_bytes());
    let digest = Digest::of(&index).hex();
    let release = format!(
        "Suite: test\nCodename: test\nDate: Thu, 01 Jan 2026 06:00:00 UTC\n{valid_until}Acquire-By-Hash: yes\n\
         SHA256:\n {digest} {} main/binary-amd64/Packages.xz\n",
        index.len()
    );
    let by_hash = format!("/debian/dists/test/main/binary-amd64/by-hash/SHA256/{digest}");
    files.insert(by_hash, index);
    files.insert(
        "/debian/dists/test/InRelease".to_owned(),
        key.sign(&release, BORN + 10, None).into_bytes(),
    );
    files
}

/// Everything in a tar stream: path → type, mode, owner, time, content or link.
pub(crate) fn listing(layer: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(layer));
    let mut listing = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        std::io::Read::read_to_string(&mut entry, &mut content).unwrap();
        let header = entry.header();
        let link = entry
            .link_name()
            .unwrap()
            .map(|link| format!(" -> {}", link.display()))
            .unwrap_or_default();
        let described = format!(
            "{:?} {:o} {}:{} {}{link} {content}",
            header.entry_type(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap()
        );
        listing.insert(
            entry.path().unwrap().display().to_string(),
            described.trim_end().to_owned(),
        );
    }
    listing
}

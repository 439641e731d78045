//! HTTP over the loopback address: a client for what is tested, a server for what tests offer.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A port that nothing listened on a moment ago.
pub fn free_port() -> u16 {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr()) {
        Ok(address) => address.port(),
        Err(error) => panic!("no free port: {error}"),
    }
}

/// An answer: status, head and body.
#[derive(Debug)]
pub struct Response {
    /// `200` and so on.
    pub status: u16,
    /// The lines between the status and the body.
    pub head: String,
    /// The body as text.
    pub body: String,
}

/// Fetches `path` from a port of this machine.
pub fn get(port: u16, path: &str) -> io::Result<Response> {
    exchange(
        port,
        &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"),
    )
}

/// Posts JSON to `path` of a port of this machine.
pub fn post(port: u16, path: &str, json: &str) -> io::Result<Response> {
    exchange(
        port,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        ),
    )
}

/// Waits until something answers HTTP on the port, and returns what it says to `GET path`.
///
/// # Panics
/// After a minute, or as soon as `ended` says that nothing will.
pub fn wait_for_http(port: u16, path: &str, mut ended: impl FnMut() -> Option<String>) -> Response {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        match get(port, path) {
            Ok(response) => return response,
            Err(error) => {
                if let Some(reason) = ended() {
                    panic!("nothing will answer on port {port}: {reason}");
                }
                assert!(
                    Instant::now() < deadline,
                    "nothing answers on port {port}: {error}"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn exchange(port: u16, request: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(Response {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    })
}

/// What a server says to `GET path`: a body, or nothing for 404.
pub(crate) type Answer = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// A loopback HTTP server; it ends when it is dropped.
pub struct FileServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FileServer {
    /// Serves the files below a folder.
    pub fn of(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self::answering(Arc::new(move |path: &str| {
            let relative = Path::new(path.trim_start_matches('/'));
            let inside = relative
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            let file: PathBuf = folder.join(relative);
            if inside { fs::read(file).ok() } else { None }
        }))
    }

    pub(crate) fn answering(answer: Arc<Answer>) -> Self {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        let (listener, address) = match bound {
            Ok(bound) => bound,
            Err(error) => panic!("cannot listen: {error}"),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let answer = Arc::clone(&answer);
                // A client that goes away in the middle is no concern of the server.
                std::thread::spawn(move || drop(serve(stream, &*answer)));
            }
        });
        Self {
            address,
            stop,
            thread: Some(thread),
        }
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl std::fmt::Debug for FileServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The connection only wakes the server up.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, answer: &Answer) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            range = range.or_else(|| {
                header
                    .strip_prefix("range: bytes=")?
                    .split('-')
                    .next()?
                    .parse::<usize>()
                    .ok()
            });
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
        let path = target.split('?').next().unwrap_or("/");
        let (status, body) = match answer(path) {
            None => ("404 Not Found", Vec::new()),
            Some(body) => match range {
                Some(start) if start < body.len() => {
                    ("206 Partial Content", body[start..].to_vec())
                }
                _ => ("200 OK", body),
            },
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        if method != "HEAD" {
            writer.write_all(&body)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_served_and_nothing_outside_them() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("public"))?;
        fs::write(folder.path().join("public/a.txt"), "hello")?;
        fs::write(folder.path().join("secret"), "no")?;
        let server = FileServer::of(&folder.path().join("public"));
        let port = server.address.port();
        let mut stream = TcpStream::connect(server.address)?;
        write!(stream, "GET /a.txt HTTP/1.1\r\nRange: bytes=3-\r\n\r\n")?;
        let mut answer = String::new();
        while !answer.ends_with("lo") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            answer.push(char::from(byte[0]));
        }
        assert!(answer.starts_with("HTTP/1.1 206 "), "{answer}");
        drop(stream);
        for path in ["/../secret", "/missing"] {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            write!(stream, "GET {path} HTTP/1.1\r\n\r\n")?;
            let mut status = [0; 12];
            stream.read_exact(&mut status)?;
            assert_eq!(&status, b"HTTP/1.1 404", "{path}");
        }
        Ok(())
    }
}

//! As much of an HTTP/1.1 server as a misbehaving registry needs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request's head.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Request {
    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Whether the registry was asked as `localhost`, where it plays an object store that takes signed addresses.
    pub fn is_elsewhere(&self) -> bool {
        let host = self.header("host");
        host.is_some_and(|host| host.starts_with("localhost"))
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// A parameter of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.queries(name).into_iter().next()
    }

    /// All values of a parameter of the query.
    pub fn queries(&self, name: &str) -> Vec<String> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        pairs(query)
            .into_iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value)
            .collect()
    }
}

/// The parameters of a query or form.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    text.split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&after[..2]).unwrap(), 16).unwrap());
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// An answer. In the headers' values, `{host}` becomes the host that was asked.
#[derive(Debug, Default, Clone)]
pub struct Response {
    /// `200` and so on.
    pub status: u16,
    /// In this order; without a `Content-Length` the body's own is added.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
    /// So many spaces follow the body.
    pub padding: u64,
    /// Close the connection after so many bytes of the body.
    pub cut: Option<usize>,
    /// Send the body in chunks, without its length.
    pub chunked: bool,
    /// Send the body byte by byte, with such pauses.
    pub drip: Option<Duration>,
}

impl Response {
    /// One with a status only.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Leaves a header out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the content.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn write(&self, stream: &mut TcpStream, request: &Request) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        let host = request.header("host").unwrap_or_default();
        for (name, value) in &self.headers {
            write!(head, "{name}: {}\r\n", value.replace("{host}", host)).unwrap();
        }
        let has_length = |(name, _): &(String, String)| name.eq_ignore_ascii_case("content-length");
        if self.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if !self.headers.iter().any(has_length) {
            let length = self.body.len() as u64 + self.padding;
            write!(head, "Content-Length: {length}\r\n").unwrap();
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let body = &self.body[..self.cut.unwrap_or(self.body.len())];
        match self.drip {
            Some(pause) => {
                for byte in body {
                    stream.write_all(&[*byte])?;
                    std::thread::sleep(pause);
                }
            }
            None => self.part(stream, body)?,
        }
        let spaces = vec![b' '; 64 << 10];
        let mut left = self.padding;
        while left > 0 {
            let count = left.min(spaces.len() as u64);
            self.part(
                stream,
                &spaces[..usize::try_from(count).unwrap_or_default()],
            )?;
            left -= count;
        }
        if self.chunked {
            stream.write_all(b"0\r\n\r\n")?;
        }
        Ok(())
    }

    fn part(&self, stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        if !self.chunked {
            return stream.write_all(bytes);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        write!(stream, "{:x}\r\n", bytes.len())?;
        stream.write_all(bytes)?;
        stream.write_all(b"\r\n")
    }
}

/// What to do with a request once its head is known.
pub(super) enum Plan {
    /// Take the body, then answer.
    Accept,
    /// Answer without having seen the body, and close.
    Refuse(Response),
    /// Read so much of the body, and close.
    Drop(usize),
    /// Say nothing for so long, and close.
    Stall(Duration),
}

pub(super) trait Service: Send + Sync + 'static {
    fn plan(&self, request: &Request) -> Plan;
    fn answer(&self, request: &Request, body: &[u8]) -> Response;
}

/// A server on a free port of the loopback interface; it ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(service: Arc<impl Service>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (service, stream) = (Arc::clone(&service), stream.unwrap());
                // A client that goes away is no failure of the server's.
                std::thread::spawn(move || drop(serve(stream, &*service)));
            }
        });
        Self { address, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(mut stream: TcpStream, service: &dyn Service) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    // A TLS handshake begins with this byte; nobody here understands it.
    while reader.fill_buf()?.first() != Some(&0x16)
        && let Some(request) = read_head(&mut reader)?
    {
        // To a proxy: whatever the host is called, it is here.
        if request.method == "CONNECT" {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            continue;
        }
        let length: usize = request
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let asks = request.header("expect").is_some();
        match service.plan(&request) {
            Plan::Refuse(response) => {
                response
                    .with("Connection", "close")
                    .write(&mut stream, &request)?;
                // As nginx lingers: what the client has sent already must not reset the connection.
                stream.shutdown(std::net::Shutdown::Write)?;
                io::copy(&mut reader, &mut io::sink())?;
                return Ok(());
            }
            Plan::Drop(bytes) => {
                if asks {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
                io::copy(&mut reader.by_ref().take(bytes as u64), &mut io::sink())?;
                return Ok(());
            }
            Plan::Stall(pause) => {
                std::thread::sleep(pause);
                return Ok(());
            }
            Plan::Accept => {}
        }
        if asks {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let response = service.answer(&request, &body);
        response.write(&mut stream, &request)?;
        if response.cut.is_some() {
            return Ok(());
        }
    }
    Ok(())
}

fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, target) = (
        words.next().unwrap().to_owned(),
        words.next().unwrap().to_owned(),
    );
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(Request {
                method,
                target,
                headers,
            }));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

//! The router between real sockets: clients that write raw bytes, dynos that are threads.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod codes;
mod dynos;
mod messages;
mod refusals;
mod tunnels;

use super::{BackendId, Backends, Router, RouterInputs, RouterLimits};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A dyno: a thread for each connection, as long as this lives.
struct Dyno {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Dyno {
    fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let (count, end, serve) = (Arc::clone(&connections), Arc::clone(&over), Arc::new(serve));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                thread::spawn(move || serve(stream));
            }
        });
        Self {
            address,
            connections,
            over,
            thread: Some(thread),
        }
    }

    /// Answers every request of a connection with the same bytes; bodies are not expected.
    fn saying(answer: impl AsRef<[u8]>) -> Self {
        let answer = answer.as_ref().to_vec();
        Self::new(move |mut stream| {
            while head(&mut stream).is_some() {
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Answers with the head it got, for as many requests as come.
    fn echoing() -> Self {
        Self::new(|mut stream| {
            while let Some(head) = head(&mut stream) {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}",
                    head.len()
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Dyno {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Reads to the empty line; `None` at the end of the connection.
fn head(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8(bytes).unwrap())
}

/// Reads exactly so many bytes.
fn body(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// One app's router.
struct Scene {
    backends: Arc<Backends>,
    router: Router,
    lines: Arc<Mutex<Vec<String>>>,
}

fn limits() -> RouterLimits {
    RouterLimits {
        threads: 1,
        linger: Duration::from_millis(200),
        stop: Duration::from_secs(5),
        ..RouterLimits::default()
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(limits())
    }

    fn with(limits: RouterLimits) -> Self {
        let backends = Backends::new();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let router = Router::start(RouterInputs {
            listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
            backends: Arc::clone(&backends),
            log: Arc::new(move |line: &[u8]| {
                sink.lock()
                    .unwrap()
                    .push(String::from_utf8(line.to_vec()).unwrap());
            }),
            limits,
        })
        .unwrap();
        Self {
            backends,
            router,
            lines,
        }
    }

    fn add(&self, name: &str, dyno: &Dyno) -> BackendId {
        let id = self.backends.add(name, dyno.address);
        self.backends.set_ready(id);
        id
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.router.addresses()[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Everything that comes back for these bytes, to the end of the connection.
    fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        // A refused request may be answered before it was sent whole.
        drop(stream.write_all(bytes.as_ref()));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// GET on a connection of its own.
    fn get(&self, path: &str) -> String {
        self.ask(format!(
            "GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
        ))
    }

    fn port(&self) -> u16 {
        self.router.addresses()[0].port()
    }

    /// The first log line with these words in it.
    fn line(&self, words: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines.lock().unwrap().clone();
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            assert!(Instant::now() < end, "no {words:?} in {lines:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// Waits for something that another thread does.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Times and ids of a log line, which no test knows, as `N` and `ID`.
fn plain(line: &str) -> String {
    line.split(' ')
        .map(|word| match word.split_once('=') {
            Some((key @ ("connect" | "service"), time)) if time.ends_with("ms") => {
                format!("{key}=Nms")
            }
            Some(("request_id", id)) if !id.is_empty() => "request_id=ID".to_owned(),
            _ => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

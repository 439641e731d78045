#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;
use std::thread::JoinHandle;

/// Answers one request with these bytes. Gives the request's first line, and how long its body was.
fn engine(socket: &Path, answer: &'static str) -> JoinHandle<(String, usize)> {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&stream);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (&stream).write_all(answer.as_bytes()).unwrap();
        (first.trim().to_owned(), length)
    })
}

#[test]
fn images_are_looked_at_by_connections_of_others() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = scratch.path().join("there");
    let there = engine(
        &socket,
        "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\n{\"Id\":\"sha256:abc\"}",
    );
    let path = socket.clone();
    let engine_there =
        Engine::with_connect(Path::new("/nowhere"), move || UnixStream::connect(&path));
    let found = engine_there.inspect("team/shop:1").unwrap().unwrap();
    assert_eq!(found["Id"], "sha256:abc");
    assert_eq!(
        there.join().unwrap().0,
        "GET /images/team/shop%3A1/json HTTP/1.1"
    );
    let socket = scratch.path().join("gone");
    let gone = engine(
        &socket,
        "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    );
    assert_eq!(Engine::new(&socket).inspect("shop").unwrap(), None);
    gone.join().unwrap();
}

#[test]
fn engines_with_containerds_store_keep_blobs() {
    let scratch = tempfile::tempdir().unwrap();
    for (name, answer, expected) in [
        (
            "containerd",
            "HTTP/1.1 200 OK\r\nContent-Length: 86\r\n\r\n{\"Driver\":\"overlayfs\",\"DriverStatus\":[[\"driver-type\",\"io.containerd.snapshotter.v1\"]]}",
            Some(true),
        ),
        (
            "overlay2",
            "HTTP/1.1 200 OK\r\nContent-Length: 69\r\n\r\n{\"Driver\":\"overlay2\",\"DriverStatus\":[[\"Backing Filesystem\",\"extfs\"]]}",
            Some(false),
        ),
        (
            "silent",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            Some(false),
        ),
        (
            "refuses",
            "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\n{}",
            None,
        ),
    ] {
        let socket = scratch.path().join(name);
        let asked = engine(&socket, answer);
        assert_eq!(Engine::new(&socket).keeps_blobs().ok(), expected, "{name}");
        assert_eq!(asked.join().unwrap().0, "GET /info HTTP/1.1");
    }
}

#[test]
fn what_engines_say() {
    let scratch = tempfile::tempdir().unwrap();
    let socket = |name: &str| scratch.path().join(name);
    let loaded = engine(
        &socket("loads"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n28\r\n{\"stream\":\"Loaded image: shop:latest\\n\"}\r\n0\r\n\r\n",
    );
    let said = Engine::new(&socket("loads")).load(&b"archive"[..], 7);
    assert_eq!(said.unwrap(), ["Loaded image: shop:latest"]);
    let (request, length) = loaded.join().unwrap();
    assert_eq!(
        (request.as_str(), length),
        ("POST /images/load?quiet=1 HTTP/1.1", 7)
    );

    // Docker finds out that something is wrong after it said 200.
    for (name, answer) in [
        (
            "late",
            "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"error\":\"no space left\"}\n",
        ),
        (
            "soon",
            "HTTP/1.1 500 No\r\nContent-Length: 27\r\n\r\n{\"message\":\"no space left\"}",
        ),
    ] {
        let thread = engine(&socket(name), answer);
        let error = Engine::new(&socket(name)).load(&b"x"[..], 1).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("could not load the image: no space left"),
            "{error}"
        );
        thread.join().unwrap();
    }

    let saved = engine(
        &socket("saves"),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nbytes",
    );
    let mut bytes = Vec::new();
    Engine::new(&socket("saves"))
        .save("r.example:5/team/shop:1", &mut bytes)
        .unwrap();
    assert_eq!(bytes, b"bytes");
    assert_eq!(
        saved.join().unwrap().0,
        "GET /images/r.example%3A5/team/shop%3A1/get HTTP/1.1"
    );

    let missing = engine(
        &socket("misses"),
        "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
    );
    let error = Engine::new(&socket("misses")).save("shop", &mut bytes);
    assert!(matches!(error, Err(EngineError::NoSuchImage { .. })));
    missing.join().unwrap();

    let broken = engine(
        &socket("breaks"),
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbytes",
    );
    let error = Engine::new(&socket("breaks")).save("shop", &mut bytes);
    assert!(
        matches!(error, Err(EngineError::Broken { .. })),
        "{error:?}"
    );
    broken.join().unwrap();

    let error = Engine::new(&socket("nobody")).save("shop", &mut bytes);
    assert!(
        matches!(error, Err(EngineError::Unreachable { .. })),
        "{error:?}"
    );
}

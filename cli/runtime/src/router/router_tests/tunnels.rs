//! Upgraded connections.

use super::*;

const ASK: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Says what it is sent in capitals, after an upgrade.
fn shouting() -> Dyno {
    Dyno::new(|mut stream| {
        let asked = head(&mut stream).unwrap();
        assert!(asked.contains("Upgrade: websocket\r\n"), "{asked}");
        assert!(
            asked
                .to_ascii_lowercase()
                .contains("connection: upgrade\r\n"),
            "{asked}"
        );
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
            .unwrap();
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            stream
                .write_all(&bytes[..count].to_ascii_uppercase())
                .unwrap();
        }
    })
}

fn open(scene: &Scene) -> TcpStream {
    let mut stream = scene.connect();
    stream.write_all(ASK).unwrap();
    let answer = head(&mut stream).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{answer}"
    );
    assert!(answer.contains("Upgrade: websocket\r\n"), "{answer}");
    assert!(answer.contains("Connection: upgrade\r\n"), "{answer}");
    assert_eq!(body(&mut stream, 2), b"hi");
    stream
}

#[test]
fn bytes_pass_both_ways() {
    let (dyno, scene) = (shouting(), Scene::new());
    let id = scene.add("web.1", &dyno);
    let mut stream = open(&scene);
    // What is no HTTP at all passes unread.
    for bytes in [&b"\x00\r\n bad \n\r"[..], b"more"] {
        stream.write_all(bytes).unwrap();
        assert_eq!(body(&mut stream, bytes.len()), bytes.to_ascii_uppercase());
    }
    assert_eq!(scene.backends.in_flight(id), 1, "a tunnel is work");
    drop(stream);
    let line = scene.line("path=\"/chat\"");
    assert!(line.starts_with("at=info method=GET"), "{line}");
    assert!(line.contains("status=101 bytes=16 "), "{line}");
    assert_eq!(scene.backends.in_flight(id), 0);
}

#[test]
fn half_a_tunnel_may_be_closed() {
    let (dyno, scene) = (shouting(), Scene::new());
    scene.add("web.1", &dyno);
    let mut stream = open(&scene);
    stream.write_all(b"last").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"LAST");
    scene.line("status=101");
}

#[test]
fn an_idle_tunnel_is_closed() {
    let (dyno, scene) = (
        shouting(),
        Scene::with(RouterLimits {
            idle: Duration::from_millis(200),
            ..limits()
        }),
    );
    let id = scene.add("web.1", &dyno);
    let mut stream = open(&scene);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    let line = scene.line("code=H15");
    assert!(line.contains("path=\"/chat\""), "{line}");
    assert_eq!(scene.backends.in_flight(id), 0);
}

#[test]
fn an_upgrade_that_is_declined() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    let mut asked = ASK.to_vec();
    // Frames sent in hope must not become a request.
    asked.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = scene.ask(asked);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"),
        "{answer}"
    );
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(scene.lines().len(), 1);
}

#[test]
fn switching_unasked_is_an_error() {
    let dyno = Dyno::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let answer = scene.get("/");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    scene.line("code=H17");
}

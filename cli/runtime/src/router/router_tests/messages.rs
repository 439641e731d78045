//! Requests and answers on their way: fields, bodies, versions.

use super::*;

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn echo(fields: &str) -> (String, u16) {
    let (dyno, scene) = (Dyno::echoing(), Scene::new());
    scene.add("web.1", &dyno);
    let answer = scene.ask(format!("GET /x?y HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let (_, head) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), scene.port())
}

#[test]
fn fields_that_the_router_adds() {
    let (head, port) = echo("Connection: close\r\n");
    assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
    assert_eq!(field(&head, "Host"), Some("a"));
    assert_eq!(field(&head, "X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(field(&head, "X-Forwarded-Proto"), Some("http"));
    assert_eq!(
        field(&head, "X-Forwarded-Port"),
        Some(port.to_string().as_str())
    );
    assert_eq!(field(&head, "Via"), Some("1.1 heroku-router"));
    let id = field(&head, "X-Request-Id").unwrap();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "{id}");
    let start: u64 = field(&head, "X-Request-Start").unwrap().parse().unwrap();
    assert!(start > 1_700_000_000_000);
}

#[test]
fn what_the_client_says_of_itself() {
    let (head, _) = echo(
        "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\nX-Forwarded-Proto: https\r\n\
         X_Forwarded_Proto: https\r\nX-Request-Id: 0123456789abcdefghij\r\nConnection: close\r\n",
    );
    assert_eq!(
        field(&head, "X-Forwarded-For"),
        Some("10.0.0.1, 10.0.0.2, 127.0.0.1")
    );
    assert_eq!(field(&head, "X-Forwarded-Proto"), Some("http"));
    assert_eq!(field(&head, "X_Forwarded_Proto"), None);
    assert_eq!(field(&head, "X-Request-Id"), Some("0123456789abcdefghij"));
    for bad in ["short", "0123456789abcdefghi!", &"a".repeat(201)] {
        let (head, _) = echo(&format!("X-Request-Id: {bad}\r\nConnection: close\r\n"));
        assert_eq!(field(&head, "X-Request-Id").unwrap().len(), 36);
    }
}

#[test]
fn hop_by_hop_fields_end_here() {
    let (head, _) = echo(
        "Connection: close, X-Mine, Host\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy-Connection: keep-alive\r\nUpgrade: websocket\r\nX-Other: 2\r\n",
    );
    for gone in [
        "Connection",
        "X-Mine",
        "Keep-Alive",
        "TE",
        "Proxy-Connection",
        "Upgrade",
    ] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
    assert_eq!(field(&head, "Host"), Some("a"));
    assert_eq!(field(&head, "X-Other"), Some("2"));
}

#[test]
fn an_answer_loses_and_gains_fields_too() {
    let dyno = Dyno::saying(
        "HTTP/1.1 418 Short And Stout\r\nContent-Length: 2\r\nKeep-Alive: 5\r\nConnection: X-Mine\r\n\
         X-Mine: 1\r\nVia: 1.1 own\r\nServer: tea\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nhi",
    );
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let answer = scene.get("/");
    assert!(
        answer.starts_with("HTTP/1.1 418 Short And Stout\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Via: 1.1 own\r\nVia: 1.1 heroku-router\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Set-Cookie: a\r\nSet-Cookie: b\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("Server: tea\r\n") && answer.contains("\r\nDate: "),
        "{answer}"
    );
    assert!(
        !answer.contains("X-Mine") && !answer.contains("Keep-Alive"),
        "{answer}"
    );
}

#[test]
fn a_target_with_a_host() {
    let (dyno, scene) = (Dyno::echoing(), Scene::new());
    scene.add("web.1", &dyno);
    let answer = scene.ask("GET http://b:1/p?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("GET /p?q HTTP/1.1\r\n"), "{answer}");
    assert!(
        answer.contains("Host: b:1\r\n") && !answer.contains("Host: a\r\n"),
        "{answer}"
    );
    let answer = scene.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("OPTIONS * HTTP/1.1\r\n"), "{answer}");
}

#[test]
fn keep_alive_and_pipelining() {
    let (dyno, scene) = (Dyno::echoing(), Scene::new());
    scene.add("web.1", &dyno);
    let requests: String = (0..5)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .collect::<Vec<_>>()
        .concat();
    let answer = scene.ask(requests + "GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let places: Vec<usize> = ["/0 ", "/1 ", "/2 ", "/3 ", "/4 ", "/end "]
        .iter()
        .map(|path| answer.find(&format!("GET {path}")).expect(path))
        .collect();
    assert!(places.is_sorted(), "{answer}");
    assert_eq!(scene.lines().len(), 6);
}

#[test]
fn http_1_0() {
    let dyno = Dyno::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let answer = scene.ask("GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") || answer.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(
        !answer.to_ascii_lowercase().contains("transfer-encoding"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    let (dyno, scene) = (Dyno::echoing(), Scene::new());
    scene.add("web.1", &dyno);
    let answer = scene.ask("GET / HTTP/1.0\r\n\r\n");
    let host = format!("Host: {}\r\n", dyno.address);
    assert!(
        answer.contains("GET / HTTP/1.1\r\n") && answer.contains(&host),
        "{answer}"
    );
}

#[test]
fn heads_without_bodies() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let (dyno, scene) = (Dyno::saying(answer), Scene::new());
        scene.add("web.1", &dyno);
        for _ in 0..2 {
            let got = scene.ask(format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ));
            assert_eq!(got.lines().next(), answer.lines().next(), "{got}");
            assert!(got.ends_with("\r\n\r\n"), "{got}");
            assert_eq!(
                got.contains("Content-Length: 500"),
                answer.contains("500"),
                "{got}"
            );
            assert!(!got.contains("Content-Length: 0"), "{got}");
        }
        assert_eq!(dyno.connections(), 1, "{method} {answer:?}");
        assert!(scene.line("at=info").contains("bytes=0"));
    }
}

/// Sends back the body that it was sent, in the framing it was sent in.
fn returning() -> Dyno {
    Dyno::new(|mut stream| {
        while let Some(asked) = head(&mut stream) {
            let sent = if let Some(length) = field(&asked, "Content-Length") {
                body(&mut stream, length.parse().unwrap())
            } else if field(&asked, "Transfer-Encoding") == Some("chunked") {
                let mut whole = Vec::new();
                while !whole.ends_with(b"0\r\n\r\n") {
                    whole.extend(body(&mut stream, 1));
                }
                whole
            } else {
                Vec::new()
            };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&sent).unwrap();
        }
    })
}

#[test]
fn bodies_of_requests() {
    let (dyno, scene) = (returning(), Scene::new());
    scene.add("web.1", &dyno);
    let big = "0123456789".repeat(500_000);
    let mut stream = scene.connect();
    let writer = stream.try_clone().unwrap();
    let sent = big.clone();
    let writing = thread::spawn(move || {
        let mut writer = writer;
        write!(
            writer,
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{sent}",
            sent.len()
        )
        .unwrap();
    });
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    writing.join().unwrap();
    assert!(answer.ends_with(&big));
    for method in ["POST", "GET"] {
        let answer = scene.ask(format!(
            "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n\
             5;ext=\"x\"\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: no\r\n\r\n"
        ));
        let (_, chunks) = answer.split_once("\r\n\r\n").unwrap();
        assert!(chunks.contains("hello") && chunks.contains('!'), "{answer}");
        assert!(
            chunks.ends_with("0\r\n\r\n") && !answer.contains("X-Trailer"),
            "{answer}"
        );
    }
}

#[test]
fn a_body_is_followed_by_another_request() {
    let (dyno, scene) = (returning(), Scene::new());
    scene.add("web.1", &dyno);
    let answer = scene.ask(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
         POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthree",
    );
    let places = ["one", "two", "three"].map(|part| answer.find(part).expect(part));
    assert!(places.is_sorted());
}

#[test]
fn expectations() {
    let (dyno, scene) = (returning(), Scene::new());
    scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert_eq!(head(&mut stream).unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello"),
        "{answer}"
    );
    let answer = scene.ask("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
    assert!(
        scene
            .line("code=H26")
            .contains("cause=\"unsupported expect header value\"")
    );
}

#[test]
fn an_answer_streams() {
    let (more, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let dyno = Dyno::new(move |mut stream| {
        head(&mut stream);
        let wait = wait.lock().unwrap();
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\none")
            .unwrap();
        wait.recv().unwrap();
        stream.write_all(b"two").unwrap();
    });
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let answer = head(&mut stream).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(body(&mut stream, 8), b"3\r\none\r\n");
    more.send(()).unwrap();
    assert_eq!(body(&mut stream, 13), b"3\r\ntwo\r\n0\r\n\r\n");
    assert!(scene.line("at=info").contains("bytes=6"));
}

#[test]
fn a_dyno_is_held_back_by_a_slow_client() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let dyno = Dyno::new(move |mut stream| {
        head(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n"));
        while stream.write_all(&[b'x'; 8192]).is_ok() {
            count.fetch_add(8192, Ordering::SeqCst);
        }
    });
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut last = usize::MAX;
    until("it stops", || {
        thread::sleep(Duration::from_millis(200));
        let now = written.load(Ordering::SeqCst);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    assert!(last < 64 * 1024 * 1024, "{last} bytes are somewhere");
    stream.shutdown(Shutdown::Both).unwrap();
    scene.line("code=H27");
}

//! Heroku's error codes: what the client gets and what the log says.

use super::*;

fn tail(code: &str, description: &str, rest: &str, scene: &Scene) -> String {
    format!(
        "at=error code={code} desc=\"{description}\" method=GET path=\"/a?b=c\" host=shop.test \
         request_id=ID fwd=\"127.0.0.1\" {rest} protocol=http",
    )
    .replace("PORT", &scene.port().to_string())
}

fn expect(scene: &Scene, code: &str, description: &str, rest: &str) {
    let answer = scene.get("/a?b=c");
    let status = rest
        .split("status=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(
        answer.contains("Cache-Control: no-cache, no-store\r\n"),
        "{answer}"
    );
    assert!(answer.contains("<h1>Application error</h1>"), "{answer}");
    let line = scene.line(&format!("code={code} "));
    assert_eq!(plain(&line), tail(code, description, rest, scene));
}

const NO_DYNO: &str = "dyno= connect= service= status=503 bytes=";

#[test]
fn an_ordinary_line() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    scene.get("/a%20b?c=%22d%22");
    assert_eq!(
        plain(&scene.line("at=info")),
        "at=info method=GET path=\"/a%20b?c=%22d%22\" host=shop.test request_id=ID fwd=\"127.0.0.1\" \
         dyno=web.1 connect=Nms service=Nms status=200 bytes=5 protocol=http"
    );
}

#[test]
fn h10_all_crashed() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    let id = scene.backends.add("web.1", dyno.address);
    scene.backends.set_crashed(id);
    expect(&scene, "H10", "App crashed", NO_DYNO);
}

#[test]
fn h12_no_answer_in_time() {
    let dyno = Dyno::new(|mut stream| {
        head(&mut stream);
        drop(stream.read(&mut [0]));
    });
    let scene = Scene::with(RouterLimits {
        first_byte: Duration::from_millis(100),
        ..limits()
    });
    scene.add("web.1", &dyno);
    let rest = "dyno=web.1 connect=Nms service=Nms status=503 bytes=0";
    expect(&scene, "H12", "Request timeout", rest);
}

#[test]
fn h13_closed_without_an_answer() {
    let dyno = Dyno::new(|mut stream| drop(head(&mut stream)));
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let rest = "dyno=web.1 connect=Nms service=Nms status=503 bytes=0";
    expect(&scene, "H13", "Connection closed without response", rest);
}

#[test]
fn h14_no_dynos() {
    expect(&Scene::new(), "H14", "No web processes running", NO_DYNO);
}

#[test]
fn h15_nothing_moves() {
    let dyno = Dyno::new(|mut stream| {
        head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            .unwrap();
        drop(stream.read(&mut [0]));
    });
    let scene = Scene::with(RouterLimits {
        idle: Duration::from_millis(150),
        ..limits()
    });
    scene.add("web.1", &dyno);
    let answer = scene.get("/a?b=c");
    assert!(!answer.contains("Application error"), "{answer}");
    assert_eq!(
        plain(&scene.line("code=H15")),
        tail(
            "H15",
            "Idle connection",
            "dyno=web.1 connect=Nms service=Nms status=503 bytes=4",
            &scene
        )
    );
}

#[test]
fn h15_a_client_that_takes_nothing() {
    let dyno = Dyno::new(|mut stream| {
        head(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n"));
        while stream.write_all(&[b'x'; 8192]).is_ok() {}
    });
    let scene = Scene::with(RouterLimits {
        idle: Duration::from_millis(300),
        ..limits()
    });
    let id = scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    scene.line("code=H15");
    until("the dyno is free", || scene.backends.in_flight(id) == 0);
}

#[test]
fn h17_not_http() {
    let (dyno, scene) = (Dyno::saying("+OK POP3 server ready\r\n\r\n"), Scene::new());
    scene.add("web.1", &dyno);
    let rest = "dyno=web.1 connect=Nms service=Nms status=503 bytes=0";
    expect(&scene, "H17", "Poorly formatted HTTP response", rest);
}

#[test]
fn h18_closed_in_the_middle() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ] {
        let dyno = Dyno::new(move |mut stream| {
            head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let scene = Scene::new();
        scene.add("web.1", &dyno);
        let got = scene.get("/a?b=c");
        assert!(!got.contains("0\r\n\r\n"), "the cut must show: {got}");
        assert_eq!(
            plain(&scene.line("code=H18")),
            tail(
                "H18",
                "Server Request Interrupted",
                "dyno=web.1 connect=Nms service=Nms status=503 bytes=4",
                &scene
            )
        );
    }
}

#[test]
fn h19_no_connection_in_time() {
    // A full backlog swallows further connections without a word.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let address = socket.local_addr().unwrap();
    let mut full = Vec::new();
    for _ in 0..8 {
        full.push(TcpStream::connect_timeout(
            &address,
            Duration::from_millis(100),
        ));
    }
    let scene = Scene::with(RouterLimits {
        connect: Duration::from_millis(200),
        ..limits()
    });
    let id = scene.backends.add("web.1", address);
    scene.backends.set_ready(id);
    let rest = "dyno=web.1 connect=Nms service= status=503 bytes=";
    expect(&scene, "H19", "Backend connection timeout", rest);
}

#[test]
fn h20_never_boots() {
    let dyno = Dyno::saying(OK);
    let scene = Scene::with(RouterLimits {
        boot: Duration::from_millis(100),
        ..limits()
    });
    scene.backends.add("web.1", dyno.address);
    expect(&scene, "H20", "App boot timeout", NO_DYNO);
}

#[test]
fn h21_refused() {
    let scene = Scene::new();
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let id = scene.backends.add("web.1", gone);
    scene.backends.set_ready(id);
    let rest = "dyno=web.1 connect=Nms service= status=503 bytes=";
    expect(&scene, "H21", "Backend connection refused", rest);
}

#[test]
fn h25_beyond_limits() {
    let cookie = "c".repeat(9000);
    for (answer, what) in [
        (
            format!("HTTP/1.1 200 OK\r\nSet-Cookie: {cookie}\r\nContent-Length: 0\r\n\r\n"),
            "oversized cookies",
        ),
        (
            format!("HTTP/1.1 200 {cookie}\r\nContent-Length: 0\r\n\r\n"),
            "oversized status line",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "c".repeat(600_000)),
            "oversized header",
        ),
    ] {
        let (dyno, scene) = (Dyno::saying(answer), Scene::new());
        scene.add("web.1", &dyno);
        let got = scene.get("/");
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        let line = scene.line("code=H25");
        assert!(
            line.contains(&format!("desc=\"HTTP restriction: {what}\"")),
            "{line}"
        );
    }
}

#[test]
fn h27_the_client_goes_away() {
    let gone = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&gone);
    let dyno = Dyno::new(move |mut stream| {
        head(&mut stream);
        if stream.read(&mut [0]).is_ok_and(|count| count == 0) {
            seen.store(true, Ordering::SeqCst);
        }
    });
    let scene = Scene::new();
    let id = scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    until("the dyno has it", || scene.backends.in_flight(id) == 1);
    drop(stream);
    let line = scene.line("code=H27");
    assert!(
        line.starts_with("at=info code=H27 desc=\"Client Request Interrupted\" method=GET"),
        "{line}"
    );
    assert!(line.contains("dyno=web.1"), "{line}");
    assert!(line.contains("status=499 bytes=0"), "{line}");
    until("the dyno learns it", || gone.load(Ordering::SeqCst));
    assert_eq!(scene.backends.in_flight(id), 0);
}

#[test]
fn h27_in_the_middle_of_the_body() {
    let dyno =
        Dyno::new(|mut stream| while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {});
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    let mut stream = scene.connect();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        .unwrap();
    until("the dyno has it", || dyno.connections() == 1);
    drop(stream);
    scene.line("code=H27");
}

#[test]
fn h28_a_client_that_stops_sending() {
    let dyno =
        Dyno::new(|mut stream| while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {});
    let scene = Scene::with(RouterLimits {
        idle: Duration::from_millis(150),
        ..limits()
    });
    scene.add("web.1", &dyno);
    let answer = scene.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(answer, "");
    let line = scene.line("code=H28");
    assert!(
        line.starts_with("at=warning code=H28 desc=\"Client Connection Idle\""),
        "{line}"
    );
    assert!(line.contains("status=499"), "{line}");
}

#[test]
fn h80_maintenance() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    scene.backends.set_maintenance(true);
    let answer = scene.get("/");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("<h1>Offline for Maintenance</h1>"),
        "{answer}"
    );
    let line = scene.line("code=H80");
    assert!(
        line.starts_with("at=info code=H80 desc=\"Maintenance mode\" method=GET"),
        "{line}"
    );
    assert!(line.contains(NO_DYNO), "{line}");
    scene.backends.set_maintenance(false);
    assert!(scene.get("/").ends_with("hello"));
}

//! Requests that could be read in two ways, and those beyond the limits.

use super::*;

/// The status of the answer, which must be the only one, and no dyno may have seen anything.
fn status(bytes: &[u8]) -> String {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    let answer = scene.ask(bytes);
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
    assert_eq!(dyno.connections(), 0, "{answer}");
    let line = scene.line("code=H26");
    assert!(
        line.starts_with("at=error code=H26 desc=\"Request Error\" cause=\""),
        "{line}"
    );
    answer.split(' ').nth(1).unwrap().to_owned()
}

const REST: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn smuggling_is_refused() {
    for fields in [
        "Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        "Host: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        "Host: a\r\nContent-Length: 5, 5\r\n",
        "Host: a\r\nContent-Length: +5\r\n",
        "Host: a\r\nContent-Length: -5\r\n",
        "Host: a\r\nContent-Length: 0x5\r\n",
        "Host: a\r\nContent-Length: 5 5\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nContent-Length : 5\r\n",
        "Host: a\r\nContent-Length\t: 5\r\n",
        "Host: a\r\n Content-Length: 5\r\n",
        "Host: a\r\nX: y\r\n\tfolded\r\n",
        "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: gzip\r\n",
        "Host: a\r\nTransfer-Encoding: identity\r\n",
        "Host: a\r\nTransfer-Encoding: xchunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, identity\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Host: a\r\nTransfer-Encoding: \x0bchunked\r\n",
        "Host: a\r\nTransfer-Encoding : chunked\r\n",
        "Host: a\r\nTransfer-Encoding:\r\n",
        "Host: a\nX: y\r\n",
        "Host: a\r\nX: y\rz\r\n",
        "Host: a\r\nX: y\0z\r\n",
        "Host: a\r\nX\r\n",
        "Host: a\r\n: y\r\n",
        "Host: a\r\nX\0Y: z\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "X: y\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n{REST}");
        assert_eq!(status(request.as_bytes()), "400", "{fields:?}");
    }
}

#[test]
fn bad_request_lines_are_refused() {
    for (line, expected) in [
        ("GET / HTTP/1.1\n", "400"),
        ("GET  / HTTP/1.1\r\n", "400"),
        ("GET /  HTTP/1.1\r\n", "400"),
        (" GET / HTTP/1.1\r\n", "400"),
        ("GET\t/ HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1 \r\n", "400"),
        ("GET /\r\n", "400"),
        ("GET / http/1.1\r\n", "400"),
        ("GET / HTTP/1.10\r\n", "400"),
        ("GET /\x01 HTTP/1.1\r\n", "400"),
        ("GET a HTTP/1.1\r\n", "400"),
        ("GET * HTTP/1.1\r\n", "400"),
        ("GE(T / HTTP/1.1\r\n", "400"),
        ("\r\n\r\nGET / HTTP/1.1\r\n", "400"),
        ("\x16\x03\x01\x02", "400"),
        ("GET / HTTP/2.0\r\n", "505"),
        ("GET / HTTP/0.9\r\n", "505"),
        ("CONNECT a:1 HTTP/1.1\r\n", "405"),
    ] {
        let request = format!("{line}Host: a\r\n\r\n{REST}");
        assert_eq!(status(request.as_bytes()), expected, "{line:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status(old.as_bytes()), "400");
}

#[test]
fn bad_chunks_are_refused() {
    for chunks in [
        "x\r\n",
        "-1\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "0x5\r\nhello\r\n",
        "\r\n",
        ";a\r\n",
        "5\nhello\r\n",
        "5\r\nhello!\r\n",
        "5\r\nhello\n0\r\n",
        "5\r\nhello\r0\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "10000000000000000\r\n",
        "0\r\n folded\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
    ] {
        let dyno = Dyno::new(
            |mut stream| {
                while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
            },
        );
        let scene = Scene::new();
        scene.add("web.1", &dyno);
        let answer = scene.ask(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{REST}"
        ));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunks:?}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        let line = scene.line("code=H26");
        assert!(line.contains("cause=\"bad chunk\""), "{line}");
    }
}

#[test]
fn limits_of_a_head() {
    let long = "a".repeat(9000);
    assert_eq!(
        status(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()),
        "414"
    );
    assert_eq!(status(format!("GET /{long}").as_bytes()), "414");
    let cookie = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {long}\r\n\r\n");
    assert_eq!(status(cookie.as_bytes()), "431");
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {long}");
    assert_eq!(status(endless.as_bytes()), "431");
    let many = "X: y\r\n".repeat(101);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n");
    assert_eq!(status(many.as_bytes()), "431");
    let whole = format!("X: {}\r\n", "a".repeat(8000)).repeat(9);
    let whole = format!("GET / HTTP/1.1\r\nHost: a\r\n{whole}\r\n");
    assert_eq!(status(whole.as_bytes()), "431");
}

#[test]
fn just_within_the_limits() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    let path = "a".repeat(8192 - "GET / HTTP/1.1".len());
    assert!(scene.get(&format!("/{path}")).ends_with("hello"));
    let fields = "X: y\r\n".repeat(98);
    let cookie = "c".repeat(8192 - "Cookie: ".len());
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    assert!(scene.ask(request).ends_with("hello"));
    let request =
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n");
    assert!(scene.ask(request).ends_with("hello"));
}

#[test]
fn a_slow_head_and_an_idle_client() {
    let (dyno, scene) = (
        Dyno::saying(OK),
        Scene::with(RouterLimits {
            head_time: Duration::from_millis(100),
            client_idle: Duration::from_millis(100),
            ..limits()
        }),
    );
    scene.add("web.1", &dyno);
    let answer = scene.ask("GET / HTTP/1.1\r\nHos");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(scene.ask(""), "");
    let answer = scene.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.ends_with("hello"), "answered, then closed: {answer}");
}

#[test]
fn a_refusal_comes_after_the_answers_before_it() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = scene.ask(format!("{good}{good}BAD\r\n\r\n{good}"));
    let statuses: Vec<&str> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|rest| &rest[..3])
        .collect();
    assert_eq!(statuses, ["200", "200", "400"], "{answer}");
}

#[test]
fn nobody_forges_a_line() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    let id = "a".repeat(19) + "\" status=200";
    scene.ask(format!(
        "GET /\"\\\u{e9} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\" dyno=web.9 \r\n\
         X-Request-Id: {id}\r\nConnection: close\r\n\r\n"
    ));
    let line = scene.lines().pop().unwrap();
    assert!(!line.contains("dyno=web.9 "), "{line}");
    assert!(!line.contains('\\'), "{line}");
    assert_eq!(line.matches('"').count() % 2, 0, "{line}");
    scene.ask("BA\"D\u{1b}[31m / HTTP/1.1\r\n\r\n");
    assert!(
        scene
            .lines()
            .iter()
            .all(|line| line.bytes().all(|byte| (32..127).contains(&byte)))
    );
}

//! Which dyno gets a request, and what happens while dynos come and go.

use super::*;

fn named(name: &str) -> Dyno {
    Dyno::saying(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    ))
}

#[test]
fn requests_are_spread_over_ready_dynos() {
    let (one, two, scene) = (named("one"), named("two"), Scene::new());
    scene.add("web.1", &one);
    scene.add("web.2", &two);
    let answers: Vec<String> = (0..60).map(|_| scene.get("/")).collect();
    for name in ["one", "two"] {
        let count = answers
            .iter()
            .filter(|answer| answer.ends_with(name))
            .count();
        // 60 throws of a coin: fewer than 8 happen once in a thousand million runs.
        assert!(count >= 8, "{name}: {count}");
    }
    assert!(scene.line("dyno=web.1 ").contains("status=200 bytes=3"));
    assert!(scene.line("dyno=web.2 ").contains("status=200 bytes=3"));
}

#[test]
fn connections_to_a_dyno_are_used_again() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    scene.add("web.1", &dyno);
    for _ in 0..20 {
        assert!(scene.get("/").ends_with("hello"));
    }
    assert_eq!(dyno.connections(), 1);
}

#[test]
fn a_connection_the_dyno_has_closed_meanwhile_harms_nobody() {
    let dyno = Dyno::new(|mut stream| {
        if head(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    for _ in 0..20 {
        assert!(scene.get("/").ends_with("hello"));
    }
    assert!(scene.lines().iter().all(|line| line.starts_with("at=info")));
}

#[test]
fn a_used_connection_that_closes_without_an_answer_is_tried_anew_only_where_that_is_safe() {
    // The first request of a connection is answered, the second one never.
    let dyno = Dyno::new(|mut stream| {
        head(&mut stream);
        stream.write_all(OK.as_bytes()).unwrap();
        head(&mut stream);
    });
    let scene = Scene::new();
    scene.add("web.1", &dyno);
    assert!(scene.get("/").ends_with("hello"));
    assert!(scene.get("/again").ends_with("hello"));
    assert_eq!(dyno.connections(), 2);
    let post =
        scene.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 503"), "{post}");
    scene.line("code=H13");
    assert_eq!(dyno.connections(), 2);
}

#[test]
fn a_dyno_that_refuses_is_passed_over_and_left_alone_for_a_while() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let id = scene.backends.add("web.1", gone);
    scene.backends.set_ready(id);
    scene.add("web.2", &dyno);
    for _ in 0..30 {
        assert!(scene.get("/").ends_with("hello"));
    }
    assert!(scene.lines().iter().all(|line| line.contains("dyno=web.2")));
}

#[test]
fn a_draining_dyno_finishes_what_it_has_and_gets_nothing_new() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let old = Dyno::new(move |mut stream| {
        if head(&mut stream).is_some() {
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let (new, scene) = (named("new"), Scene::new());
    let old_id = scene.add("web.1", &old);
    let mut slow = scene.connect();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    until("the dyno has it", || scene.backends.in_flight(old_id) == 1);
    scene.add("web.1", &new);
    let idle = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&idle);
    scene
        .backends
        .begin_drain(old_id, move || told.store(true, Ordering::SeqCst));
    for _ in 0..20 {
        assert!(scene.get("/").ends_with("new"));
    }
    assert!(!idle.load(Ordering::SeqCst));
    assert_eq!(scene.backends.in_flight(old_id), 1);
    release.send(()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"));
    until("idle is told", || idle.load(Ordering::SeqCst));
    assert_eq!(scene.backends.in_flight(old_id), 0);
    scene.backends.remove(old_id);
    assert_eq!(scene.backends.state(old_id), None);
    assert!(scene.get("/").ends_with("new"));
}

#[test]
fn draining_closes_unused_connections() {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    let dyno = Dyno::new(move |mut stream| {
        while head(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        seen.store(true, Ordering::SeqCst);
    });
    let scene = Scene::with(RouterLimits {
        upstream_idle: Duration::from_hours(1),
        ..limits()
    });
    let id = scene.add("web.1", &dyno);
    assert!(scene.get("/").ends_with("hello"));
    assert!(!closed.load(Ordering::SeqCst));
    let idle = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&idle);
    scene
        .backends
        .begin_drain(id, move || told.store(true, Ordering::SeqCst));
    assert!(idle.load(Ordering::SeqCst), "nothing was running");
    until("the connection is closed", || closed.load(Ordering::SeqCst));
}

#[test]
fn unused_connections_are_closed_after_a_while() {
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    let dyno = Dyno::new(move |mut stream| {
        while head(&mut stream).is_some() {
            stream.write_all(OK.as_bytes()).unwrap();
        }
        seen.store(true, Ordering::SeqCst);
    });
    let scene = Scene::with(RouterLimits {
        upstream_idle: Duration::from_millis(50),
        ..limits()
    });
    scene.add("web.1", &dyno);
    assert!(scene.get("/").ends_with("hello"));
    until("the connection is closed", || closed.load(Ordering::SeqCst));
}

#[test]
fn a_request_waits_for_a_booting_dyno() {
    let (dyno, scene) = (Dyno::saying(OK), Scene::new());
    let id = scene.backends.add("web.1", dyno.address);
    let mut stream = scene.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    thread::sleep(Duration::from_millis(100));
    assert_eq!(dyno.connections(), 0);
    scene.backends.set_ready(id);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn replacing_dynos_under_load_fails_no_request() {
    let scene = Arc::new(Scene::with(RouterLimits {
        threads: 2,
        ..limits()
    }));
    let mut dyno = named("0");
    let mut id = scene.add("web.1", &dyno);
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (scene, over) = (Arc::clone(&scene), Arc::clone(&over));
            thread::spawn(move || {
                let mut stream = scene.connect();
                let mut count = 0;
                while !over.load(Ordering::SeqCst) {
                    stream
                        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                        .unwrap();
                    let head = head(&mut stream).expect("an answer");
                    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                    body(&mut stream, 1);
                    count += 1;
                }
                count
            })
        })
        .collect();
    for number in 1..10 {
        let next = named(&number.to_string());
        let next_id = scene.add("web.1", &next);
        let (idle, told) = std::sync::mpsc::channel();
        scene
            .backends
            .begin_drain(id, move || idle.send(()).unwrap());
        told.recv_timeout(PATIENCE).unwrap();
        scene.backends.remove(id);
        (dyno, id) = (next, next_id);
        thread::sleep(Duration::from_millis(20));
    }
    over.store(true, Ordering::SeqCst);
    let count: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    drop(dyno);
    assert!(count > 10, "{count}");
    assert!(
        scene
            .lines()
            .iter()
            .all(|line| line.starts_with("at=info method"))
    );
}

#[test]
fn stopping_lets_running_requests_finish() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let dyno = Dyno::new(move |mut stream| {
        if head(&mut stream).is_some() {
            wait.lock().unwrap().recv().unwrap();
            stream.write_all(OK.as_bytes()).unwrap();
        }
    });
    let scene = Scene::with(RouterLimits {
        stop: PATIENCE,
        ..limits()
    });
    let id = scene.add("web.1", &dyno);
    let mut idle = scene.connect();
    let mut slow = scene.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    until("the dyno has it", || scene.backends.in_flight(id) == 1);
    scene.router.begin_stop();
    assert_eq!(
        idle.read(&mut [0]).unwrap(),
        0,
        "an idle connection is closed"
    );
    until("nothing listens", || {
        TcpStream::connect(scene.router.addresses()[0]).is_err()
    });
    assert!(!scene.router.is_stopped());
    release.send(()).unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    scene.router.stop();
}

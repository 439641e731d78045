//! `slugc launch`: the image's processes, served and ended.

use crate::as_each_user;
use std::time::Duration;
use test_support::{
    App, Running, Signal, TestContext, free_port, get, processes_with, wait_for_http,
};

fn reason(dyno: &mut Running) -> Option<String> {
    dyno.has_ended().then(|| dyno.printed())
}

/// `PORT` of a web dyno.
fn dyno_port(t: &TestContext, app: &App, name: &str) -> u64 {
    let dynos = t
        .slugc_in(app)
        .args(["ps", "--json"])
        .run()
        .success()
        .json();
    let mut dynos = dynos.as_array().unwrap().iter();
    dynos.find(|dyno| dyno["name"] == name).unwrap()["port"]
        .as_u64()
        .unwrap()
}

as_each_user! {
    /// Rows of the database and static files come out of the image; ^C ends everything.
    fn django(t: &TestContext) {
        let app = t.fixture("django-static-db");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "web", "--port", &port.to_string()])
            .start();
        let page = wait_for_http(port, "/", || reason(&mut dyno));
        assert_eq!(page.status, 200, "{}", page.body);
        for row in ["Flatland (1884)", "Solaris (1961)"] {
            assert!(page.body.contains(row), "{}", page.body);
        }
        let style = page.body.split('"').find(|part| part.starts_with("/static/")).unwrap();
        let style = get(port, style).unwrap();
        assert_eq!(style.status, 200);
        assert!(style.head.to_lowercase().contains("max-age=315360000"), "{}", style.head);

        let inner = dyno_port(t, &app, "web.1");
        let marker = format!("0.0.0.0:{inner}");
        assert_ne!(processes_with(&marker), Vec::<u32>::new());
        dyno.signal(Signal::INT);
        let ended = dyno.wait(Duration::from_secs(35));
        assert_eq!(ended.code(), 130, "{}{}", ended.stdout, ended.stderr);
        assert!(get(port, "/").is_err(), "something still serves on {port}");
        assert_eq!(processes_with(&marker), Vec::<u32>::new());
    }
}

as_each_user! {
    /// The process knows its port and that it is nobody special.
    fn port_and_user(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "--port", &port.to_string(), "-e", "GREETER=a test"])
            .start();
        let greeting = wait_for_http(port, "/", || reason(&mut dyno));
        assert_eq!(greeting.body, "Hello from a test\n");
        let process: serde_json::Value =
            serde_json::from_str(&get(port, "/process").unwrap().body).unwrap();
        // Its own, behind the router's.
        assert_eq!(process["port"], dyno_port(t, &app, "web.1").to_string());
        assert_eq!(process["uid"], 1000);
    }
}

as_each_user! {
    /// A dyno does not outlive a slugc that has no time to say goodbye.
    fn killed(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "web", "--port", &port.to_string()])
            .start();
        wait_for_http(port, "/", || reason(&mut dyno));
        dyno.signal(Signal::KILL);
        // Its output ends when the last process that holds it has ended.
        assert_eq!(dyno.wait(Duration::from_secs(10)).code(), 137);
        assert!(get(port, "/").is_err(), "something still serves on {port}");
    }
}

as_each_user! {
    /// Without a type, the only process is the one; it has no port, and SIGTERM lets it finish.
    fn worker(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let mut dyno = t.slugc_in(&app).arg("launch").start();
        dyno.wait_for("waiting for work, port none");
        dyno.wait_for("worked");
        dyno.signal(Signal::TERM);
        let ended = dyno.wait(Duration::from_secs(35));
        assert_eq!(ended.code(), 143);
        ended.says(&["stopped by SIGTERM"]);
    }
}

as_each_user! {
    fn unknown_type(t: &TestContext) {
        let app = t.fixture("worker-only");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let refused = t.slugc_in(&app).args(["launch", "web"]).run();
        assert_ne!(refused.code(), 0);
        refused.says(&["web", "worker"]);
    }
}

as_each_user! {
    fn taken_port(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let refused = t.slugc_in(&app).args(["launch", "web", "--port", &port]).run();
        assert_ne!(refused.code(), 0);
        refused.says(&[&port]);
    }
}

//! `slugc stack`, and what is in the stack.

use crate::{BINARY, as_each_user, context};
use std::collections::BTreeSet;
use std::time::Duration;
use test_support::{Need, Signal, TestContext, Who, requires};

/// Every digest that a document mentions.
fn digests(value: &serde_json::Value, into: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) if text.starts_with("sha256:") => {
            into.insert(text.clone());
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| digests(item, into)),
        serde_json::Value::Object(fields) => fields.values().for_each(|item| digests(item, into)),
        _ => {}
    }
}

#[test]
fn same_lock_same_layers_as_root_and_as_a_plain_user() {
    requires!(Need::Root, Need::PlainUser);
    let seen: Vec<BTreeSet<String>> = [Who::Root, Who::Plain]
        .into_iter()
        .filter_map(context)
        .map(|t| {
            let shown = t
                .slugc()
                .args(["stack", "inspect", "--output", "json"])
                .run()
                .success()
                .json();
            let mut found = BTreeSet::new();
            digests(&shown, &mut found);
            found
        })
        .collect();
    assert!(seen[0].len() >= 2, "{seen:?}");
    assert_eq!(seen[0], seen[1]);
}

as_each_user! {
    fn list_and_inspect(t: &TestContext) {
        t.slugc().args(["stack", "list"]).run().success().says(&["slug-13"]);
        t.slugc()
            .args(["stack", "inspect"])
            .run()
            .success()
            .says(&["python3", "build-essential"]);
        t.slugc().args(["stack", "inspect", "no-such-stack"]).run().failure(3).says(&["no-such-stack"]);
    }
}

as_each_user! {
    /// The real dpkg and apt find nothing amiss in the root, and Python works there.
    fn the_root_is_a_debian(t: &TestContext) {
        let app = t.empty_app("debian");
        app.write("Procfile", "web: true\n");
        app.write("requirements.txt", "");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let run = |words: &[&str]| t.slugc_in(&app).args(["run", "--"]).args(words).run().success();
        let listed = run(&["dpkg", "-l"]);
        for package in ["python3 ", "python3-venv", "ca-certificates", "tzdata", "bash "] {
            assert!(
                listed.stdout.lines().any(|line| line.starts_with("ii") && line.contains(package)),
                "{package} in {}",
                listed.stdout
            );
        }
        let unfinished: Vec<&str> = listed
            .stdout
            .lines()
            .skip_while(|line| !line.starts_with("+++"))
            .skip(1)
            .filter(|line| !line.starts_with("ii"))
            .collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
        run(&["dpkg", "--audit"]);
        run(&["apt-get", "check", "-o", "Debug::NoLocking=1"]);
        run(&["python3", "-c", "import ssl, sqlite3, zoneinfo; zoneinfo.ZoneInfo('Europe/Vienna')"]);
        let user = run(&["sh", "-c", "getent passwd 1000; test -w ~ && echo home is mine"]);
        user.says(&["home is mine"]);
    }
}

fn remove_and_make_again(t: &TestContext) {
    let app = t.fixture("worker-only");
    let digest = t
        .slugc_in(&app)
        .args(["build", "."])
        .run()
        .success()
        .digest();
    // Nobody takes it away from under dynos that run.
    let mut worker = t.slugc_in(&app).args(["launch", "worker"]).start();
    worker.wait_for("to up");
    for words in [&["stack", "rm"][..], &["stack", "create", "--force"]] {
        let refused = t.slugc().args(words).run().failure(3);
        refused.says(&[app.name(), "runs on the stack slug-13", "slugc ps:stop"]);
    }
    worker.signal(Signal::INT);
    assert_eq!(worker.wait(Duration::from_secs(40)).code(), 130);
    t.slugc().args(["stack", "rm"]).run().success();
    t.slugc()
        .args(["stack", "list"])
        .run()
        .success()
        .never_says(&["slug-13"]);
    // The next build makes the stack first, and it is the same stack.
    let again = t
        .slugc_in(&app)
        .args(["build", ".", "--refresh"])
        .run()
        .success();
    assert_eq!(again.digest(), digest);
    t.slugc().args(["stack", "create"]).run().success();
    t.slugc()
        .args(["stack", "list"])
        .run()
        .success()
        .says(&["slug-13"]);
}

#[test]
fn remove_and_make_again_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        remove_and_make_again(&t);
    }
}

#[test]
fn remove_and_make_again_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        remove_and_make_again(&t);
    }
}

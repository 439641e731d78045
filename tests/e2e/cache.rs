//! `slugc cache`, in stores of its own: the shared one is in use.

use crate::BINARY;
use test_support::{TestContext, Who};

fn check(t: &TestContext) {
    let kept = t.fixture("worker-only");
    let forgotten = t.fixture("flask-gunicorn");
    for app in [&kept, &forgotten] {
        t.slugc_in(app).args(["build", "."]).run().success();
    }
    let usage = || {
        t.slugc()
            .args(["cache", "--output", "json"])
            .run()
            .success()
            .json()
    };
    let before = usage();
    assert!(before["apps"][kept.name()].as_u64() > Some(0), "{before}");
    assert!(
        before["apps"][forgotten.name()].as_u64() > Some(0),
        "{before}"
    );

    assert!(before["tools"].as_u64() > Some(0), "{before}");

    // What an older build left behind.
    kept.append("worker.py", "\n# A line more.\n");
    t.slugc_in(&kept).args(["build", "."]).run().success();
    assert!(usage()["unused_blobs"].as_u64() > Some(0), "{}", usage());

    t.slugc()
        .args(["cache", "prune", "-a", forgotten.name()])
        .run()
        .success()
        .says(&["Removed"]);
    let after = usage();
    assert_eq!(after["unused_blobs"], 0);
    assert!(after["apps"].get(forgotten.name()).is_none(), "{after}");
    assert!(
        after["blobs"].as_u64() < before["blobs"].as_u64(),
        "{before} {after}"
    );

    // What is needed is still there.
    t.slugc_in(&kept)
        .args(["run", "python", "-c", "import schedule"])
        .run()
        .success();
    t.slugc_in(&kept)
        .args(["build", "."])
        .run()
        .success()
        .says(&["up to date"]);
    t.slugc_in(&forgotten)
        .args(["run", "true"])
        .run()
        .failure(3);
    t.slugc_in(&forgotten).args(["build", "."]).run().success();
    t.slugc_in(&forgotten)
        .args(["run", "report"])
        .run()
        .success();
    t.slugc()
        .args(["cache", "prune", "-a", "never-there"])
        .run()
        .failure(3)
        .says(&["never-there"]);
}

#[test]
fn show_and_prune_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        check(&t);
    }
}

#[test]
fn show_and_prune_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        check(&t);
    }
}

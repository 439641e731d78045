//! Attachments of add-ons: refused, half done, taken away from dynos that run.

use crate::addons::Addons;
use crate::as_each_user;
use rustix::fs::{FlockOperation, flock};
use std::fs;
use std::time::{Duration, Instant};
use test_support::{Signal, TestContext};

as_each_user! {
    /// What the release command refuses leaves add-ons as they were, and can be done once it agrees.
    fn refused_by_the_release_command(t: &TestContext) {
        let app = t.fixture("procfile-duplicates");
        app.write("Procfile", "web: echo serving\nrelease: exec sh release.sh\n");
        app.write(
            "release.sh",
            "test -z \"$PINNED\" || test \"$CACHE_URL$DATABASE_URL\" = \"$PINNED\"\n",
        );
        let other = t.empty_app("other");
        let (addons, of_other) = (Addons::of(t, &app), Addons::of(t, &other));
        let slugc = |line: &str| t.slugc_in(&app).args(line.split(' ')).run();
        let attachments = || {
            let mut all = Vec::new();
            for addon in of_other.listed().into_iter().chain(addons.listed()) {
                all.extend(addon["attachments"].as_array().cloned().unwrap_or_default());
            }
            all
        };
        let first = addons.create("postgres");
        let second = addons.create("postgres");
        let cache = of_other.create("redis");
        slugc("build .").success();
        let url = slugc("config:get DATABASE_URL").success().stdout;
        slugc(&format!("config:set PINNED={}", url.trim_end())).success();
        let before = attachments();
        let config = slugc("config -s").success().stdout;
        for line in [format!("pg:promote {second}"), format!("addons:attach {cache} --as CACHE")] {
            slugc(&line).failure(7);
            assert_eq!(attachments(), before, "{line}");
            assert_eq!(slugc("config -s").success().stdout, config, "{line}");
        }
        slugc("pg:info").success().says(&[&first]);

        slugc("config:unset PINNED").success();
        slugc(&format!("pg:promote {second}")).success();
        slugc("pg:info").success().says(&[&second]);
        slugc(&format!("pg:promote {second}")).failure(2).says(&["already"]);
        let lines = slugc("config -s").success().stdout;
        assert_eq!(lines.matches(url.trim_end()).count(), 1, "it keeps its colour's name");
        slugc(&format!("addons:attach {cache} --as CACHE")).success();
        slugc(&format!("addons:attach {cache} --as CACHE")).failure(2).says(&["--as NAME"]);
    }
}

as_each_user! {
    /// A command that was killed after it had noted an attachment is completed by the same again.
    fn half_done(t: &TestContext) {
        let (shop, blog) = (t.empty_app("shop"), t.empty_app("blog"));
        let addons = Addons::of(t, &shop);
        let name = addons.create("redis");
        let record = t.store().join("addons").join(&name).join("addon.json");
        let mut noted: serde_json::Value =
            serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        let half = serde_json::json!({"app": blog.name(), "name": "REDIS"});
        noted["attachments"].as_array_mut().unwrap().push(half);
        fs::write(&record, noted.to_string()).unwrap();
        t.slugc_in(&blog)
            .args(["addons:attach", &name])
            .run()
            .success()
            .says(&["REDIS_URL"]);
        let now: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        assert_eq!(now, noted);
        let ping = t.slugc_in(&blog).args(["redis:cli", "--", "ping"]).run();
        ping.success().says(&["PONG"]);
    }
}

/// Whether nobody uses an add-on any more: its server may stop.
fn is_unused(t: &TestContext, name: &str) -> bool {
    let lock = t.store().join("addons").join(name).join("use.lock");
    let lock = fs::File::open(lock).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
}

as_each_user! {
    /// Running dynos let go of an add-on that is detached, and go on.
    fn detached_from_dynos_that_run(t: &TestContext) {
        let (shop, blog) = (t.empty_app("shop"), t.fixture("procfile-duplicates"));
        let addons = Addons::of(t, &shop);
        let name = addons.create("redis");
        blog.write("Procfile", "worker: echo \"cache: $CACHE_URL.\" && exec sleep 1000\n");
        t.slugc_in(&blog).args(["build", "."]).run().success();
        t.slugc_in(&blog).args(["addons:attach", &name, "--as", "CACHE"]).run().success();
        let mut worker = t.slugc_in(&blog).args(["launch", "worker"]).start();
        worker.wait_for("cache: redis://");
        assert!(!is_unused(t, &name));
        t.slugc_in(&blog).args(["addons:detach", "CACHE"]).run().success();
        worker.wait_for("cache: .");
        let start = Instant::now();
        while !is_unused(t, &name) {
            assert!(start.elapsed() < Duration::from_secs(40), "{}", worker.printed());
            std::thread::sleep(Duration::from_millis(50));
        }
        worker.signal(Signal::INT);
        assert_eq!(worker.wait(Duration::from_secs(40)).code(), 130);
    }
}

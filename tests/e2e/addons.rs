//! Add-ons: real servers, used by real apps, killed and found again.

use crate::{BINARY, as_each_user};
use rustix::process::{Pid, Signal as Kill, kill_process};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use test_support::{
    App, Running, Signal, TestContext, Who, free_port, get, processes_with, wait_for_http,
};

/// Destroys an app's add-ons at the end of a test, however it ends.
pub(crate) struct Addons<'a> {
    t: &'a TestContext,
    app: &'a App,
}

impl<'a> Addons<'a> {
    pub(crate) fn of(t: &'a TestContext, app: &'a App) -> Self {
        Self { t, app }
    }

    pub(crate) fn create(&self, service: &str) -> String {
        let made = self
            .t
            .slugc_in(self.app)
            .args(["addons:create", service])
            .run()
            .success();
        let line = made
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix("Created "));
        line.and_then(|line| line.split(' ').next())
            .unwrap()
            .to_owned()
    }

    pub(crate) fn listed(&self) -> Vec<serde_json::Value> {
        let listed = self.t.slugc_in(self.app).args(["addons", "--json"]).run();
        listed.json().as_array().cloned().unwrap_or_default()
    }

    /// SIGKILL for the process that an add-on's server runs under, and so for all of the server.
    fn kill(&self, name: &str) {
        let lock = self
            .t
            .store()
            .join("addons")
            .join(name)
            .join("supervisor.lock");
        let pid: i32 = fs::read_to_string(lock).unwrap().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Kill::KILL).unwrap();
    }
}

impl Drop for Addons<'_> {
    fn drop(&mut self) {
        for addon in self.listed() {
            let name = addon["name"].as_str().unwrap_or_default();
            let app = addon["app"].as_str().unwrap_or_default();
            drop(
                self.t
                    .slugc_in(self.app)
                    .args(["addons:destroy", name, "--force", "--confirm", app])
                    .run(),
            );
        }
    }
}

fn reason(dyno: &mut Running) -> Option<String> {
    dyno.has_ended().then(|| dyno.printed())
}

/// Asks again until the answer contains a text.
fn until(text: &str, mut ask: impl FnMut() -> String) {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.contains(text) {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no {text:?} in {answer:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

as_each_user! {
    /// Migrations in the release phase, an encrypted connection, and rows that outlive a SIGKILL of
    /// everything.
    fn django_on_postgres(t: &TestContext) {
        let app = t.fixture("django-postgres");
        let addons = Addons::of(t, &app);
        let name = addons.create("heroku-postgresql:mini");
        let built = t.slugc_in(&app).args(["build", "."]).run().success();
        built.says(&["Applying signatures.0001_initial... OK"]);

        let port = free_port();
        let mut dyno = t
            .slugc_in(&app)
            .args(["launch", "web", "--port", &port.to_string()])
            .start();
        wait_for_http(port, "/", || reason(&mut dyno));
        assert_eq!(get(port, "/sign/Ada").unwrap().status, 200);
        let connection: serde_json::Value =
            serde_json::from_str(&get(port, "/connection").unwrap().body).unwrap();
        assert_eq!(connection["encrypted"], true);
        assert!(connection["extensions"].to_string().contains("pgcrypto"), "{connection}");

        dyno.signal(Signal::KILL);
        addons.kill(&name);
        dyno.wait(Duration::from_secs(20));
        let rows = t
            .slugc_in(&app)
            .args(["pg:psql", "-c", "SELECT name FROM signatures_signature"])
            .run()
            .success();
        rows.says(&["Ada"]);
    }
}

as_each_user! {
    /// Backups, reset, psql's exit code, contrib, and TLS on demand.
    fn postgres_by_hand(t: &TestContext) {
        let app = t.empty_app("by-hand");
        let addons = Addons::of(t, &app);
        let name = addons.create("postgres");
        let psql = |sql: &str| t.slugc_in(&app).args(["pg:psql", "-c", sql]).run();
        psql("CREATE TABLE planets AS SELECT 'Solaris' AS name").success();
        psql("CREATE EXTENSION postgres_fdw").success();
        assert_ne!(psql("SELECT 1 / 0").code(), 0);
        t.slugc_in(&app).args(["pg:info"]).run().success().says(&["PG Version:", "17.", &name]);

        t.slugc_in(&app).args(["pg:backups:capture"]).run().success().says(&["b001"]);
        t.slugc_in(&app).args(["pg:reset"]).run().failure(2).says(&["--confirm"]);
        t.slugc_in(&app).args(["pg:reset", "--confirm", app.name()]).run().success();
        psql("SELECT name FROM planets").failure(1);
        t.slugc_in(&app)
            .args(["pg:backups:restore", "b001", "--confirm", app.name()])
            .run()
            .success();
        psql("SELECT name FROM planets").success().says(&["Solaris"]);
        t.slugc_in(&app).args(["pg:backups:download"]).run().success();
        assert!(fs::read(app.path().join("latest.dump")).unwrap().starts_with(b"PGDMP"));

        // \i and \copy find files of the current folder.
        app.write("count.sql", "\\copy planets from 'more.csv'\nSELECT count(*) FROM planets;\n");
        app.write("more.csv", "Arrakis\nUrras\n");
        let counted = t.slugc_in(&app).args(["pg:psql", "-f", "count.sql"]).run().success();
        counted.says(&["3"]);
    }
}

as_each_user! {
    /// A rollback leaves add-ons as they are, and nothing else changes their config vars in passing.
    fn config_vars_stay_with_their_addons(t: &TestContext) {
        let app = t.empty_app("rolled-back");
        let addons = Addons::of(t, &app);
        let slugc = |line: &str| t.slugc_in(&app).args(line.split(' ')).run();
        slugc("config:set STEP=one").success();
        let name = addons.create("redis");
        slugc("config:set STEP=two").success();
        let url = slugc("config:get REDIS_URL").success().stdout;

        slugc("rollback v1").success();
        assert_eq!(slugc("config:get STEP").success().stdout, "one\n");
        assert_eq!(slugc("config:get REDIS_URL").success().stdout, url);
        for line in ["config:set REDIS_URL=redis://elsewhere", "config:unset REDIS_URL"] {
            slugc(line).failure(3).says(&["REDIS_URL belongs to an add-on", "addons:detach"]);
        }
        assert_eq!(slugc("config:get REDIS_URL").success().stdout, url);
        slugc(&format!("cache prune -a {}", app.name())).failure(3).says(&["has add-ons"]);

        slugc(&format!("addons:destroy {name} --confirm {}", app.name())).success();
        slugc("rollback v3").success();
        assert_eq!(slugc("config:get STEP").success().stdout, "two\n");
        slugc("config").success().never_says(&["REDIS_URL"]);
    }
}

as_each_user! {
    /// Two apps have a database each, one of them two; who destroys what is asked for a
    /// confirmation.
    fn several(t: &TestContext) {
        let (shop, blog) = (t.empty_app("shop"), t.empty_app("blog"));
        let (of_shop, of_blog) = (Addons::of(t, &shop), Addons::of(t, &blog));
        let first = of_shop.create("postgres");
        let second = of_shop.create("postgres");
        let other = of_blog.create("postgres");
        let psql = |app: &App, sql: &str| t.slugc_in(app).args(["pg:psql", "-c", sql]).run();
        psql(&shop, "CREATE TABLE of_shop()").success();
        psql(&blog, "SELECT * FROM of_shop").failure(1);

        let listed = of_shop.listed();
        assert_eq!(listed.len(), 2);
        assert_ne!(listed[0]["port"], listed[1]["port"]);
        t.slugc_in(&shop).args(["pg:promote", &second]).run().success();
        psql(&shop, "SELECT * FROM of_shop").failure(1);
        t.slugc_in(&shop)
            .args(["pg:psql", &first, "-c", "SELECT * FROM of_shop"])
            .run()
            .success();

        t.slugc_in(&shop)
            .args(["addons:attach", &other, "--as", "BLOG"])
            .run()
            .success()
            .says(&["BLOG_URL"]);
        let config = t.slugc_in(&shop).args(["config:get", "BLOG_URL"]).run().success();
        let of_blog_url = t.slugc_in(&blog).args(["config:get", "DATABASE_URL"]).run().success();
        assert_eq!(config.stdout, of_blog_url.stdout);

        t.slugc_in(&blog)
            .args(["addons:destroy", &other, "--confirm", blog.name()])
            .run()
            .failure(2)
            .says(&[shop.name()]);
        t.slugc_in(&shop).args(["addons:detach", "BLOG"]).run().success();
        t.slugc_in(&shop).args(["config:get", "BLOG_URL"]).run().never_says(&["postgres://"]);
        for wrong in [vec![], vec!["--confirm", "somebody"]] {
            t.slugc_in(&blog)
                .args(["addons:destroy", &other])
                .args(wrong)
                .run()
                .failure(2)
                .says(&["--confirm", blog.name()]);
        }
        psql(&blog, "SELECT 1").success();
        t.slugc_in(&blog)
            .args(["addons:destroy", &other, "--confirm", blog.name()])
            .run()
            .success();
        assert!(!t.store().join("addons").join(&other).exists());
        assert_eq!(processes_with(&other), Vec::<u32>::new());
    }
}

as_each_user! {
    fn wrong_words(t: &TestContext) {
        let app = t.empty_app("wrong");
        let refused = |words: &[&str], code: i32, says: &[&str]| {
            t.slugc_in(&app).args(words).run().failure(code).says(says);
        };
        refused(&["addons:create", "postgers"], 2, &["did you mean postgres?"]);
        refused(&["addons:create", "redis:mimi"], 2, &["did you mean mini?"]);
        refused(&["addons:info", "postgresql-flat-1"], 3, &["no add-on"]);
        refused(&["pg:psql"], 3, &["addons:create postgres"]);
        refused(&["addons:attach", "ldap://corp"], 2, &["--as"]);
        t.slugc_in(&app)
            .args(["addons:attach", "rediss://:secret@cache.corp:6379"])
            .run()
            .success()
            .says(&["REDIS_URL"])
            .never_says(&["secret"]);
        refused(&["addons:attach", "redis://other"], 2, &["REDIS_URL"]);
    }
}

as_each_user! {
    /// An RQ worker does what another dyno left in Redis, and its results outlive a SIGKILL.
    fn worker_on_redis(t: &TestContext) {
        let app = t.fixture("worker-redis");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let addons = Addons::of(t, &app);
        let name = addons.create("heroku-redis");
        let mut worker = t.slugc_in(&app).args(["launch", "worker"]).start();
        t.slugc_in(&app).args(["run", "--", "python", "enqueue.py", "Ada", "Grace"]).run().success();
        let greetings = || {
            t.slugc_in(&app)
                .args(["redis:cli", "--", "lrange", "greetings", "0", "-1"])
                .run()
                .success()
                .stdout
        };
        until("Hello, Grace", || match reason(&mut worker) {
            Some(printed) => panic!("{printed}"),
            None => greetings(),
        });
        worker.signal(Signal::KILL);
        addons.kill(&name);
        worker.wait(Duration::from_secs(20));
        assert!(greetings().contains("Hello, Ada"));
    }
}

as_each_user! {
    /// A port that somebody else has taken meanwhile: he is named, and then it works again.
    fn taken_port(t: &TestContext) {
        let app = t.empty_app("taken");
        let addons = Addons::of(t, &app);
        let name = addons.create("redis");
        let port = u16::try_from(addons.listed()[0]["port"].as_u64().unwrap()).unwrap();
        t.slugc_in(&app).args(["addons:stop", &name]).run().success();
        let lock = t.store().join("addons").join(&name).join("supervisor.lock");
        assert_eq!(fs::read_to_string(lock).unwrap(), "", "a pid that may be another's soon");
        let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let refused = t.slugc_in(&app).args(["redis:cli", "--", "ping"]).run().failure(1);
        refused.says(&[&port.to_string(), "taken by"]);
        drop(taken);
        t.slugc_in(&app).args(["redis:cli", "--", "ping"]).run().success().says(&["PONG"]);
    }
}

as_each_user! {
    /// A transaction reaches a consumer group, and its records outlive a SIGKILL.
    fn events_on_kafka(t: &TestContext) {
        let app = t.fixture("kafka-events");
        t.slugc_in(&app).args(["build", "."]).run().success();
        let addons = Addons::of(t, &app);
        let name = addons.create("heroku-kafka");
        let topic = format!("{name}.events");
        t.slugc_in(&app)
            .args(["kafka:topics:create", &topic, "--partitions", "1"])
            .run()
            .success();
        t.slugc_in(&app).args(["kafka:topics"]).run().success().says(&[&topic]);
        // Whoever has no certificate is sent away.
        let script = "from confluent_kafka.admin import AdminClient\n\
            import os\n\
            url = os.environ['KAFKA_URL'].replace('kafka+ssl://', '')\n\
            trusted = os.environ['KAFKA_TRUSTED_CERT']\n\
            for how in {}, {'security.protocol': 'ssl', 'ssl.ca.pem': trusted}:\n\
            \x20   try:\n\
            \x20       AdminClient({'bootstrap.servers': url, **how}).list_topics(timeout=3)\n\
            \x20       print('came in')\n\
            \x20   except Exception:\n\
            \x20       print('sent away')\n";
        let strangers = t.slugc_in(&app).args(["run", "--", "python", "-c", script]).run().success();
        assert_eq!(strangers.stdout, "sent away\nsent away\n");
        let mut consumer = t.slugc_in(&app).args(["launch", "consumer"]).start();
        t.slugc_in(&app)
            .args(["run", "--", "python", "produce.py", "one", "two"])
            .run()
            .success()
            .says(&["committed"]);
        consumer.wait_for("read two");
        consumer.signal(Signal::KILL);
        addons.kill(&name);
        consumer.wait(Duration::from_secs(20));
        t.slugc_in(&app)
            .args(["kafka:topics:tail", &topic, "--from-beginning", "--max-messages", "2"])
            .run()
            .success()
            .says(&["one", "two"]);
        consumer_groups(t, &app, &name, &topic);
    }
}

/// A server that is still being set up can be stopped.
fn stopped_while_it_is_set_up(t: &TestContext) {
    let app = t.empty_app("stuck");
    let addons = Addons::of(t, &app);
    let first = addons.create("redis");
    let folder = |name: &str| t.store().join("addons").join(name);
    // The setup writes a file with cat, which takes its time.
    let root = fs::read_to_string(folder(&first).join("root")).unwrap();
    let cat = t.store().join("roots").join(root).join("usr/bin/cat");
    fs::remove_file(&cat).unwrap();
    fs::write(&cat, "#!/bin/sh\nexec sleep 1200\n").unwrap();
    fs::set_permissions(&cat, fs::Permissions::from_mode(0o755)).unwrap();

    let name = format!("{}-stuck", app.name());
    let mut creation = t
        .slugc_in(&app)
        .args(["addons:create", "redis", "--name", &name])
        .start();
    let start = Instant::now();
    while !creation.has_ended() {
        if folder(&name).join("data.staged").exists() {
            // Whoever waits for it starts it again, twice.
            let stopped = t.slugc_in(&app).args(["addons:stop", &name]).run();
            assert!(
                stopped.code() == 0 || creation.has_ended(),
                "{}",
                stopped.stderr
            );
        }
        assert!(
            start.elapsed() < Duration::from_mins(5),
            "{}",
            creation.printed()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    creation
        .wait(Duration::from_secs(20))
        .failure(1)
        .says(&["could not be started"]);
    assert!(!folder(&name).exists());
    assert_eq!(processes_with(&name), Vec::<u32>::new());
}

#[test]
fn stopped_while_it_is_set_up_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        stopped_while_it_is_set_up(&t);
    }
}

#[test]
fn stopped_while_it_is_set_up_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        stopped_while_it_is_set_up(&t);
    }
}

/// The group of the fixture's consumer, and what may be changed of its topic.
fn consumer_groups(t: &TestContext, app: &App, name: &str, topic: &str) {
    let slugc = |words: &[&str]| t.slugc_in(app).args(words).run();
    slugc(&["kafka:wait"]).success().says(&["is available"]);
    slugc(&["kafka:info"])
        .success()
        .says(&[&format!("=== {name}"), "running"]);
    let groups = slugc(&["kafka:consumer-groups"]).success();
    let group = groups
        .stdout
        .lines()
        .find(|line| line.ends_with("readers"))
        .unwrap();
    slugc(&["kafka:consumer-groups:create", "other"])
        .success()
        .says(&["Nothing to do"]);
    slugc(&["kafka:consumer-groups:info", group])
        .success()
        .says(&[topic, "CURRENT-OFFSET"]);
    slugc(&["kafka:consumer-groups:destroy", group])
        .failure(2)
        .says(&["its consumers begin anew", "--confirm"]);
    // The killed consumer is a member until its session is over.
    let start = Instant::now();
    loop {
        let gone = slugc(&[
            "kafka:consumer-groups:destroy",
            group,
            "--confirm",
            app.name(),
        ]);
        if gone.code() == 0 && !slugc(&["kafka:consumer-groups"]).stdout.contains(group) {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "{} {}",
            gone.stdout,
            gone.stderr
        );
    }
    slugc(&["kafka:topics:retention-time", topic, "36h"]).success();
    slugc(&["kafka:topics:compaction", topic, "enable"]).success();
    slugc(&["kafka:topics:info", topic])
        .success()
        .says(&["retention.ms=129600000", "cleanup.policy=compact"]);
    slugc(&["kafka:topics:retention-time", topic, "soon"])
        .failure(2)
        .says(&["\"soon\" is no time"]);
    slugc(&["kafka:topics:compaction", topic, "on"])
        .failure(2)
        .says(&["neither enable nor disable"]);
}

fn prune_keeps_what_servers_need(t: &TestContext) {
    let app = t.empty_app("pruned");
    let addons = Addons::of(t, &app);
    let name = addons.create("redis");
    let ping = || t.slugc_in(&app).args(["redis:cli", "--", "ping"]).run();
    t.slugc().args(["cache", "prune"]).run().success();
    ping().success();
    let in_use = t.slugc().args(["stack", "rm", "addon-redis"]).run();
    in_use.failure(3).says(&[&name, "slugc addons:stop"]);
    t.slugc_in(&app)
        .args(["addons:stop", &name])
        .run()
        .success();
    t.slugc().args(["cache", "prune"]).run().success();
    // Nothing is fetched: the root is still there.
    let again = t
        .slugc_in(&app)
        .args(["redis:cli", "--", "ping"])
        .run()
        .success();
    again.never_says(&["Making"]);
    t.slugc()
        .args(["stack", "list"])
        .run()
        .success()
        .never_says(&["addon-"]);
    t.slugc_in(&app)
        .args(["addons:destroy", &name, "--confirm", app.name()])
        .run()
        .success();
    t.slugc().args(["cache", "prune"]).run().success();
    assert!(!t.store().join("stacks/addon-redis").exists());
}

#[test]
fn prune_keeps_what_servers_need_as_root() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Root) {
        prune_keeps_what_servers_need(&t);
    }
}

#[test]
fn prune_keeps_what_servers_need_as_plain_user() {
    if let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) {
        prune_keeps_what_servers_need(&t);
    }
}

//! Apps as a whole: listed, set up by app.json, destroyed.

use crate::as_each_user;
use crate::ps::Background;
use test_support::{TestContext, get};

const APP_JSON: &str = r#"{
  "name": "Greetings",
  "env": {
    "GREETER": "app.json",
    "SECRET_KEY": { "description": "signs cookies", "generator": "secret" },
    "MAIL_HOST": { "description": "where mail goes" },
    "OPTIONAL": { "required": false }
  },
  "formation": { "web": { "quantity": 2, "size": "standard-1x" }, "report": { "quantity": 0 } },
  "scripts": { "postdeploy": "echo seeding for $GREETER && test $MAIL_HOST != broken" },
  "buildpacks": [{ "url": "heroku/python" }]
}"#;

as_each_user! {
    fn set_up(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        slugc(&["apps:setup"]).failure(3).says(&["there is no app.json in ."]);
        app.write("app.json", "{\n  \"env\": { \"GREETER\": 7 }\n}\n");
        slugc(&["apps:setup"]).failure(3).says(&["error: app.json:2:23: invalid type: integer `7`"]);
        app.write("app.json", APP_JSON);
        slugc(&["apps:setup"])
            .failure(3)
            .says(&["MAIL_HOST (where mail goes)", "slugc config:set -a ", "MAIL_HOST=…"]);
        slugc(&["apps:setup", "-e", "MAIL_HOST=broken"])
            .failure(1)
            .says(&["app.json's buildpacks has no effect", "seeding for app.json", "postdeploy script failed with exit code 1"]);
        let secret = slugc(&["config:get", "SECRET_KEY"]).success().stdout;
        assert_eq!(secret.trim().len(), 64);
        // Done again, it goes on where it was.
        slugc(&["config:set", "MAIL_HOST=mail.example"]).success();
        slugc(&["apps:setup"])
            .success()
            .says(&["seeding for app.json", "is set up; slugc launch -a "])
            .never_says(&["Setting GREETER", "Setting SECRET_KEY", &secret]);
        assert_eq!(slugc(&["config:get", "SECRET_KEY"]).success().stdout, secret);
        let formation = slugc(&["ps:scale"]).success();
        let words: Vec<&str> = formation.stdout.split_whitespace().collect();
        assert_eq!(words, ["report=0", "web=2:Standard-1X"]);

        // Nothing of it happens twice.
        let shop = Background::start(t, &app, &[]);
        shop.wait_for(&["web.1 up", "web.2 up"]);
        assert_eq!(get(shop.port, "/").unwrap().body, "Hello from app.json\n");
        let status = shop.slugc(&["status"]).success();
        status.says(&[app.name(), "=== web (Standard-1X): gunicorn", "web.2: up"]);

        let listed = slugc(&["apps", "--json"]).success().json();
        let own = listed.as_array().unwrap().iter().find(|it| it["name"] == app.name()).unwrap();
        assert_eq!(own["running"], true);
        slugc(&["apps"]).success().says(&[&format!("{} (running)", app.name())]);
        slugc(&["apps:info"]).success().says(&["http://localhost:"]);
        slugc(&["apps:create", app.name()]).failure(2).says(&["already"]);
        slugc(&["apps:destroy"]).failure(2).says(&["this destroys the app", "--confirm"]);
        slugc(&["apps:destroy", "--confirm", "other"]).failure(2).says(&["does not confirm it"]);
        slugc(&["apps:destroy", "--confirm", app.name()]).success().says(&["Destroying ⬢ "]);
        assert!(get(shop.port, "/").is_err());
        assert!(!t.store().join("apps").join(app.name()).exists());
        slugc(&["status"]).failure(3).says(&["there is no app"]);
        // For the guard, which stops what it started.
        slugc(&["apps:create"]).success().says(&["Creating ⬢ "]);
    }
}

as_each_user! {
    /// An app that was built without is set up by its first launch, add-ons included.
    fn first_launch(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        slugc(&["build", "."]).success();
        app.write(
            "app.json",
            r#"{ "env": { "GREETER": "launch", "REDIS_URL": {} },
                 "addons": ["heroku-redis:mini", "papertrail:choklad"],
                 "scripts": { "postdeploy": { "command": "echo $REDIS_URL" } } }"#,
        );
        let started = t.slugc_in(&app).args(["launch", "-d", "--port", "0"]).run().success();
        started.says(&["add-on papertrail:choklad is left out", "Created ", "redis://:", "runs in the background"]);
        let status = slugc(&["status", "--json"]).success().json();
        assert_eq!(status["addons"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(status["addons"][0]["running"], true, "{status}");
        assert_eq!(status["addons"][0]["config_vars"][0], "REDIS_URL", "{status}");
        slugc(&["status"]).success().says(&["Add-on:", "(heroku-redis:mini), REDIS_URL"]);
        slugc(&["ps:stop"]).success();
        let again = t.slugc_in(&app).args(["launch", "-d", "--port", "0"]).run().success();
        again.never_says(&["Setting up", "redis://"]);
        let addon = status["addons"][0]["name"].as_str().unwrap();
        slugc(&["apps:destroy", "--confirm", app.name()])
            .success()
            .says(&[&format!("Destroyed {addon}"), "Destroying ⬢ "]);
        assert!(!t.store().join("addons").join(addon).exists());
    }
}

as_each_user! {
    /// The first release lacked what app.json gives: the launch that sets the app up makes up for it.
    fn launch_after_a_failed_release(t: &TestContext) {
        let app = t.fixture("flask-gunicorn");
        let slugc = |words: &[&str]| t.slugc_in(&app).args(words).run();
        app.append("Procfile", "\nrelease: test -n \"$GREETER\"\n");
        slugc(&["build", "."]).failure(7).says(&["the release command of v1 failed with exit code 1"]);
        slugc(&["launch"]).failure(3).says(&["no release of ", "slugc releases -a "]);
        app.write(
            "app.json",
            r#"{ "env": { "GREETER": "launch" },
                 "formation": { "web": { "quantity": 1, "size": "free" } },
                 "scripts": { "postdeploy": "echo seeding" } }"#,
        );
        t.slugc_in(&app)
            .args(["launch", "-d", "--port", "0"])
            .run()
            .success()
            .says(&["app.json's size of web has no effect", "Running release command", "seeding"]);
        slugc(&["ps:stop"]).success();
        slugc(&["releases"]).success().says(&["v3", "Deploy "]);
        // The script at the end runs once.
        slugc(&["apps:setup"]).success().says(&["is set up"]).never_says(&["seeding"]);
    }
}

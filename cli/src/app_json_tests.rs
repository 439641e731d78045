#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn parse(text: &str) -> Result<AppJson, Failure> {
    AppJson::parse(text.as_bytes(), Path::new("app.json"))
}

#[test]
fn short_and_long() {
    let app = parse(
        r#"{
  "name": "Shop",
  "env": {
    "LANG": "en",
    "SECRET_KEY": { "description": "signs cookies", "generator": "secret" },
    "MAIL_HOST": { "required": false },
    "API_TOKEN": {}
  },
  "formation": { "web": { "quantity": 2, "size": "standard-1x" }, "worker": {} },
  "addons": ["heroku-postgresql:mini", { "plan": "heroku-redis", "as": "CACHE", "options": { "x": 1 } }],
  "scripts": { "postdeploy": { "command": "python seed.py" }, "pr-predestroy": "true" },
  "buildpacks": [{ "url": "heroku/python" }]
}"#,
    )
    .unwrap();
    let variable = |name: &str| &app.env[&VariableName(name.to_owned())];
    assert_eq!(variable("LANG").value.as_deref(), Some("en"));
    assert!(variable("SECRET_KEY").is_secret);
    assert!(!variable("MAIL_HOST").is_required);
    assert!(variable("API_TOKEN").is_required);
    let web = &app.formation[&TypeName("web".parse().unwrap())];
    assert_eq!(
        (web.quantity, web.size()),
        (Some(2), Some(Size::Standard1x))
    );
    assert_eq!(app.addons[0].plan, "heroku-postgresql:mini");
    assert_eq!(app.addons[1].attachment.as_deref(), Some("CACHE"));
    assert_eq!(app.scripts.postdeploy.as_deref(), Some("python seed.py"));
    assert_eq!(
        app.left_out(),
        [
            "app.json's buildpacks has no effect: buildpacks: slugc detects its own; slugc build -b DIR names others",
            "app.json's options of heroku-redis have no effect",
        ]
    );
    let short = parse(r#"{ "scripts": { "postdeploy": "true" } }"#).unwrap();
    assert_eq!(short.scripts.postdeploy.as_deref(), Some("true"));
    assert_eq!(parse("{}").unwrap(), AppJson::default());
}

#[test]
fn unknown_sizes_are_left_out() {
    let app = parse(
        r#"{ "formation": { "web": { "quantity": 1, "size": "free" }, "worker": { "size": "standart-1x" } } }"#,
    )
    .unwrap();
    assert!(app.formation.values().all(|dynos| dynos.size().is_none()));
    let [web, worker] = &app.left_out()[..] else {
        panic!("{:?}", app.left_out());
    };
    assert!(web.starts_with("app.json's size of web has no effect: "));
    assert!(web.contains("free"), "{web}");
    assert!(worker.contains("did you mean standard-1x?"), "{worker}");
}

#[test]
fn errors_have_a_place() {
    for (text, expected) in [
        (
            "{\n  \"env\": {\n    \"A\": 1\n  }\n}",
            "app.json:3:10: invalid type: integer `1`, expected a value, or an object",
        ),
        ("{\n  \"env\": { \"HEROKU_X\": \"1\" }\n}", "app.json:2:"),
        (
            "{ \"env\": { \"A\": { \"generator\": \"dice\" } } }",
            "unknown variant `dice`, expected `secret`",
        ),
        (
            "{ \"env\": { \"A\": { \"valeu\": \"1\" } } }",
            "unknown field `valeu`",
        ),
        (
            "{ \"addons\": [{ \"as\": \"X\" }] }",
            "missing field `plan`",
        ),
        (
            "{ \"addons\": {} }",
            "app.json:1:12: invalid type: map, expected a sequence",
        ),
        (
            "{ \"formation\": { \"web\": { \"size\": 1 } } }",
            "invalid type: integer `1`, expected a string",
        ),
        (
            "{ \"formation\": { \"web\": { \"quantity\": -1 } } }",
            "invalid value: integer `-1`",
        ),
        (
            "{ \"formation\": { \"a b\": {} } }",
            "\"a b\" cannot be a process type",
        ),
        ("{ \"env\": ", "EOF while parsing"),
        ("[]", "invalid type: sequence"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.starts_with("app.json:"), "{error}");
    }
}

#[test]
fn fuzzed_descriptions() {
    let text = r#"{ "name": "Shop", "env": { "LANG": "en", "KEY": { "generator": "secret", "required": true } },
        "formation": { "web": { "quantity": 2, "size": "standard-1x" } }, "addons": ["heroku-postgresql:mini",
        { "plan": "heroku-redis", "as": "CACHE", "options": { "x": 1 } }], "scripts": { "postdeploy": "true" },
        "environments": { "test": {} }, "buildpacks": [{ "url": "heroku/python" }] }"#;
    let inputs = [text.as_bytes().to_vec()];
    let seeds = test_support::Seeds {
        inputs: &inputs,
        words: &[
            "null",
            "{}",
            "[]",
            "\"\"",
            "-1",
            "1e999",
            "true",
            "\\ud800",
            "é",
            "[[[[[[[[[[",
        ],
    };
    test_support::fuzz("app.json", seeds, |bytes| {
        if let Ok(app) = AppJson::parse(bytes, Path::new("app.json")) {
            drop(app.left_out());
        }
    });
}

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const CONF: &str = r#"
unqualified-search-registries = ["docker.io"]

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "by-digest.example"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "docker.io/team"
location = "team.example/images"

[[registry]]
prefix = "*.bad.example"
blocked = true

[[registry]]
prefix = "pinned.example"
insecure = true
mirror-by-digest-only = true
[[registry.mirror]]
location = "copy.example"

[aliases]
"shop" = "registry.example/team/shop"
"#;

fn endpoints(name: &str) -> Vec<String> {
    let mut mirrors = Mirrors::default();
    mirrors.add(toml::from_str(CONF).unwrap());
    let endpoints = mirrors.endpoints(&name.parse().unwrap()).unwrap();
    endpoints
        .into_iter()
        .map(|it| {
            let plain = if it.insecure { " (plain)" } else { "" };
            format!("{}{plain}", it.name)
        })
        .collect()
}

#[test]
fn mirrors_come_first() {
    let digest = format!("@sha256:{}", "0".repeat(64));
    assert_eq!(
        endpoints("python:3.13"),
        [
            "mirror.example:5000/hub/library/python:3.13 (plain)",
            "docker.io/library/python:3.13"
        ]
    );
    let by_digest = endpoints(&format!("python{digest}"));
    assert_eq!(by_digest.len(), 3);
    assert_eq!(
        by_digest[1],
        format!("by-digest.example/library/python{digest}")
    );
    assert_eq!(endpoints("registry.example/x"), ["registry.example/x"]);
    assert_eq!(
        endpoints("pinned.example/x:1"),
        ["pinned.example/x:1 (plain)"]
    );
    assert_eq!(endpoints(&format!("pinned.example/x{digest}")).len(), 2);
}

#[test]
fn the_longest_prefix_counts() {
    assert_eq!(
        endpoints("docker.io/team/shop:1"),
        ["team.example/images/shop:1"]
    );
    // A prefix ends with a part of the name.
    assert_eq!(endpoints("docker.io/teams/shop").len(), 2);
}

#[test]
fn blocked_registries() {
    let mut mirrors = Mirrors::default();
    mirrors.add(toml::from_str(CONF).unwrap());
    let find = |name: &str| mirrors.endpoints(&name.parse().unwrap());
    assert!(find("very.bad.example:5000/x").is_err());
    assert!(find("bad.example/x").is_ok());
    assert!(find("notbad.example/x").is_ok());
    // A drop-in has the last word.
    mirrors.add(toml::from_str("[[registry]]\nprefix = \"*.bad.example\"\n").unwrap());
    assert!(
        mirrors
            .endpoints(&"very.bad.example/x".parse().unwrap())
            .is_ok()
    );
}

#[test]
fn fuzzed_settings() {
    let inputs = [CONF.as_bytes().to_vec()];
    let seeds = test_support::Seeds {
        inputs: &inputs,
        words: &[
            "[[registry]]\n",
            "[[registry.mirror]]\n",
            "prefix = \"\"\n",
            "location = \"\"\n",
            "*.",
            "/",
            ":",
            "@",
            "é",
            "docker.io",
            "\"",
            "tag-only",
        ],
    };
    let names: Vec<Reference> = [
        "python",
        "docker.io/team/app:1",
        "x.bad.example/a",
        "pinned.example/a/b",
    ]
    .map(|name| name.parse().unwrap())
    .to_vec();
    test_support::fuzz("registries.conf", seeds, |bytes| {
        let Ok(settings) = toml::from_str(&String::from_utf8_lossy(bytes)) else {
            return;
        };
        let mut mirrors = Mirrors::default();
        mirrors.add(settings);
        for name in &names {
            let Ok(endpoints) = mirrors.endpoints(name) else {
                continue;
            };
            // Whatever is moved where, it stays the same tag.
            for endpoint in endpoints {
                assert_eq!(
                    endpoint.name.or_latest().tag(),
                    name.clone().or_latest().tag()
                );
            }
        }
    });
}

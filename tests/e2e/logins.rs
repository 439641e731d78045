//! `slugc login`, and registries that are not trusted by themselves.

use crate::BINARY;
use crate::places::built;
use crate::registry::{PASSWORD, Registry, USER};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use test_support::{Need, TestContext, Who, met, output_of, requires};

#[test]
fn logins() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::with_login(&t);
    let host = registry.host.as_str();
    let target = format!("{host}/team/shop:1");
    let (app, digest) = built(&t, &[]);
    let push = || t.slugc_in(&app).args(["push", &target]).run();
    let login = |password: &str| {
        let call = t
            .slugc()
            .args(["login", host, "-u", USER, "--password-stdin"]);
        call.stdin(password).run()
    };
    push().failure(4).says(&["slugc login", host]);
    let config = t.home().join(".docker/config.json");
    login("wrong-word\n")
        .failure(3)
        .says(&[host])
        .never_says(&["wrong-word"]);
    assert!(
        !config.exists(),
        "nothing is kept that the registry refuses"
    );
    login(&format!("{PASSWORD}\n"))
        .success()
        .says(&[host, USER])
        .never_says(&[PASSWORD]);
    let mode = std::fs::metadata(&config).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(host) && !text.contains(PASSWORD), "{text}");
    push().success().says(&[&digest]);
    let tag = format!("{host}/team/shop:2");
    let publish = t
        .slugc_in(&app)
        .args(["build", ".", "-t", &tag, "--publish"])
        .run();
    publish.success().says(&[&digest]);
    if met(&Need::Program("skopeo")) {
        let creds = format!("--creds={USER}:{PASSWORD}");
        let image = format!("docker://{tag}");
        let seen = output_of(
            "skopeo",
            &["inspect", "--tls-verify=false", &creds, &image],
            Path::new("/"),
        );
        assert!(seen.contains(&digest), "{seen}");
    }
    t.slugc()
        .args(["logout", host])
        .run()
        .success()
        .says(&["Logged out"]);
    t.slugc()
        .args(["logout", host])
        .run()
        .success()
        .says(&["no login"]);
    push().failure(4);
    // There is no terminal to ask on, and no registry to ask.
    t.slugc()
        .args(["login", "a/b", "-u", USER, "--password-stdin"])
        .stdin("x")
        .run()
        .failure(2);
    t.slugc()
        .args(["login", host, "-u", USER, "--password-stdin"])
        .stdin("")
        .run()
        .failure(2);
}

/// Keeps one login in a file beside itself (docker's credential helper protocol).
const HELPER: &str = r#"#!/bin/sh
kept=$(dirname "$0")/kept
case $1 in
store) cat >"$kept" ;;
get) cat "$kept" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$kept" ;;
esac
"#;

#[test]
fn credential_helpers_keep_logins() {
    requires!(Need::Program("docker-registry"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let registry = Registry::with_login(&t);
    let (app, digest) = built(&t, &[]);
    let programs = t.scratch().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let helper = programs.join("docker-credential-box");
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = t.home().join(".docker/config.json");
    std::fs::create_dir(t.home().join(".docker")).unwrap();
    std::fs::write(&config, r#"{"credsStore": "box", "detachKeys": "ctrl-x"}"#).unwrap();
    for path in [&programs, &t.home().join(".docker"), &config] {
        t.give(path);
    }
    let search = format!("{}:/usr/bin:/bin", programs.display());
    let slugc = |arguments: &[&str]| t.slugc_in(&app).env("PATH", &search).args(arguments);
    let host = registry.host.as_str();
    let login = slugc(&["login", host, "-u", USER, "--password-stdin"]);
    login
        .stdin(PASSWORD)
        .run()
        .success()
        .says(&["docker-credential-box"]);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("ctrl-x") && text.contains(host), "{text}");
    assert!(!text.contains("\"auth\""), "{text}");
    let target = format!("{host}/shop:1");
    slugc(&["push", &target]).run().success().says(&[&digest]);
    slugc(&["logout", host]).run().success();
    assert!(!programs.join("kept").exists());
    slugc(&["push", &target]).run().failure(4);
}

#[test]
fn private_authorities_and_client_certificates() {
    requires!(Need::Program("docker-registry"), Need::Program("openssl"));
    let Some(t) = TestContext::with_own_store(BINARY, Who::Plain) else {
        return;
    };
    let folder = t.scratch();
    let openssl = |arguments: &str| {
        let mut call = Command::new("openssl");
        call.args(arguments.split(' ')).current_dir(folder);
        let output = call.output().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=Authority -days 2"
    ));
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    for name in ["server", "client"] {
        openssl(&format!(
            "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile names -days 2 -out {name}.crt"
        ));
    }
    let registry = Registry::with_tls(&t);
    let (app, digest) = built(&t, &[]);
    let target = format!("{}/shop:1", registry.host);
    let authority = folder.join("ca.crt");
    let push = |more: &[&Path]| {
        let call = t.slugc_in(&app).args(["push", &target]);
        more.iter()
            .fold(call, |call, file| call.arg("--ca-file").arg(file))
            .run()
    };
    push(&[]).failure(4).says(&["--ca-file", "certificate"]);
    // Trusted now, but the registry wants to see a certificate, too.
    push(&[&authority]).failure(4).never_says(&["HTTP request"]);
    push(&[&folder.join("names")])
        .failure(3)
        .says(&["--ca-file"]);
    push(&[&folder.join("none")]).failure(3).says(&["none"]);
    let certificates = t.home().join(".config/docker/certs.d").join(&registry.host);
    std::fs::create_dir_all(&certificates).unwrap();
    for (from, to) in [
        ("ca.crt", "ca.crt"),
        ("client.crt", "client.cert"),
        ("client.key", "client.key"),
    ] {
        std::fs::copy(folder.join(from), certificates.join(to)).unwrap();
        t.give(&certificates.join(to));
    }
    push(&[]).success().says(&[&digest]);
}

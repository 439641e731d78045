#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

fn basic(username: &str, password: &str) -> Credentials {
    Credentials::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

fn find(source: Source, reference: &str) -> Result<Option<Credentials>, KeychainError> {
    let keychain = Keychain {
        sources: vec![source],
        helper_path: OsString::new(),
    };
    Ok(keychain
        .find(&reference.parse().unwrap())?
        .map(|found| found.credentials))
}

fn file(folder: &Path, text: &str) -> Source {
    let path = folder.join("config.json");
    fs::write(&path, text).unwrap();
    Source::File(path)
}

#[test]
fn entries_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let pair = STANDARD.encode("ann:s3:cret");
    let text = format!(
        r#"{{"auths": {{
            "https://index.docker.io/v1/": {{"auth": "{pair}"}},
            "r.example:5000": {{"username": "bob", "password": "pw"}},
            "r.example:5000/team": {{"auth": "{pair}"}},
            "https://token.example": {{"auth": "", "identitytoken": "refresh"}},
            "ready.example": {{"registrytoken": "ready"}},
            "empty.example": {{}}
        }}, "credsStore": "", "other": 1}}"#
    );
    for (reference, expected) in [
        ("python", Some(basic("ann", "s3:cret"))),
        ("r.example:5000/app", Some(basic("bob", "pw"))),
        ("r.example:5000/team/app", Some(basic("ann", "s3:cret"))),
        ("r.example/app", None),
        (
            "token.example/app",
            Some(Credentials::IdentityToken("refresh".to_owned())),
        ),
        (
            "ready.example/app",
            Some(Credentials::RegistryToken("ready".to_owned())),
        ),
        ("empty.example/app", None),
    ] {
        assert_eq!(
            find(file(folder.path(), &text), reference).unwrap(),
            expected,
            "{reference}"
        );
    }
    assert_eq!(
        find(Source::File(folder.path().join("absent")), "python").unwrap(),
        None
    );
    assert_eq!(find(file(folder.path(), "\n"), "python").unwrap(), None);
}

#[test]
fn a_malformed_file_is_named_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        r#"{"auths": {"r.example": {"auth": "%%secret%%"}}}"#,
        r#"{"auths": "secret"}"#,
        "{secret",
    ] {
        let error = find(file(folder.path(), text), "r.example/app")
            .unwrap_err()
            .to_string();
        assert!(error.contains("config.json"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn the_value_of_the_lifecycles_variable() {
    let value = format!(
        r#"{{"r.example": "Basic {}", "b.example": "Bearer tok", "i.example": "X-Identity ref", "bad.example": "secret"}}"#,
        STANDARD.encode("ann:pw")
    );
    let find = |reference| find(Source::CnbRegistryAuth(value.clone()), reference);
    assert_eq!(find("r.example/a").unwrap(), Some(basic("ann", "pw")));
    assert_eq!(
        find("b.example/a").unwrap(),
        Some(Credentials::Header("Bearer tok".to_owned()))
    );
    assert_eq!(
        find("i.example/a").unwrap(),
        Some(Credentials::IdentityToken("ref".to_owned()))
    );
    assert_eq!(find("python").unwrap(), None);
    let error = find("bad.example/a").unwrap_err().to_string();
    assert!(
        error.contains("CNB_REGISTRY_AUTH") && !error.contains("secret"),
        "{error}"
    );
}

#[test]
fn helpers_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"#!/bin/sh
read -r server
case "$server" in
  r.example) echo '{"ServerURL":"r.example","Username":"ann","Secret":"from-helper"}' ;;
  t.example) echo '{"Username":"<token>","Secret":"refresh"}' ;;
  broken.example) echo 'secret' ;;
  failing.example) echo 'secret'; exit 1 ;;
  *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"#;
    let program = folder.path().join("docker-credential-shell");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!(
        r#"{{"credsStore": "shell", "credHelpers": {{"gone.example": "gone", "evil.example": "../x"}},
            "auths": {{"file.example": {{"auth": "{}"}}}}}}"#,
        STANDARD.encode("bob:pw")
    );
    let keychain = Keychain {
        sources: vec![file(folder.path(), &text)],
        helper_path: folder.path().as_os_str().to_owned(),
    };
    let find = |reference: &str| keychain.find(&reference.parse().unwrap());
    let found = find("r.example/a").unwrap().unwrap();
    assert_eq!(found.credentials, basic("ann", "from-helper"));
    assert!(
        found.origin.starts_with("docker-credential-shell"),
        "{}",
        found.origin
    );
    assert_eq!(
        find("t.example/a").unwrap().unwrap().credentials,
        Credentials::IdentityToken("refresh".to_owned())
    );
    assert_eq!(
        find("file.example/a").unwrap().unwrap().credentials,
        basic("bob", "pw")
    );
    assert_eq!(find("none.example/a").unwrap(), None);
    for reference in [
        "broken.example/a",
        "failing.example/a",
        "gone.example/a",
        "evil.example/a",
    ] {
        let error = find(reference).unwrap_err().to_string();
        assert!(
            error.contains("docker-credential-") && !error.contains("secret"),
            "{error}"
        );
    }
}

#[test]
fn debug_shows_no_secret() {
    let found = Found {
        credentials: basic("ann", "hunter2"),
        origin: "a flag".to_owned(),
    };
    let shown = format!(
        "{found:?} {:?} {:?}",
        Credentials::IdentityToken("hunter2".to_owned()),
        Credentials::Header("hunter2".to_owned())
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("ann"),
        "{shown}"
    );
}

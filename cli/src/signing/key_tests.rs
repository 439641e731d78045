#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// `openssl ecparam -name prime256v1 -genkey`, and the same key by `openssl pkcs8 -topk8 -nocrypt` and `openssl ec
/// -pubout`.
const SEC1: &str = "-----BEGIN EC PARAMETERS-----\n\
BggqhkjOPQMBBw==\n\
-----END EC PARAMETERS-----\n\
-----BEGIN EC PRIVATE KEY-----\n\
MHcCAQEEIGdinJaKuB0gRWhZxQ5S0yKLCAGVAwwwOZcQQYblwRh6oAoGCCqGSM49\n\
AwEHoUQDQgAEqQvbqzVKBrkeneQALPAjXzbV1hmCW1ssI5PQ+vCsADCvyQUwmUo5\n\
iRN30shBeUnu7sKTSlWT4y1boGS3glWfQg==\n\
-----END EC PRIVATE KEY-----\n\
";
const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZ2Kcloq4HSBFaFnF\n\
DlLTIosIAZUDDDA5lxBBhuXBGHqhRANCAASpC9urNUoGuR6d5AAs8CNfNtXWGYJb\n\
Wywjk9D68KwAMK/JBTCZSjmJE3fSyEF5Se7uwpNKVZPjLVugZLeCVZ9C\n\
-----END PRIVATE KEY-----\n\
";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqQvbqzVKBrkeneQALPAjXzbV1hmC\n\
W1ssI5PQ+vCsADCvyQUwmUo5iRN30shBeUnu7sKTSlWT4y1boGS3glWfQg==\n\
-----END PUBLIC KEY-----\n\
";
/// `printf message | openssl dgst -sha256 -sign`, in base64.
const SIGNATURE: &str = "MEQCIEVDmPKadOwkmT76l7kSnODlI/gD/+w4/GUeSQ1o+DBmAiALpZgPskyBeAKryU1j+cASSZG0hpuCL0erfcsH4cwZlA==";

fn no_password() -> Option<String> {
    None
}

#[test]
fn keys_and_signatures_are_openssls() {
    let public = PublicKey::parse(PUBLIC).unwrap();
    assert!(public.verifies(b"message", &STANDARD.decode(SIGNATURE).unwrap()));
    assert!(!public.verifies(b"another", &STANDARD.decode(SIGNATURE).unwrap()));
    assert!(!public.verifies(b"message", b"no signature"));
    for text in [SEC1, PKCS8] {
        let key = PrivateKey::parse(text, no_password).unwrap();
        assert_eq!(key.public().file().unwrap(), PUBLIC);
        assert!(public.verifies(b"message", &key.sign(b"message")));
        assert_eq!(key.sign(b"message"), key.sign(b"message"));
        assert_eq!(key.file(None).unwrap(), PKCS8);
    }
}

#[test]
fn a_closed_key_opens_with_its_password_only() {
    let key = PrivateKey::generate().unwrap();
    let closed = key.file(Some("secret")).unwrap();
    let open = |password: Option<&str>| PrivateKey::parse(&closed, || password.map(str::to_owned));
    assert_eq!(
        open(Some("secret")).unwrap().public().file().unwrap(),
        key.public().file().unwrap()
    );
    assert!(matches!(open(Some("Secret")), Err(KeyError::Password)));
    assert!(matches!(open(None), Err(KeyError::PasswordMissing)));
    assert!(!format!("{key:?}").contains('['));
}

#[test]
fn what_is_no_key() {
    let closed = |json: &str| {
        let body = STANDARD.encode(json);
        format!(
            "-----BEGIN {0}-----\n{body}\n-----END {0}-----\n",
            CLOSED[1]
        )
    };
    let greedy = r#"{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":""},"ciphertext":""}"#;
    let odd = greedy.replace("1073741824", "3");
    for (text, expected) in [
        ("", "PEM"),
        ("-----BEGIN PRIVATE KEY-----\nMA==\n", "PEM"),
        (
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
            "PEM",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----",
            "P-256",
        ),
        (PUBLIC, "public key"),
        (&closed("{}"), "not known"),
        (&closed(greedy), "not known"),
        (&closed(&odd), "not known"),
    ] {
        let error = PrivateKey::parse(text, || Some(String::new())).unwrap_err();
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
    assert!(matches!(PublicKey::parse(PKCS8), Err(KeyError::Kind(_))));
}

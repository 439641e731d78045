#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

use crate::test_key::{BORN, Key};

const NOW: i64 = BORN as i64 + 1000;

fn keyring(certificates: &[Vec<u8>]) -> Keyring {
    let mut keyring = Keyring::default();
    for certificate in certificates {
        keyring.add(certificate).unwrap();
    }
    keyring
}

#[test]
fn a_good_signature_gives_the_text() {
    let key = Key::new();
    let keyring = keyring(&[Key::new().certificate(None), key.certificate(None)]);
    let message = key.sign("Origin: Test\n- dashes\n", BORN + 10, None);
    let text = keyring.verify(&message, NOW).unwrap();
    assert_eq!(
        text.replace("\r\n", "\n").trim_end(),
        "Origin: Test\n- dashes"
    );
}

#[test]
fn what_is_outside_of_the_signature_does_not_count() {
    let key = Key::new();
    let message = format!(
        "Origin: Evil\n\n{}\nSuite: evil\n",
        key.sign("Origin: Test\n", BORN + 10, None)
    );
    match keyring(&[key.certificate(None)]).verify(&message, NOW) {
        Ok(text) => assert!(!text.contains("vil"), "{text}"),
        Err(error) => assert!(matches!(error, SignatureError::Unsigned(_)), "{error}"),
    }
}

#[test]
fn a_changed_text_is_refused() {
    let key = Key::new();
    let message = key
        .sign("Origin: Test\n", BORN + 10, None)
        .replace("Test", "Best");
    let error = keyring(&[key.certificate(None)])
        .verify(&message, NOW)
        .unwrap_err();
    assert!(matches!(error, SignatureError::Bad { .. }), "{error}");
}

#[test]
fn an_unknown_key_is_named() {
    let message = Key::new().sign("Origin: Test\n", BORN + 10, None);
    let error = keyring(&[Key::new().certificate(None)])
        .verify(&message, NOW)
        .unwrap_err();
    assert!(
        matches!(&error, SignatureError::UnknownKey { keys } if keys[0].len() == 40),
        "{error}"
    );
}

#[test]
fn no_signature_at_all() {
    let error = keyring(&[Key::new().certificate(None)])
        .verify("Origin: Test\n", NOW)
        .unwrap_err();
    assert!(matches!(error, SignatureError::Unsigned(_)), "{error}");
}

#[test]
fn times_count() {
    let key = Key::new();
    let why = |certificate: Vec<u8>, message: &str, now| match keyring(&[certificate])
        .verify(message, now)
    {
        Ok(_) => "good",
        Err(SignatureError::NotValid { why, .. }) => why,
        Err(error) => panic!("{error}"),
    };
    let message = key.sign("Origin: Test\n", BORN + 10, None);
    assert_eq!(
        why(key.certificate(Some(500)), &message, i64::from(BORN) + 499),
        "good"
    );
    assert_eq!(
        why(key.certificate(Some(500)), &message, i64::from(BORN) + 500),
        "the key has expired"
    );
    let message = key.sign("Origin: Test\n", BORN + 10, Some(100));
    assert_eq!(
        why(key.certificate(None), &message, i64::from(BORN) + 109),
        "good"
    );
    assert_eq!(
        why(key.certificate(None), &message, i64::from(BORN) + 110),
        "the signature has expired"
    );
    let message = key.sign("Origin: Test\n", BORN + 100_000, None);
    assert!(why(key.certificate(None), &message, NOW).contains("future"));
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let (ours, theirs) = (Key::new(), Key::new());
    // Both sign the same text; the armored blocks go one after the other, as packets in one block.
    let text = "Origin: Test\n";
    let (a, b) = (
        theirs.sign(text, BORN + 10, None),
        ours.sign(text, BORN + 10, None),
    );
    let signatures = |message: &str| {
        CleartextSignedMessage::from_string(message)
            .unwrap()
            .0
            .signatures()
            .to_vec()
    };
    let both = [signatures(&a), signatures(&b)].concat();
    let message = CleartextSignedMessage::new_many(text, |_| Ok(both))
        .unwrap()
        .to_armored_string(pgp::composed::ArmorOptions::default())
        .unwrap();
    assert!(
        keyring(&[ours.certificate(None)])
            .verify(&message, NOW)
            .is_ok()
    );
    assert!(
        keyring(&[Key::new().certificate(None)])
            .verify(&message, NOW)
            .is_err()
    );
}

#[test]
fn debians_own_keys_are_readable() {
    let recipe = crate::builtin_recipe("slug-13").unwrap().unwrap();
    assert_eq!(recipe.keyring.certificates.len(), 5);
    for certificate in &recipe.keyring.certificates {
        for subkey in &certificate.public_subkeys {
            subkey.verify_bindings(&certificate.primary_key).unwrap();
        }
    }
}

#[test]
fn rubbish_is_no_certificate() {
    assert!(Keyring::default().add(b"rubbish").is_err());
    assert!(Keyring::default().add(b"").is_err());
}

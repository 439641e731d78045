#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

use crate::test_key::{BORN, Key};

const URL: &str = "http://mirror.example/dists/trixie/InRelease";
// Thu, 01 Jan 2026 00:00:00 UTC is BORN.
const NOW: i64 = BORN as i64 + 86_400;
const GOOD: &str = "Suite: stable\nCodename: trixie\nDate: Thu, 01 Jan 2026 12:00:00 UTC\nValid-Until: Thu, 08 Jan 2026 12:00:00 UTC\nAcquire-By-Hash: yes\nSHA256:\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages\n e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-amd64/Packages.xz\n";

fn verify(text: &str, suite: &str, now: i64) -> Result<Release, ReleaseError> {
    let key = Key::new();
    let mut keyring = Keyring::default();
    keyring.add(&key.certificate(None)).unwrap();
    let suite = Suite {
        name: suite.to_owned(),
        archive: crate::Archive::Main,
        components: vec!["main".to_owned()],
    };
    Release::verify(
        URL,
        key.sign(text, BORN + 10, None).as_bytes(),
        &suite,
        &keyring,
        now,
    )
}

#[test]
fn a_good_one() {
    for suite in ["trixie", "stable"] {
        let release = verify(GOOD, suite, NOW).unwrap();
        assert_eq!(release.date, i64::from(BORN) + 43_200);
        assert!(release.by_hash);
        assert_eq!(
            release.index("main/binary-amd64/Packages.xz").unwrap(),
            (Digest::of(b""), 0)
        );
        let error = release.index("main/binary-s390x/Packages.xz").unwrap_err();
        assert!(matches!(error, ReleaseError::NoIndex { .. }));
    }
}

#[test]
fn another_suites_file() {
    let error = verify(GOOD, "bookworm", NOW).unwrap_err();
    assert!(
        matches!(&error, ReleaseError::OtherSuite { found, .. } if found == "trixie"),
        "{error}"
    );
}

#[test]
fn dates() {
    let error = verify(GOOD, "trixie", NOW + 7 * 86_400).unwrap_err();
    assert_eq!(
        error.to_string(),
        "refused http://mirror.example/dists/trixie/InRelease: it expired on Thu, 08 Jan 2026 12:00:00 UTC; the \
         mirror is out of date (use another with --mirror) or this machine's clock is wrong"
    );
    assert!(
        verify(
            &GOOD.replace("Valid-Until", "Not-Valid"),
            "trixie",
            NOW + 900 * 86_400
        )
        .is_ok()
    );
    let error = verify(
        &GOOD.replace("Date: Thu, 01 Jan", "Date: Sat, 03 Jan"),
        "trixie",
        NOW,
    )
    .unwrap_err();
    assert!(matches!(error, ReleaseError::Future { .. }), "{error}");
    let error = verify(&GOOD.replace("Thu, 01 Jan", "some day"), "trixie", NOW).unwrap_err();
    assert!(
        matches!(error, ReleaseError::Field { field: "Date", .. }),
        "{error}"
    );
}

#[test]
fn checksums_are_needed() {
    let error = verify(&GOOD.replace("SHA256", "MD5Sum"), "trixie", NOW).unwrap_err();
    assert!(
        matches!(
            error,
            ReleaseError::Field {
                field: "SHA256",
                ..
            }
        ),
        "{error}"
    );
    let error = verify(&GOOD.replace(" e3b0", " x3b0"), "trixie", NOW).unwrap_err();
    assert!(
        matches!(
            error,
            ReleaseError::Field {
                field: "SHA256",
                ..
            }
        ),
        "{error}"
    );
}

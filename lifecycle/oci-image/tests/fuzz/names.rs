//! References and digests.

use oci_image::{Digest, Reference};
use test_support::{Seeds, fuzz};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn references() {
    let inputs: Vec<Vec<u8>> = [
        "python",
        "team/app:1.4",
        "docker.io/library/python:3.13-slim",
        "registry.example:5000/a/b__c/d-e.f:v1_2",
        "[::1]:5000/app",
        "localhost/app@sha256:",
        "index.docker.io/x",
        &format!("registry.example/team/app:1@sha256:{HEX}"),
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    let words = [
        ":",
        "/",
        "@",
        "sha256:",
        HEX,
        "..",
        ".",
        "__",
        "-",
        "localhost",
        "A",
        "%2e",
        "é",
        "[",
        "]",
        "65536",
        "\n",
        " ",
    ];
    let seeds = Seeds {
        inputs: &inputs,
        words: &words,
    };
    fuzz("references", seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let Ok(reference) = text.parse::<Reference>() else {
            return;
        };
        // Every form of it is the same image.
        assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        assert_eq!(reference.familiar().parse(), Ok(reference.clone()));
        // It goes into addresses and, here and there, into the names of files.
        let repository = reference.repository();
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte)
        };
        assert!(repository.bytes().all(allowed), "{repository:?}");
        let parts = || repository.split('/');
        assert!(parts().all(|part| !part.is_empty() && !part.starts_with('.')));
        assert!(
            !reference
                .registry()
                .contains(['/', '@', '?', '#', '\\', '%'])
        );
        assert!(!reference.identifier().contains(['/', '?', '#', '%']));
        let again = reference.with_tag(reference.tag().unwrap_or("latest"));
        assert_eq!(again.unwrap().name(), reference.name());
    });
}

#[test]
fn digests() {
    let inputs = [
        format!("sha256:{HEX}").into_bytes(),
        HEX.as_bytes().to_vec(),
    ];
    let seeds = Seeds {
        inputs: &inputs,
        words: &["sha256:", "sha512:", "A", "/", "é"],
    };
    fuzz("digests", seeds, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string(), text);
        }
        if let Ok(digest) = Digest::from_hex(text) {
            assert_eq!(digest.hex(), text);
        }
    });
}

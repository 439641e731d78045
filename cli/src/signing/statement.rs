//! in-toto statements on images (in-toto/attestation, `spec/v1/statement.md`): what is signed of SBOMs and provenance.

use oci_image::Digest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The media type of statements, which is also the type in their envelopes.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// Version 1.
pub(crate) const TYPE: &str = "https://in-toto.io/Statement/v1";
/// What statements of all versions begin with.
const ANY_VERSION: &str = "https://in-toto.io/Statement/";
/// What cosign 3 states of an image that it signs: nothing but that.
pub(super) const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";

/// What a statement tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// How the image was built (SLSA v1)
    Provenance,
    /// What is in it, as `CycloneDX`
    Cyclonedx,
    /// What is in it, as SPDX
    Spdx,
}

impl Kind {
    /// The type of the predicate, as cosign names it for `slsaprovenance1`, `cyclonedx` and `spdxjson`.
    pub(crate) fn predicate_type(self) -> &'static str {
        match self {
            Self::Provenance => crate::provenance::PREDICATE_TYPE,
            Self::Cyclonedx => "https://cyclonedx.org/bom",
            Self::Spdx => "https://spdx.dev/Document",
        }
    }

    /// For people.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Provenance => "provenance",
            Self::Cyclonedx => "SBOM as CycloneDX",
            Self::Spdx => "SBOM as SPDX",
        }
    }
}

/// A statement on an image of a repository.
pub(crate) fn on_image(
    repository: &str,
    image: Digest,
    predicate_type: &str,
    predicate: &Value,
) -> Value {
    json!({
        "_type": TYPE,
        "subject": [{ "name": repository, "digest": { "sha256": image.hex() } }],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default)]
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// Of which type a statement's predicate is; `None` for what is no statement.
pub(super) fn predicate_type(document: &[u8]) -> Option<String> {
    let statement: Statement = serde_json::from_slice(document).ok()?;
    statement
        .kind
        .starts_with(ANY_VERSION)
        .then_some(statement.predicate_type)
}

/// Whether a statement whose signature is right is about this image; its repository may be another, as for signatures.
pub(super) fn check(document: &[u8], image: Digest) -> Result<(), String> {
    let Ok(statement) = serde_json::from_slice::<Statement>(document) else {
        return Err("what was signed with this key is no statement on an image".to_owned());
    };
    let mut named = statement
        .subject
        .iter()
        .filter_map(|subject| subject.digest.get("sha256"));
    if named.clone().any(|hex| *hex == image.hex()) {
        return Ok(());
    }
    Err(match named.next() {
        Some(hex) => {
            let hex: String = hex.chars().take(64).collect();
            format!("what was signed with this key is about another image, sha256:{hex}")
        }
        None => "what was signed with this key names no image".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_name_their_images() {
        let image = Digest::of(b"");
        let text = on_image("r.example/shop", image, SIGNED, &json!({})).to_string();
        assert_eq!(
            text,
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"r.example/shop","digest":{{"sha256":"{}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
                image.hex()
            )
        );
        assert_eq!(predicate_type(text.as_bytes()).as_deref(), Some(SIGNED));
        assert_eq!(check(text.as_bytes(), image), Ok(()));
        let problem = check(text.as_bytes(), Digest::of(b"x"));
        assert!(problem.is_err_and(|problem| problem.contains("another image")));
        let nobodys = text.replace("sha256", "sha512");
        assert!(check(nobodys.as_bytes(), image).is_err_and(|it| it.contains("no image")));
        assert_eq!(predicate_type(b"{}"), None);
        assert!(check(b"[]", image).is_err());
    }
}

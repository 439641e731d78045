//! The document that is signed (containers/image, `containers-signature(5)`, "JSON data format").

use oci_image::Digest;
use serde::{Deserialize, Serialize};

const TYPE: &str = "cosign container image signature";

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    optional: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

/// The same image in the same repository gives the same bytes.
pub(super) fn document(repository: &str, image: Digest) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Payload {
        critical: Critical {
            identity: Identity {
                docker_reference: repository.to_owned(),
            },
            image: Image {
                docker_manifest_digest: image.to_string(),
            },
            kind: TYPE.to_owned(),
        },
        optional: None,
    })
}

/// Whether a document whose signature is right is about this image. Its repository may be another: images are copied
/// together with their signatures.
pub(super) fn check(document: &[u8], image: Digest) -> Result<(), String> {
    let Ok(payload) = serde_json::from_slice::<Payload>(document) else {
        return Err("what was signed with this key is no statement on an image".to_owned());
    };
    let Critical {
        image: named, kind, ..
    } = payload.critical;
    if kind != TYPE {
        return Err(format!(
            "what was signed with this key is of the type {kind:?}"
        ));
    }
    if named.docker_manifest_digest != image.to_string() {
        return Err(format!(
            "what was signed with this key is another image, {}",
            named.docker_manifest_digest
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn documents_are_cosigns() {
        let image = Digest::of(b"");
        let text = document("localhost:5000/shop", image).unwrap();
        assert_eq!(
            String::from_utf8_lossy(&text),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"localhost:5000/shop"}},"image":{{"docker-manifest-digest":"{image}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        assert_eq!(check(&text, image), Ok(()));
        let problem = check(&text, Digest::of(b"x")).unwrap_err();
        assert!(problem.contains("another image"), "{problem}");
        let other = String::from_utf8_lossy(&text).replace("cosign container", "any");
        let problem = check(other.as_bytes(), image).unwrap_err();
        assert!(problem.contains("type"), "{problem}");
        check(b"{}", image).unwrap_err();
    }
}

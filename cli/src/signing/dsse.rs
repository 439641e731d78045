//! Documents with signatures in one envelope: DSSE (secure-systems-lab/dsse, `protocol.md` and `envelope.md`).

use super::key::{PrivateKey, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde::{Deserialize, Serialize};

/// How many signatures of an envelope are looked at.
const MOST_SIGNATURES: usize = 100;

/// What is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    payload_type: String,
    /// In base64.
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    /// Only a hint: what counts is the key that the verifier has.
    #[serde(default)]
    keyid: Option<String>,
    /// In base64.
    sig: String,
}

impl Envelope {
    /// Signs a document of a type.
    pub(super) fn sign(payload_type: &str, document: &[u8], key: &PrivateKey) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload: STANDARD.encode(document),
            signatures: vec![Signature {
                keyid: Some(String::new()),
                sig: STANDARD.encode(key.sign(&signed(payload_type, document))),
            }],
        }
    }

    /// The document, whoever signed it; `None` where it is of another type or no base64.
    pub(super) fn document(&self, payload_type: &str) -> Option<Vec<u8>> {
        (self.payload_type == payload_type)
            .then(|| decode(&self.payload))
            .flatten()
    }

    /// Whether one of the signatures over the document was made with the key.
    pub(super) fn is_of(&self, key: &PublicKey) -> bool {
        let Some(document) = decode(&self.payload) else {
            return false;
        };
        let signed = signed(&self.payload_type, &document);
        self.signatures
            .iter()
            .take(MOST_SIGNATURES)
            .filter_map(|signature| decode(&signature.sig))
            .any(|signature| key.verifies(&signed, &signature))
    }
}

/// Verifiers take both alphabets.
fn decode(base64: &str) -> Option<Vec<u8>> {
    let plain = STANDARD.decode(base64);
    plain.or_else(|_| URL_SAFE.decode(base64)).ok()
}

/// What is signed: the document with its type and both lengths, so that neither passes for a part of the other
/// (`protocol.md`, "Signature Definition").
fn signed(payload_type: &str, document: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        document.len()
    )
    .into_bytes();
    bytes.extend_from_slice(document);
    bytes
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The example of `protocol.md`.
    #[test]
    fn what_is_signed() {
        assert_eq!(
            signed("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn signed_and_verified() {
        let (key, other) = (
            PrivateKey::generate().unwrap(),
            PrivateKey::generate().unwrap(),
        );
        let envelope = Envelope::sign("text/x", b"hello", &key);
        let text = serde_json::to_string(&envelope).unwrap();
        let mut read: Envelope = serde_json::from_str(&text).unwrap();
        assert!(read.is_of(&key.public()));
        assert!(!read.is_of(&other.public()));
        assert_eq!(read.document("text/x").unwrap(), b"hello");
        assert_eq!(read.document("text/y"), None);
        // Neither the type nor the document can be changed.
        read.payload_type = "text/y".to_owned();
        assert!(!read.is_of(&key.public()));
        read.payload_type = "text/x".to_owned();
        read.payload = STANDARD.encode("hellp");
        assert!(!read.is_of(&key.public()));
        read.payload = "?".to_owned();
        assert!(!read.is_of(&key.public()));
    }
}

//! The cleartext signature of a suite's `InRelease` (RFC 9580 §7).

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, Timestamp};

/// Why a certificate could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Not a PGP certificate.
    #[error("it is not an OpenPGP certificate")]
    Parse(#[source] Box<pgp::errors::Error>),
    /// There is no certificate in it.
    #[error("it contains no OpenPGP certificate")]
    Empty,
}

/// Why a signed text was refused.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no readable signature.
    #[error("it is not signed: no OpenPGP cleartext signature found")]
    Unsigned(#[source] Option<Box<pgp::errors::Error>>),
    /// Nobody we know signed it.
    #[error("it is signed by {}, none of which is in the stack's keyring", .keys.join(", "))]
    UnknownKey {
        /// The signing keys' fingerprints or ids.
        keys: Vec<String>,
    },
    /// A known key signed, but something else than this.
    #[error("the signature by {key} is bad: the text was changed after it was signed")]
    Bad {
        /// The key's fingerprint.
        key: String,
        /// What the verification said.
        #[source]
        source: Box<pgp::errors::Error>,
    },
    /// The key or the signature is past its time, or not yet in it.
    #[error("the signature by {key} does not count: {why}")]
    NotValid {
        /// The key's fingerprint.
        key: String,
        /// Expired, revoked, or made in the future.
        why: &'static str,
    },
}

/// The certificates whose signatures count.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    certificates: Vec<SignedPublicKey>,
}

impl Keyring {
    /// Adds the certificates of a file, binary or armored.
    pub fn add(&mut self, file: &[u8]) -> Result<(), KeyringError> {
        let parse = |source| KeyringError::Parse(Box::new(source));
        let (certificates, _) = SignedPublicKey::from_reader_many(file).map_err(parse)?;
        let before = self.certificates.len();
        for certificate in certificates {
            self.certificates.push(certificate.map_err(parse)?);
        }
        if self.certificates.len() == before {
            return Err(KeyringError::Empty);
        }
        Ok(())
    }

    /// Returns the signed text if any signature over it is good at the time `now` (Unix seconds).
    ///
    /// Debian signs with several keys while one release's keys succeed another's; like apt, one
    /// good signature of a key we have is enough.
    pub fn verify(&self, message: &str, now: i64) -> Result<String, SignatureError> {
        let (message, _) = CleartextSignedMessage::from_string(message)
            .map_err(|source| SignatureError::Unsigned(Some(Box::new(source))))?;
        let text = message.signed_text();
        let mut refusal = None;
        let mut strangers = Vec::new();
        for signature in message.signatures() {
            let Some(signer) = self.signer(signature) else {
                strangers.push(names(signature));
                continue;
            };
            match signer.check(signature, &text, now) {
                Ok(()) => return Ok(text),
                Err(error) => refusal = Some(error),
            }
        }
        Err(match refusal {
            Some(error) => error,
            None if strangers.is_empty() => SignatureError::Unsigned(None),
            None => SignatureError::UnknownKey { keys: strangers },
        })
    }

    fn signer(&self, signature: &Signature) -> Option<Signer<'_>> {
        self.certificates.iter().find_map(|certificate| {
            if made_by(signature, &certificate.primary_key) {
                return Some(Signer {
                    certificate,
                    subkey: None,
                });
            }
            certificate
                .public_subkeys
                .iter()
                .find(|subkey| made_by(signature, &subkey.key))
                .map(|subkey| Signer {
                    certificate,
                    subkey: Some(subkey),
                })
        })
    }
}

struct Signer<'a> {
    certificate: &'a SignedPublicKey,
    subkey: Option<&'a SignedPublicSubKey>,
}

impl Signer<'_> {
    fn check(&self, signature: &Signature, text: &str, now: i64) -> Result<(), SignatureError> {
        let bad = |source| SignatureError::Bad {
            key: self.name(),
            source: Box::new(source),
        };
        if !matches!(
            signature.typ(),
            Some(SignatureType::Text | SignatureType::Binary)
        ) {
            return Err(self.not_valid("it is not a signature over a text"));
        }
        match self.subkey {
            Some(subkey) => {
                signature
                    .verify(&subkey.key, text.as_bytes())
                    .map_err(bad)?;
                subkey
                    .verify_bindings(&self.certificate.primary_key)
                    .map_err(bad)?;
            }
            None => signature
                .verify(&self.certificate.primary_key, text.as_bytes())
                .map_err(bad)?,
        }
        self.check_time(signature, now)
    }

    fn check_time(&self, signature: &Signature, now: i64) -> Result<(), SignatureError> {
        let made = signature
            .created()
            .map_or(0, |time| i64::from(time.as_secs()));
        // A clock that is a little slow must not refuse a mirror that is right up to date.
        if made > now + CLOCK_SKEW {
            return Err(self.not_valid("it was made in the future; check this machine's clock"));
        }
        if ended(made, signature.signature_expiration_time(), now) {
            return Err(self.not_valid("the signature has expired"));
        }
        let details = &self.certificate.details;
        if !details.revocation_signatures.is_empty() {
            return Err(self.not_valid("the key is revoked"));
        }
        let primary = &self.certificate.primary_key;
        let born = i64::from(primary.created_at().as_secs());
        let self_signatures = details
            .users
            .iter()
            .flat_map(|user| &user.signatures)
            .chain(&details.direct_signatures)
            .filter(|candidate| {
                candidate.is_certification() || candidate.typ() == Some(SignatureType::Key)
            })
            .filter(|candidate| made_by(candidate, primary));
        if key_ended(born, self_signatures, now) {
            return Err(self.not_valid("the key has expired"));
        }
        let Some(subkey) = self.subkey else {
            return Ok(());
        };
        if subkey
            .signatures
            .iter()
            .any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation))
        {
            return Err(self.not_valid("the key is revoked"));
        }
        let born = i64::from(subkey.key.created_at().as_secs());
        if key_ended(born, subkey.signatures.iter(), now) {
            return Err(self.not_valid("the key has expired"));
        }
        Ok(())
    }

    fn not_valid(&self, why: &'static str) -> SignatureError {
        SignatureError::NotValid {
            key: self.name(),
            why,
        }
    }

    fn name(&self) -> String {
        let fingerprint = match self.subkey {
            Some(subkey) => subkey.key.fingerprint(),
            None => self.certificate.primary_key.fingerprint(),
        };
        fingerprint.to_string().to_uppercase()
    }
}

/// Seconds by which clocks may differ.
pub(crate) const CLOCK_SKEW: i64 = 3600;

fn ended(start: i64, lifetime: Option<pgp::types::Duration>, now: i64) -> bool {
    lifetime
        .map(|lifetime| i64::from(lifetime.as_secs()))
        .is_some_and(|seconds| seconds != 0 && start + seconds <= now)
}

/// A key lives as long as its newest self-signature says.
fn key_ended<'a>(born: i64, signatures: impl Iterator<Item = &'a Signature>, now: i64) -> bool {
    signatures
        .max_by_key(|signature| signature.created().map_or(0, Timestamp::as_secs))
        .is_some_and(|newest| ended(born, newest.key_expiration_time(), now))
}

fn made_by(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().contains(&&key.fingerprint())
        || signature.issuer_key_id().contains(&&key.legacy_key_id())
}

fn names(signature: &Signature) -> String {
    signature
        .issuer_fingerprint()
        .first()
        .map(ToString::to_string)
        .or_else(|| signature.issuer_key_id().first().map(ToString::to_string))
        .unwrap_or_else(|| "an unnamed key".to_owned())
        .to_uppercase()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;

//! Key files: PKCS#8 and SEC 1 as openssl writes them, and cosign's own, which a password closes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use oci_image::Digest;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The label of cosign's closed keys, and that of its first years.
const CLOSED: [&str; 2] = [
    "ENCRYPTED SIGSTORE PRIVATE KEY",
    "ENCRYPTED COSIGN PRIVATE KEY",
];

/// What cosign takes to make a key of a password.
const SCRYPT: ScryptParams = ScryptParams {
    n: 65_536,
    r: 8,
    p: 1,
};
/// A file that asks for more memory than this, in bytes, or for more rounds is not one of cosign's.
const MOST_SCRYPT_MEMORY: u64 = 256 << 20;
const MOST_SCRYPT_ROUNDS: u32 = 16;

/// Why a key cannot be used. Nothing of the key or its password is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("it is not of the form PEM")]
    Pem,
    #[error("it holds a {0}, which is no key for signatures of images")]
    Kind(String),
    #[error("it is closed with a password, and COSIGN_PASSWORD is not set")]
    PasswordMissing,
    #[error("the password is not the one that it is closed with, or it is damaged")]
    Password,
    #[error("it is closed in a way that is not known")]
    Closed,
    #[error("it is not an ECDSA key on the curve P-256")]
    Curve,
    #[error("the system gives no random numbers")]
    Random,
}

/// What signs.
pub(crate) struct PrivateKey(SigningKey);

/// What verifies.
pub(crate) struct PublicKey(VerifyingKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl PrivateKey {
    /// A new key from the system's random numbers.
    pub(crate) fn generate() -> Result<Self, KeyError> {
        // Nearly every number is a key; that three in a row are none never happens.
        for _ in 0..3 {
            if let Ok(key) = SigningKey::from_slice(&random::<32>()?) {
                return Ok(Self(key));
            }
        }
        Err(KeyError::Random)
    }

    /// Reads a file's text; `password` is asked for only where the key is closed.
    pub(crate) fn parse(
        text: &str,
        password: impl FnOnce() -> Option<String>,
    ) -> Result<Self, KeyError> {
        let (label, bytes) = pem(text)?;
        let key = match label {
            "PRIVATE KEY" => SigningKey::from_pkcs8_der(&bytes).ok(),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&bytes)
                .ok()
                .map(SigningKey::from),
            label if CLOSED.contains(&label) => {
                let password = password().ok_or(KeyError::PasswordMissing)?;
                SigningKey::from_pkcs8_der(&open(&bytes, &password)?).ok()
            }
            other => return Err(KeyError::Kind(other.to_lowercase())),
        };
        key.map(Self).ok_or(KeyError::Curve)
    }

    /// The key as a file: closed as cosign does it with a password, else plain PKCS#8.
    pub(crate) fn file(&self, password: Option<&str>) -> Result<String, KeyError> {
        let der = self.0.to_pkcs8_der().map_err(|_| KeyError::Curve)?;
        match password {
            Some(password) => close(der.as_bytes(), password),
            None => der
                .to_pem("PRIVATE KEY", LineEnding::LF)
                .map(|text| text.to_string())
                .map_err(|_| KeyError::Curve),
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// An ASN.1 signature over the SHA-256 of a document; the same each time (RFC 6979).
    pub(crate) fn sign(&self, document: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(document);
        signature.to_der().as_bytes().to_vec()
    }
}

impl PublicKey {
    /// Reads a file's text.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        match pem(text)? {
            ("PUBLIC KEY", bytes) => VerifyingKey::from_public_key_der(&bytes)
                .map(Self)
                .map_err(|_| KeyError::Curve),
            (other, _) => Err(KeyError::Kind(other.to_lowercase())),
        }
    }

    /// The key as a file.
    pub(crate) fn file(&self) -> Result<String, KeyError> {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| KeyError::Curve)
    }

    /// What bundles call the key: the SHA-256 of its DER form, in base64.
    pub(crate) fn hint(&self) -> Result<String, KeyError> {
        let der = self.0.to_public_key_der().map_err(|_| KeyError::Curve)?;
        Ok(STANDARD.encode(Digest::of(der.as_bytes()).as_bytes()))
    }

    /// Whether this is the private key's signature over the document.
    pub(crate) fn verifies(&self, document: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature)
            .is_ok_and(|signature| self.0.verify(document, &signature).is_ok())
    }
}

/// The first block of a PEM file (RFC 7468): its label and its bytes.
fn pem(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    // openssl puts the curve's parameters before an EC key.
    let mut rest = text;
    while let Some((_, block)) = rest.split_once("-----BEGIN ") {
        let (label, body) = block.split_once("-----").ok_or(KeyError::Pem)?;
        let end = format!("-----END {label}-----");
        let (body, after) = body.split_once(&end).ok_or(KeyError::Pem)?;
        if label == "EC PARAMETERS" {
            rest = after;
            continue;
        }
        let base64: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(base64).map_err(|_| KeyError::Pem)?;
        return Ok((label, bytes));
    }
    Err(KeyError::Pem)
}

/// What is inside the PEM of a closed key.
#[derive(Serialize, Deserialize)]
struct ClosedKey {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParams,
    salt: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct ScryptParams {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";

fn open(bytes: &[u8], password: &str) -> Result<Vec<u8>, KeyError> {
    let closed: ClosedKey = serde_json::from_slice(bytes).map_err(|_| KeyError::Closed)?;
    if closed.kdf.name != KDF || closed.cipher.name != CIPHER {
        return Err(KeyError::Closed);
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| KeyError::Closed);
    let cipher = cipher(password, &decode(&closed.kdf.salt)?, closed.kdf.params)?;
    let nonce: [u8; 24] = decode(&closed.cipher.nonce)?
        .try_into()
        .map_err(|_| KeyError::Closed)?;
    cipher
        .decrypt(&nonce.into(), decode(&closed.ciphertext)?.as_slice())
        .map_err(|_| KeyError::Password)
}

fn close(key: &[u8], password: &str) -> Result<String, KeyError> {
    let (salt, nonce) = (random::<32>()?, random::<24>()?);
    let ciphertext = cipher(password, &salt, SCRYPT)?
        .encrypt(&nonce.into(), key)
        .map_err(|_| KeyError::Closed)?;
    let closed = serde_json::to_vec(&ClosedKey {
        kdf: Kdf {
            name: KDF.to_owned(),
            params: SCRYPT,
            salt: STANDARD.encode(salt),
        },
        cipher: Cipher {
            name: CIPHER.to_owned(),
            nonce: STANDARD.encode(nonce),
        },
        ciphertext: STANDARD.encode(ciphertext),
    })
    .map_err(|_| KeyError::Closed)?;
    let base64 = STANDARD.encode(closed);
    let mut text = String::new();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    let label = CLOSED[0];
    Ok(format!(
        "-----BEGIN {label}-----\n{text}-----END {label}-----\n"
    ))
}

fn cipher(password: &str, salt: &[u8], params: ScryptParams) -> Result<XSalsa20Poly1305, KeyError> {
    let memory = params
        .n
        .saturating_mul(128)
        .saturating_mul(u64::from(params.r));
    if !params.n.is_power_of_two() || memory > MOST_SCRYPT_MEMORY || params.p > MOST_SCRYPT_ROUNDS {
        return Err(KeyError::Closed);
    }
    let log_n = u8::try_from(params.n.ilog2()).map_err(|_| KeyError::Closed)?;
    let settings =
        scrypt::Params::new(log_n, params.r, params.p, 32).map_err(|_| KeyError::Closed)?;
    let mut key = [0; 32];
    scrypt::scrypt(password.as_bytes(), salt, &settings, &mut key).map_err(|_| KeyError::Closed)?;
    Ok(XSalsa20Poly1305::new(&key.into()))
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], KeyError> {
    let mut bytes = [0; LENGTH];
    let mut filled = 0;
    while filled < LENGTH {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .map_err(|_| KeyError::Random)?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;

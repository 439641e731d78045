//! Archive keys made in a test.

#![allow(clippy::unwrap_used, reason = "tests")]

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, EncryptionCaps, KeyType, SecretKeyParamsBuilder,
    SignedPublicKey, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{Duration, KeyDetails, Password, SigningKey, Tag, Timestamp};

/// When all keys here were made (2026-01-01).
pub(crate) const BORN: u32 = 1_767_225_600;

/// A key with a signing subkey, as Debian's automatic ones.
pub(crate) struct Key {
    secret: SignedSecretKey,
}

impl Key {
    pub(crate) fn new() -> Self {
        let born = Timestamp::from_secs(BORN);
        let subkey = SubkeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_encrypt(EncryptionCaps::None)
            .created_at(born)
            .build()
            .unwrap();
        let params = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .created_at(born)
            .primary_user_id("Test Archive <archive@example.com>".into())
            .subkey(subkey)
            .build()
            .unwrap();
        Self {
            secret: params.generate(rand::thread_rng()).unwrap(),
        }
    }

    /// The certificate, which says that the key lives for `lifetime` seconds if one is given.
    pub(crate) fn certificate(&self, lifetime: Option<u32>) -> Vec<u8> {
        let mut public = SignedPublicKey::from(self.secret.clone());
        if let Some(lifetime) = lifetime {
            let primary = &self.secret.primary_key;
            let user = &mut public.details.users[0];
            let mut config = SignatureConfig::v4(
                SignatureType::CertPositive,
                primary.algorithm(),
                primary.hash_alg(),
            );
            config.hashed_subpackets = vec![
                // After the one that making the key made.
                regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
                    u32::MAX - 1,
                ))),
                regular(SubpacketData::IssuerFingerprint(primary.fingerprint())),
                regular(SubpacketData::KeyExpirationTime(Duration::from_secs(
                    lifetime,
                ))),
            ];
            let signature = config
                .sign_certification(
                    primary,
                    &public.primary_key,
                    &Password::empty(),
                    Tag::UserId,
                    &user.id,
                )
                .unwrap();
            user.signatures.push(signature);
        }
        public.to_bytes().unwrap()
    }

    /// A cleartext signature by the subkey, made at the given time, good for `lifetime` seconds if one is given.
    pub(crate) fn sign(&self, text: &str, made: u32, lifetime: Option<u32>) -> String {
        let key = &self.secret.secret_subkeys[0].key;
        let mut config = SignatureConfig::v4(SignatureType::Text, key.algorithm(), key.hash_alg());
        config.hashed_subpackets = vec![
            regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
                made,
            ))),
            regular(SubpacketData::IssuerFingerprint(key.fingerprint())),
        ];
        if let Some(lifetime) = lifetime {
            let lifetime = SubpacketData::SignatureExpirationTime(Duration::from_secs(lifetime));
            config.hashed_subpackets.push(regular(lifetime));
        }
        CleartextSignedMessage::new(text, config, key, &Password::empty())
            .unwrap()
            .to_armored_string(ArmorOptions::default())
            .unwrap()
    }
}

fn regular(data: SubpacketData) -> Subpacket {
    Subpacket::regular(data).unwrap()
}

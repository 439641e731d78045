//! Signatures of images with a key, as cosign makes and reads them.
//!
//! What is signed is a small document that names the image's digest ("simple signing"). It is a layer of an image under
//! the tag `sha256-<hex>.sig` of the same repository; the signature (ECDSA on P-256 over SHA-256) is an annotation of
//! the layer (cosign's `SIGNATURE_SPEC.md`).

pub(crate) mod attestation;
mod dsse;
pub(crate) mod key;
mod payload;
pub(crate) mod statement;

use crate::failure::{Exit, Failure, OrFail};
use crate::referrers::failure;
use attestation::{Form, Wanted};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use key::{PrivateKey, PublicKey};
use oci_image::{BlobStore, Descriptor, Digest, Manifest, Reference, media_type};
use oci_registry::{Client, referrers};
use serde_json::json;

const SIGNATURES: Kept = Kept {
    suffix: ".sig",
    title: "signature",
    longest: 1 << 20,
};
const UNSIGNED: &str = "it has no signature";
const SIGN: &str = "sign it: slugc sign REF --key FILE, or have its maker do so";
/// The media type of what is signed.
const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The annotation of a layer that holds its signature, in base64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// How many signatures of an image are looked at.
const MOST_SIGNATURES: usize = 100;

/// What an image has under a tag that is made of its digest.
struct Kept {
    /// What the tag ends with.
    suffix: &'static str,
    /// What one of it is called.
    title: &'static str,
    /// No document of it is longer, in bytes.
    longest: u64,
}

/// An image in its registry: the descriptor of its manifest or index.
pub(crate) struct Target<'a> {
    pub(crate) client: &'a Client,
    pub(crate) reference: &'a Reference,
    pub(crate) image: Descriptor,
}

impl<'a> Target<'a> {
    pub(crate) fn find(client: &'a Client, reference: &'a Reference) -> Result<Self, Failure> {
        let image = referrers::resolve(client, reference)
            .map_err(|error| failure(error, format!("cannot look for {reference}")))?
            .ok_or_else(|| {
                Failure::new(Exit::Input, format!("there is no image {reference}"))
                    .hint("push it first: slugc push REGISTRY/REPOSITORY:TAG")
            })?;
        Ok(Self {
            client,
            reference,
            image,
        })
    }

    /// The repository with the digest: what a signature is about.
    pub(crate) fn shown(&self) -> String {
        format!("{}@{}", self.reference.name(), self.image.digest)
    }

    /// What is under the image's tag of these.
    fn tagged(&self, kept: &Kept) -> Result<Option<Manifest>, Failure> {
        let tag = referrers::tag_of(self.image.digest, kept.suffix);
        let found = referrers::manifest(self.client, self.reference, &tag).map_err(|error| {
            failure(
                error,
                format!("cannot read the {}s of {}", kept.title, self.shown()),
            )
        })?;
        Ok(found.map(|(_, manifest)| manifest))
    }

    fn blob(&self, layer: &Descriptor, kept: &Kept) -> Result<Vec<u8>, Failure> {
        referrers::blob(self.client, self.reference, layer, kept.longest).map_err(|error| {
            failure(
                error,
                format!("cannot read a {} of {}", kept.title, self.shown()),
            )
        })
    }
}

impl Kept {
    fn putting(&self, target: &Target<'_>) -> String {
        format!(
            "cannot put the {} of {} into the store",
            self.title,
            target.shown()
        )
    }
}

/// What a signing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The signature is in the registry.
    Added,
    /// It was there.
    Already,
}

/// Adds a signature to those that the image has.
pub(crate) fn sign(
    store: &BlobStore,
    target: &Target<'_>,
    key: &PrivateKey,
) -> Result<Signed, Failure> {
    let putting = || SIGNATURES.putting(target);
    let document = payload::document(&target.reference.name(), target.image.digest)
        .or_fail(Exit::General, putting)?;
    let public = key.public();
    let mut layers = Vec::new();
    if let Some(manifest) = target.tagged(&SIGNATURES)? {
        if manifest.layers.len() >= MOST_SIGNATURES {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "{} has {} signatures, as many as are looked at",
                    target.shown(),
                    manifest.layers.len()
                ),
            )
            .hint("remove those that nobody needs from its registry, then sign again"));
        }
        for layer in manifest.layers {
            let bytes = target.blob(&layer, &SIGNATURES)?;
            if bytes == document
                && signature_of(&layer).is_some_and(|it| public.verifies(&bytes, &it))
            {
                return Ok(Signed::Already);
            }
            store.put(&bytes).or_fail(Exit::Store, putting)?;
            layers.push(layer);
        }
    }
    let (digest, size) = store.put(&document).or_fail(Exit::Store, putting)?;
    let mut layer = Descriptor::new(PAYLOAD, digest, size);
    let signature = STANDARD.encode(key.sign(&document));
    layer.annotations.insert(SIGNATURE.to_owned(), signature);
    layers.push(layer);
    publish(store, target, &SIGNATURES, layers)?;
    Ok(Signed::Added)
}

/// Puts layers that are in the store, as an image without files, under the image's tag of these.
fn publish(
    store: &BlobStore,
    target: &Target<'_>,
    kept: &Kept,
    layers: Vec<Descriptor>,
) -> Result<(), Failure> {
    let putting = || kept.putting(target);
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = serde_json::to_vec(&config).or_fail(Exit::General, putting)?;
    let (digest, size) = store.put(&config).or_fail(Exit::Store, putting)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, size);
    let manifest = Manifest::new(config, layers);
    referrers::tag(
        target.client,
        store,
        target.reference,
        &referrers::tag_of(target.image.digest, kept.suffix),
        &manifest,
    )
    .map_err(|error| {
        failure(
            error,
            format!("cannot attach the {} to {}", kept.title, target.shown()),
        )
    })?;
    Ok(())
}

/// Signs the image as cosign 3 does it: a statement that says nothing else.
pub(crate) fn sign_in_bundle(
    store: &BlobStore,
    target: &Target<'_>,
    key: &PrivateKey,
) -> Result<Signed, Failure> {
    let document = statement::on_image(
        &target.reference.name(),
        target.image.digest,
        statement::SIGNED,
        &json!({}),
    );
    let document = document.to_string();
    attestation::attest(store, target, key, document.as_bytes(), Form::Bundle)
}

/// Succeeds if one of the image's signatures was made with this key over this image: under its tag, or in a bundle.
pub(crate) fn verify(target: &Target<'_>, key: &PublicKey) -> Result<(), Failure> {
    let in_bundles = || {
        let wanted = Wanted {
            predicate_type: statement::SIGNED,
            plural: "signatures",
            none: UNSIGNED,
            hint: SIGN,
        };
        attestation::verify(target, key, &wanted).map(drop)
    };
    let Some(manifest) = target.tagged(&SIGNATURES)? else {
        return in_bundles();
    };
    match verify_tagged(target, &manifest, key) {
        Ok(()) => Ok(()),
        Err(failure) => match in_bundles() {
            Ok(()) => Ok(()),
            // What could not be looked at may be the signature.
            Err(other) if failure.exit == Exit::Unverified && other.exit != Exit::Unverified => {
                Err(other)
            }
            Err(_) => Err(failure),
        },
    }
}

fn verify_tagged(target: &Target<'_>, manifest: &Manifest, key: &PublicKey) -> Result<(), Failure> {
    let mut other_image = None;
    let mut count = 0;
    let mut unread = None;
    let payloads = manifest.layers.iter();
    let payloads = payloads.filter(|layer| layer.media_type == PAYLOAD);
    for layer in payloads.take(MOST_SIGNATURES) {
        count += 1;
        let Some(signature) = signature_of(layer) else {
            continue;
        };
        let document = match target.blob(layer, &SIGNATURES) {
            Ok(document) => document,
            Err(failure) => {
                unread = Some(failure);
                continue;
            }
        };
        if !key.verifies(&document, &signature) {
            continue;
        }
        match payload::check(&document, target.image.digest) {
            Ok(()) => return Ok(()),
            Err(problem) => other_image = Some(problem),
        }
    }
    match (count, other_image) {
        (0, _) => Err(unverified(target, UNSIGNED, SIGN)),
        (_, Some(problem)) => Err(unverified(
            target,
            &problem,
            "somebody moved a signature: do not run this image",
        )),
        (_, None) if let Some(failure) = unread => Err(failure),
        (count, None) => Err(unverified(
            target,
            &format!("none of its {count} signatures was made with this key"),
            "give the public key of the image's maker to --key; if it is that key, do not run this image",
        )),
    }
}

fn unverified(target: &Target<'_>, problem: &str, hint: &str) -> Failure {
    Failure::new(
        Exit::Unverified,
        format!("{} is not verified: {problem}", target.shown()),
    )
    .hint(hint)
}

fn signature_of(layer: &Descriptor) -> Option<Vec<u8>> {
    STANDARD.decode(layer.annotations.get(SIGNATURE)?).ok()
}

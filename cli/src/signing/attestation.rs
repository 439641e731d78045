//! Signed statements on images, in the two forms that cosign has: envelopes under the tag `sha256-<hex>.att`
//! (`specs/ATTESTATION_SPEC.md`), and sigstore bundles as referrers of the image (`specs/BUNDLE_SPEC.md`, cosign 3).

use super::dsse::Envelope;
use super::key::{PrivateKey, PublicKey};
use super::statement::{self, MEDIA_TYPE};
use super::{Kept, MOST_SIGNATURES, Signed, Target, publish, unverified};
use crate::failure::{Exit, Failure, OrFail};
use crate::referrers::failure;
use oci_image::{BlobStore, Descriptor};
use oci_registry::referrers::{self, Artifact};
use serde::{Deserialize, Serialize};

/// The media type of envelopes.
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The media type of bundles.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// What those of all versions begin with.
const ANY_BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// Envelopes, under their tag and in bundles.
const STATEMENTS: Kept = Kept {
    suffix: ".att",
    title: "signed statement",
    // An SBOM of a large image in base64 is not longer.
    longest: 128 << 20,
};
/// The annotation of an envelope that says what is in it.
const PREDICATE_TYPE: &str = "predicateType";

/// Where signed statements are put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Under a tag, which every cosign reads.
    Tag,
    /// As a bundle.
    Bundle,
}

/// The fields of a bundle that signatures with a key have. Certificates and entries of transparency logs are others'.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<Envelope>,
}

/// Signs a statement on the image and puts it into the registry.
pub(crate) fn attest(
    store: &BlobStore,
    target: &Target<'_>,
    key: &PrivateKey,
    document: &[u8],
    form: Form,
) -> Result<Signed, Failure> {
    let making = || format!("cannot make a signed statement on {}", target.shown());
    let kind = statement::predicate_type(document).unwrap_or_default();
    let public = key.public();
    let same = |envelope: &Envelope| {
        envelope.document(MEDIA_TYPE).as_deref() == Some(document) && envelope.is_of(&public)
    };
    let envelope = || Envelope::sign(MEDIA_TYPE, document, key);
    if form == Form::Bundle {
        let mut is_there = false;
        let listed = each_bundle(target, &mut None, |envelope| is_there |= same(envelope))?;
        if is_there {
            return Ok(Signed::Already);
        }
        if listed >= MOST_SIGNATURES {
            return Err(too_many(target, listed));
        }
        let bundle = Bundle {
            media_type: BUNDLE.to_owned(),
            verification_material: serde_json::json!({
                "publicKey": { "hint": public.hint().or_fail(Exit::General, making)? },
            }),
            dsse_envelope: Some(envelope()),
        };
        let content = serde_json::to_vec(&bundle).or_fail(Exit::General, making)?;
        let artifact = Artifact {
            artifact_type: BUNDLE,
            content: &content,
            annotations: &[
                ("dev.sigstore.bundle.content", "dsse-envelope"),
                ("dev.sigstore.bundle.predicateType", &kind),
            ],
        };
        referrers::attach(
            target.client,
            store,
            target.reference,
            &target.image,
            &artifact,
        )
        .map_err(|error| {
            failure(
                error,
                format!("cannot attach the bundle to {}", target.shown()),
            )
        })?;
        return Ok(Signed::Added);
    }
    let mut layers = Vec::new();
    for layer in tagged(target)? {
        let bytes = target.blob(&layer, &STATEMENTS)?;
        if serde_json::from_slice(&bytes).is_ok_and(|envelope| same(&envelope)) {
            return Ok(Signed::Already);
        }
        store.put(&bytes).or_fail(Exit::Store, making)?;
        layers.push(layer);
    }
    if layers.len() >= MOST_SIGNATURES {
        return Err(too_many(target, layers.len()));
    }
    let bytes = serde_json::to_vec(&envelope()).or_fail(Exit::General, making)?;
    let (digest, size) = store.put(&bytes).or_fail(Exit::Store, making)?;
    let mut layer = Descriptor::new(ENVELOPE, digest, size);
    // cosign wants the annotation of signatures to be there.
    for (name, value) in [(super::SIGNATURE, String::new()), (PREDICATE_TYPE, kind)] {
        layer.annotations.insert(name.to_owned(), value);
    }
    layers.push(layer);
    publish(store, target, &STATEMENTS, layers)?;
    Ok(Signed::Added)
}

/// What is looked for, and how people are told that it is not there.
pub(crate) struct Wanted<'a> {
    pub(crate) predicate_type: &'a str,
    /// `signatures`, `signed statements`.
    pub(crate) plural: &'a str,
    /// Why it does not verify when there is none.
    pub(crate) none: &'a str,
    /// How one is made.
    pub(crate) hint: &'a str,
}

/// The statements of one type on the image that were signed with the key, each once; at least one.
pub(crate) fn verify(
    target: &Target<'_>,
    key: &PublicKey,
    wanted: &Wanted<'_>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let predicate_type = wanted.predicate_type;
    let mut found = Found::default();
    for layer in tagged(target)? {
        let named = layer.annotations.get(PREDICATE_TYPE);
        if layer.media_type != ENVELOPE || named.is_some_and(|named| named != predicate_type) {
            continue;
        }
        match target.blob(&layer, &STATEMENTS) {
            Ok(bytes) => {
                if let Ok(envelope) = serde_json::from_slice(&bytes) {
                    found.add(target, key, predicate_type, &envelope);
                }
            }
            Err(failure) => found.unread = Some(failure),
        }
    }
    let mut unread = None;
    each_bundle(target, &mut unread, |envelope| {
        found.add(target, key, predicate_type, envelope);
    })?;
    found.unread = found.unread.or(unread);
    if !found.statements.is_empty() {
        return Ok(found.statements);
    }
    Err(match (found.count, found.other_image, found.unread) {
        (_, Some(problem), _) => unverified(
            target,
            &problem,
            "somebody moved a statement: do not believe it",
        ),
        (_, None, Some(failure)) => failure,
        (0, None, None) => unverified(target, wanted.none, wanted.hint),
        (count, None, None) => unverified(
            target,
            &format!(
                "none of its {count} {} was made with this key",
                wanted.plural
            ),
            "give the public key of the image's maker to --key; if it is that key, do not run this image",
        ),
    })
}

/// What was found of one type.
#[derive(Default)]
struct Found {
    statements: Vec<Vec<u8>>,
    /// Of any key.
    count: usize,
    other_image: Option<String>,
    unread: Option<Failure>,
}

impl Found {
    fn add(
        &mut self,
        target: &Target<'_>,
        key: &PublicKey,
        predicate_type: &str,
        envelope: &Envelope,
    ) {
        let Some(document) = envelope.document(MEDIA_TYPE) else {
            return;
        };
        if statement::predicate_type(&document).as_deref() != Some(predicate_type) {
            return;
        }
        self.count += 1;
        if !envelope.is_of(key) {
            return;
        }
        match statement::check(&document, target.image.digest) {
            Ok(()) if self.statements.contains(&document) => {}
            Ok(()) => self.statements.push(document),
            Err(problem) => self.other_image = Some(problem),
        }
    }
}

/// The layers under the image's tag of envelopes.
fn tagged(target: &Target<'_>) -> Result<Vec<Descriptor>, Failure> {
    let layers = target.tagged(&STATEMENTS)?.map(|manifest| manifest.layers);
    let layers = layers.unwrap_or_default();
    if layers.len() > MOST_SIGNATURES {
        return Err(too_many(target, layers.len()));
    }
    Ok(layers)
}

/// Looks at the envelopes in the bundles that are attached to the image, one after the other. What is no bundle, or one
/// without an envelope, is passed over, and what cannot be read is left in `unread`: anybody may attach anything. Returns
/// how many say that they are bundles.
fn each_bundle(
    target: &Target<'_>,
    unread: &mut Option<Failure>,
    mut look: impl FnMut(&Envelope),
) -> Result<usize, Failure> {
    let reading = |error| {
        failure(
            error,
            format!("cannot read what is attached to {}", target.shown()),
        )
    };
    let (client, reference) = (target.client, target.reference);
    let mut listed =
        referrers::list(client, reference, target.image.digest, None).map_err(reading)?;
    listed.retain(|entry| {
        let kind = entry.artifact_type.as_deref();
        kind.is_some_and(|kind| kind.starts_with(ANY_BUNDLE))
    });
    if listed.len() > MOST_SIGNATURES {
        return Err(too_many(target, listed.len()));
    }
    let count = listed.len();
    for entry in listed {
        let digest = entry.digest.to_string();
        let found = match referrers::manifest(client, reference, &digest) {
            Ok(found) => found,
            Err(error) => {
                *unread = Some(reading(error));
                continue;
            }
        };
        let blob = found.and_then(|(_, manifest)| manifest.layers.into_iter().next());
        if let Some(blob) = blob.filter(|blob| blob.media_type.starts_with(ANY_BUNDLE)) {
            let bytes = match target.blob(&blob, &STATEMENTS) {
                Ok(bytes) => bytes,
                Err(failure) => {
                    *unread = Some(failure);
                    continue;
                }
            };
            let bundle = serde_json::from_slice::<Bundle>(&bytes).ok();
            if let Some(envelope) = bundle.and_then(|bundle| bundle.dsse_envelope) {
                look(&envelope);
            }
        }
    }
    Ok(count)
}

fn too_many(target: &Target<'_>, count: usize) -> Failure {
    Failure::new(
        Exit::Input,
        format!(
            "{} has {count} signed statements, and no more than {MOST_SIGNATURES} are looked at",
            target.shown()
        ),
    )
    .hint("remove those that nobody needs from its registry")
}

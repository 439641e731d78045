//! What this machine can state of an image in a registry, to be signed.

use crate::build::record;
use crate::commands;
use crate::failure::{Exit, Failure};
use crate::place::{Place, Source};
use crate::provenance;
use crate::sbom::{Bill, Format};
use crate::signing::Target;
use crate::signing::statement::{self, Kind};
use crate::transfer::{Fetched, Transfer};
use oci_image::media_type;
use serde_json::Value;

/// A statement of each kind on the image, as JSON. Nothing that somebody attached is taken over: what is signed is what
/// the image itself and this store's records say.
pub(crate) fn on(
    transfer: &Transfer<'_>,
    target: &Target<'_>,
    kinds: &[Kind],
) -> Result<Vec<(Kind, Vec<u8>)>, Failure> {
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let (name, image) = (target.reference, &target.image);
    if media_type::is_index(&image.media_type) {
        return Err(Failure::new(
            Exit::Input,
            format!("{name} is an index of images for several platforms, and --attest states something of one image"),
        )
        .hint("name the image by its digest; slugc manifest inspect lists them"));
    }
    let source = Source::Elsewhere(Place::Registry(name.clone()));
    let fetched = if record::is_complete(transfer.store.blobs(), &image.digest) {
        Fetched {
            manifest: image.clone(),
            name: Some(name.clone()),
            origin: None,
        }
    } else {
        let by_digest = Place::Registry(name.with_digest(image.digest));
        transfer.fetch(&Source::Elsewhere(by_digest))?
    };
    let bill = commands::sbom::bill(transfer.store, &source, &fetched)?;
    let of = |kind: &Kind| {
        let document = match kind {
            Kind::Provenance => provenance::statement(transfer.store, &source, image, name, &bill)?,
            Kind::Cyclonedx => of_sbom(target, *kind, &bill, Format::Cyclonedx),
            Kind::Spdx => of_sbom(target, *kind, &bill, Format::Spdx),
        };
        Ok((*kind, document.to_string().into_bytes()))
    };
    kinds.iter().map(of).collect()
}

fn of_sbom(target: &Target<'_>, kind: Kind, bill: &Bill, format: Format) -> Value {
    statement::on_image(
        &target.reference.name(),
        target.image.digest,
        kind.predicate_type(),
        &bill.json(format),
    )
}

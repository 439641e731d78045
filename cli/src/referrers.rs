//! What goes to a registry beside an image, as referrers of it: SBOMs and provenance.

use crate::args::{AttachmentArgs, RegistryArgs};
use crate::commands;
use crate::failure::{Exit, Failure, OrFail};
use crate::place::{Place, Source};
use crate::provenance;
use crate::sbom::{Bill, Format};
use crate::signing::statement;
use crate::transfer::registry::{self, refused};
use crate::transfer::{Fetched, Transfer};
use oci_image::{Descriptor, Reference};
use oci_registry::referrers::{self, Artifact, Attached, ReferrerError};
use oci_registry::{Client, PushError};

/// No SBOM is longer, in bytes.
const LONGEST: u64 = 64 << 20;

/// What to attach, and where.
pub(crate) struct Attachments<'a> {
    args: &'a AttachmentArgs,
    target: Option<Reference>,
}

impl<'a> Attachments<'a> {
    /// Where several places get the image, those in registries get what is attached: one there has to be.
    pub(crate) fn check(args: &'a AttachmentArgs, targets: &[Place]) -> Result<(), Failure> {
        let is_in_registry = |place: &&Place| matches!(place, Place::Registry(_));
        match targets.iter().find(is_in_registry).or(targets.first()) {
            Some(place) => Self::choose(args, place).map(drop),
            None if args.sbom || args.provenance => Err(nowhere()),
            None => Ok(()),
        }
    }

    /// Nothing can be attached to images in files and engines.
    pub(crate) fn choose(args: &'a AttachmentArgs, target: &Place) -> Result<Self, Failure> {
        let target = match target {
            Place::Registry(name) => Some(name.clone().or_latest()),
            _ => None,
        };
        if (args.sbom || args.provenance) && target.is_none() {
            return Err(nowhere());
        }
        Ok(Self { args, target })
    }

    /// Attaches what is asked for to the image, which is in the registry.
    pub(crate) fn send(
        &self,
        transfer: &Transfer<'_>,
        image: &Fetched,
        source: &Source,
    ) -> Result<(), Failure> {
        let Some(target) = self
            .target
            .as_ref()
            .filter(|_| self.args.sbom || self.args.provenance)
        else {
            return Ok(());
        };
        let client = registry::connect(target, transfer.registry)?;
        let bill = commands::sbom::bill(
            transfer.store,
            &Source::Elsewhere(Place::Registry(target.clone())),
            &Fetched {
                name: Some(target.clone()),
                ..image.clone()
            },
        )?;
        let sending = Sending {
            transfer,
            client: &client,
            target,
            subject: &image.manifest,
        };
        if self.args.sbom {
            for format in Format::ALL {
                sending.sbom(&bill, format)?;
            }
        }
        if self.args.provenance {
            let statement =
                provenance::statement(transfer.store, source, &image.manifest, target, &bill)?;
            let statement = serde_json::to_vec_pretty(&statement).or_fail(Exit::General, || {
                "cannot write the provenance as JSON".to_owned()
            })?;
            sending.attach(
                "provenance",
                &Artifact {
                    artifact_type: statement::MEDIA_TYPE,
                    content: &statement,
                    annotations: &[("in-toto.io/predicate-type", provenance::PREDICATE_TYPE)],
                },
            )?;
        }
        Ok(())
    }
}

fn nowhere() -> Failure {
    Failure::new(
        Exit::Usage,
        "--sbom and --provenance attach to images in registries only",
    )
    .hint("push to REGISTRY/REPOSITORY[:TAG], or write an SBOM with slugc sbom --output-dir")
}

struct Sending<'a> {
    transfer: &'a Transfer<'a>,
    client: &'a Client,
    target: &'a Reference,
    subject: &'a Descriptor,
}

impl Sending<'_> {
    fn sbom(&self, bill: &Bill, format: Format) -> Result<(), Failure> {
        self.attach(
            &format!("SBOM as {}", format.title()),
            &Artifact {
                artifact_type: format.media_type(),
                content: &bill.document(format)?,
                annotations: &[],
            },
        )
    }

    fn attach(&self, what: &str, artifact: &Artifact<'_>) -> Result<(), Failure> {
        let attached = referrers::attach(
            self.client,
            self.transfer.store.blobs(),
            self.target,
            self.subject,
            artifact,
        )
        .map_err(|error| {
            failure(
                error,
                format!("cannot attach the {what} to {}", self.target),
            )
        })?;
        let how = match attached {
            Attached::ByRegistry(_) => "",
            Attached::ByTag(_) => ", listed under the tag sha256-…",
        };
        let digest = attached.digest().to_string();
        let shown = digest.get(..19).unwrap_or(&digest);
        self.transfer
            .printer
            .line(&format!("Attached the {what} ({shown}…{how})"));
        Ok(())
    }
}

/// The SBOM that is attached to a registry's image; `None` where there is none, or no image.
pub(crate) fn sbom(
    args: &RegistryArgs,
    name: &Reference,
    format: Format,
) -> Result<Option<Vec<u8>>, Failure> {
    let name = name.clone().or_latest();
    let client = registry::connect(&name, args)?;
    let failed = |error| failure(error, format!("cannot read what is attached to {name}"));
    let Some(image) = referrers::resolve(&client, &name).map_err(failed)? else {
        return Ok(None);
    };
    let listed =
        referrers::list(&client, &name, image.digest, Some(format.media_type())).map_err(failed)?;
    // The newest one stands last.
    let Some(entry) = listed.last() else {
        return Ok(None);
    };
    let found = referrers::manifest(&client, &name, &entry.digest.to_string()).map_err(failed)?;
    let Some(blob) = found.and_then(|(_, manifest)| manifest.layers.into_iter().next()) else {
        return Ok(None);
    };
    let document = referrers::blob(&client, &name, &blob, LONGEST).map_err(failed)?;
    serde_json::from_slice::<serde::de::IgnoredAny>(&document)
        .or_fail(Exit::Network, || {
            format!(
                "what is attached to {name} as {} is no JSON",
                format.title()
            )
        })
        .map_err(|failure| failure.hint("attach it again: slugc push … --sbom"))?;
    Ok(Some(document))
}

/// What a registry refused, with its advice.
pub(crate) fn failure(error: ReferrerError, message: String) -> Failure {
    match &error {
        ReferrerError::Registry(request) | ReferrerError::Push(PushError::Registry(request)) => {
            refused(Failure::new(Exit::Network, message), request).because(error)
        }
        ReferrerError::Store(_) | ReferrerError::Push(_) => {
            Failure::new(Exit::Store, message).because(error)
        }
        _ => Failure::new(Exit::Network, message).because(error),
    }
}

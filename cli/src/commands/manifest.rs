//! `slugc manifest create|inspect|push|rm`: one name for images of several platforms.

use crate::args::{ManifestAction, Output};
use crate::failure::{Exit, Failure, OrFail};
use crate::indexes::{self, NamedIndex};
use crate::place::{self, Place, Source};
use crate::store::Store;
use crate::transfer::{Documents, Fetched, Transfer};
use crate::ui::printer::{Detail, Printer};
use crate::ui::{size, table};
use oci_image::Reference;
use serde::Serialize;
use std::process::ExitCode;

/// What is printed of each image; the JSON has these names.
#[derive(Debug, Serialize)]
struct Row {
    platform: String,
    digest: String,
    /// Compressed, in bytes.
    size: u64,
    layers: usize,
}

pub(crate) fn run(action: &ManifestAction) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let store = Store::open()?;
    let _used = store.use_lock()?;
    let transfer = |registry| Transfer::new(&store, &printer, registry, None);
    match action {
        ManifestAction::Create {
            name,
            images,
            registry,
        } => create(&transfer(registry)?, name, images)?,
        ManifestAction::Inspect {
            name,
            output,
            registry,
        } => inspect(&transfer(registry)?, name, *output)?,
        ManifestAction::Push {
            name,
            target,
            registry,
        } => push(&transfer(registry)?, name, target.as_deref())?,
        ManifestAction::Rm { names } => {
            for text in names {
                let name = place::reference(text)?.or_latest();
                if !NamedIndex::remove(&store, &name)? {
                    return Err(missing(text));
                }
                printer.result(&format!("Removed {}", name.familiar()));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn create(transfer: &Transfer<'_>, name: &str, texts: &[String]) -> Result<(), Failure> {
    let name = place::new_name(name)?;
    let mut images = Vec::new();
    for text in texts {
        let found = transfer.all_documents(&Source::find(transfer.store, text)?)?;
        if found.is_empty() {
            return Err(
                Failure::new(Exit::Input, format!("{text} is an index without images"))
                    .hint("name the images themselves"),
            );
        }
        images.extend(found);
    }
    let index = NamedIndex::create(transfer.store, name, &images)?;
    for row in rows(&index.images(transfer)?) {
        transfer
            .printer
            .line(&format!("{}, layers: {}", row.platform, row.layers));
    }
    transfer.printer.result(&index.manifest.digest.to_string());
    Ok(())
}

fn inspect(transfer: &Transfer<'_>, text: &str, output: Output) -> Result<(), Failure> {
    let name = place::reference(text)?;
    let known = NamedIndex::get(transfer.store, &name.clone().or_latest())?;
    let (digest, images) = match known {
        Some(index) => (Some(index.manifest.digest), index.images(transfer)?),
        None if !text.contains('/') => return Err(missing(text)),
        None => {
            let place = Place::Registry(name);
            (None, transfer.all_documents(&Source::Elsewhere(place))?)
        }
    };
    let rows = rows(&images);
    if output == Output::Json {
        let value = serde_json::json!({ "name": text, "digest": digest, "images": rows });
        let text = serde_json::to_string_pretty(&value).or_fail(Exit::General, || {
            "cannot print the index as JSON".to_owned()
        })?;
        transfer.printer.result(&text);
        return Ok(());
    }
    let mut cells = vec![
        ["PLATFORM", "DIGEST", "LAYERS", "SIZE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    cells.extend(rows.into_iter().map(|row| {
        vec![
            row.platform,
            row.digest,
            row.layers.to_string(),
            size::bytes(row.size),
        ]
    }));
    transfer.printer.result(&table::columns(&cells));
    Ok(())
}

fn push(transfer: &Transfer<'_>, text: &str, target: Option<&str>) -> Result<(), Failure> {
    let name = place::reference(text)?.or_latest();
    let index = NamedIndex::get(transfer.store, &name)?.ok_or_else(|| missing(text))?;
    let mut target = Place::target(target.unwrap_or(text))?;
    if matches!(
        target,
        Place::DockerArchive { .. } | Place::Engine { .. } | Place::Containerd { .. }
    ) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{target} holds single images, and {text} is an index of several"),
        )
        .hint("write REGISTRY/REPOSITORY[:TAG], oci:DIR[:TAG] or oci-archive:FILE[:TAG]"));
    }
    target.default_tag(name.tag());
    let images = index.images(transfer)?;
    let sources: Vec<&Documents> = images.iter().collect();
    let image = Fetched {
        manifest: index.manifest.clone(),
        name: Some(index.name.clone()),
        origin: None,
    };
    let result = transfer.deliver_from(&image, &sources, &target)?;
    transfer.printer.result(&result);
    Ok(())
}

fn rows(images: &[Documents]) -> Vec<Row> {
    let row = |documents: &Documents| {
        let config = &documents.image.config;
        let platform = documents.manifest.platform.clone();
        let of_config = || oci_image::Platform {
            architecture: config.architecture.clone(),
            os: config.os.clone(),
            os_version: None,
            variant: config.variant.clone(),
            extra: serde_json::Map::new(),
        };
        let layers = &documents.image.manifest.layers;
        Row {
            platform: indexes::shown(Some(&platform.unwrap_or_else(of_config))),
            digest: documents.manifest.digest.to_string(),
            size: layers.iter().map(|layer| layer.size).sum(),
            layers: layers.len(),
        }
    };
    images.iter().map(row).collect()
}

fn missing(text: &str) -> Failure {
    let name = text.parse::<Reference>().map(|name| name.familiar());
    Failure::new(
        Exit::Input,
        format!(
            "there is no index {} in the store",
            name.unwrap_or_else(|_| text.to_owned())
        ),
    )
    .hint("slugc manifest create NAME IMAGE… makes one")
}

//! The image of the last build where this machine has nothing else of that build (`--previous-image`).

use crate::args::PullPolicy;
use crate::build::description::Description;
use crate::build::foundation::Foundation;
use crate::build::record::Record;
use crate::build::{Request, sandboxed};
use crate::failure::{Exit, Failure, OrFail};
use crate::platform::pull::Puller;
use crate::platform::settings::Settings;
use crate::store::Store;
use crate::ui::printer::Printer;
use cnb_phases::record::{BuildpackRecord, CacheRecord, LayerRecord, LayerSettings};
use cnb_spec::labels::{self, LayerMetadata, LayersMetadata};
use cnb_spec::layer::LayerTypes;
use cnb_spec::names::LayerName;
use oci_image::{Compression, Digest, Image, LayerBlob, Owner};
use std::collections::BTreeMap;

/// What an image's label tells of its layers, in the form in which builds on this machine leave it. An image that no
/// lifecycle made tells nothing: at worst, layers are made again.
pub(super) fn record(
    store: &Store,
    printer: &Printer,
    request: &Request<'_>,
    stack: &Foundation,
    name: &str,
) -> Result<Option<Record>, Failure> {
    let settings = Settings::read(store)?;
    let puller = Puller {
        store,
        printer,
        registry: request.registry,
        policy: request
            .platform
            .pull_policy
            .or(settings.pull_policy)
            // A plain name is one in the store; a registry's image may have been pushed by another machine.
            .unwrap_or(if name.contains('/') {
                PullPolicy::Always
            } else {
                PullPolicy::IfNotPresent
            }),
        settings: &settings,
    };
    let manifest = match puller.image(name) {
        Ok(fetched) => fetched.manifest,
        // As upstream: the first build of an image has no previous one.
        Err(failure) => {
            printer.warning(&format!(
                "the previous image is not used: {}",
                crate::ui::error::chain(&failure)
            ));
            return Ok(None);
        }
    };
    let image = Image::load(store.blobs(), &manifest.digest).or_fail(Exit::Input, || {
        format!("cannot read the previous image {name}")
    })?;
    let Some(metadata) = image
        .config
        .config
        .labels
        .get(labels::LIFECYCLE_METADATA)
        .and_then(|label| serde_json::from_str::<LayersMetadata>(label).ok())
    else {
        printer.warning(&format!(
            "the previous image is not used: no lifecycle made {name}"
        ));
        return Ok(None);
    };
    let owner = Owner {
        uid: stack.uid,
        gid: stack.gid,
    };
    let buildpacks = metadata.buildpacks.iter().map(|buildpack| {
        let layers = buildpack
            .layers
            .iter()
            // A label's names become files' names: what is no layer's would lead anywhere.
            .filter(|(name, _)| name.parse::<LayerName>().is_ok())
            .filter_map(|(name, layer)| Some((name.clone(), layer_record(&image, layer)?)));
        let store = buildpack
            .store
            .as_ref()
            .and_then(|store| toml::to_string(store).ok());
        let record = BuildpackRecord {
            version: buildpack.version.clone(),
            store,
            layers: layers.collect(),
        };
        (buildpack.key.clone(), record)
    });
    Ok(Some(Record {
        inputs: String::new(),
        manifest,
        description: Description::default(),
        resolved_at: 0,
        cache: CacheRecord {
            settings: LayerSettings::new(sandboxed::LAYERS, owner, Compression::default()),
            buildpacks: buildpacks.collect::<BTreeMap<_, _>>(),
            launcher: None,
            app: None,
        },
    }))
}

/// A layer of the image; `None` when its blob is none of the image's, or its metadata has no TOML form.
fn layer_record(image: &Image, layer: &LayerMetadata) -> Option<LayerRecord> {
    let diff_id: Digest = layer.sha.parse().ok()?;
    let index = image
        .config
        .rootfs
        .diff_ids
        .iter()
        .position(|known| *known == diff_id)?;
    let blob = image.manifest.layers.get(index)?;
    let metadata = layer.data.as_ref().map_or(Ok(String::new()), |data| {
        let mut table = toml::Table::new();
        table.insert("metadata".to_owned(), toml::Value::Table(data.clone()));
        toml::to_string(&table)
    });
    Some(LayerRecord {
        types: LayerTypes {
            launch: layer.types.launch,
            build: layer.types.build,
            cache: layer.types.cache,
        },
        metadata: metadata.ok()?,
        fingerprint: None,
        blob: Some(LayerBlob {
            diff_id,
            digest: blob.digest,
            size: blob.size,
            // Not in any label; it is only told to the user of what was written anew.
            uncompressed_size: 0,
            media_type: blob.media_type.clone(),
        }),
        sboms: BTreeMap::new(),
    })
}

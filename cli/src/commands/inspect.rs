//! `slugc inspect`: what an image holds.

use crate::app::{App, AppName};
use crate::args::{InspectArgs, Output};
use crate::failure::{Exit, Failure, OrFail};
use crate::images::{self, Images};
use crate::place::{Place, Source};
use crate::platform::builder::null_is_default;
use crate::store::Store;
use crate::transfer::Transfer;
use crate::ui::printer::{Detail, Printer};
use crate::ui::size;
use cnb_spec::labels::{self, LayersMetadata};
use oci_image::{BlobStore, Descriptor, Image, Index};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let printer = Printer::new(Detail::Normal);
    let report = if let Some(layout) = args
        .image
        .as_deref()
        .and_then(|image| image.strip_prefix("oci:"))
    {
        inspect_layout(Path::new(layout))?
    } else {
        let store = Store::open()?;
        let _used = store.use_lock()?;
        inspect_stored(&store, &printer, args)?
    };
    match args.output {
        Output::Text => printer.result(&text(&report)),
        Output::Json => printer.result(
            &serde_json::to_string_pretty(&report).or_fail(Exit::General, || {
                "cannot print the image as JSON".to_owned()
            })?,
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn inspect_stored(store: &Store, printer: &Printer, args: &InspectArgs) -> Result<Report, Failure> {
    if let Some(text) = &args.image
        && AppName::parse(text).is_err()
    {
        let source = Source::find(store, text)?;
        if matches!(source, Source::Elsewhere(Place::Registry(_))) && !text.contains('/') {
            return Err(images::no_such_name(store, text).hint(format!(
                "of a registry's image, write the name in full: docker.io/library/{text}"
            )));
        }
        // Of a registry's image, no layer is needed to tell what it is.
        let transfer = Transfer::new(store, printer, &args.registry, None)?;
        let image = transfer.documents(&source)?;
        let mut report = report(store.blobs(), &image.manifest)?;
        report.tags = names_of(store, &image.manifest)?;
        return Ok(report);
    }
    let name = match &args.image {
        Some(name) => AppName::parse(name)?,
        None => AppName::choose(&args.app, Path::new("."))?,
    };
    let app = App::of(store, name);
    let built = app.built_image()?;
    let mut report = report(store.blobs(), &built.manifest)?;
    report.app = Some(app.name.as_str().to_owned());
    report.stack = Some(built.stack);
    report.tags = names_of(store, &built.manifest)?;
    Ok(report)
}

/// The names that the image has in the store.
fn names_of(store: &Store, manifest: &Descriptor) -> Result<Vec<String>, Failure> {
    let all = Images::of(store).all()?.into_iter().flatten();
    Ok(all
        .filter(|(image, _)| image.manifest.digest == manifest.digest)
        .map(|(image, _)| image.name.familiar())
        .collect())
}

/// What is printed; the JSON has these names.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    digest: String,
    /// Compressed, in bytes, the base included.
    size: u64,
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    base: Base,
    buildpacks: Vec<BuildpackName>,
    processes: Vec<Process>,
    layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
struct Base {
    top_layer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    distro: Option<String>,
    layers: usize,
    size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct BuildpackName {
    id: String,
    version: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    #[serde(rename = "type")]
    kind: String,
    command: Words,
    // Lifecycles write null for a list that was never set.
    #[serde(default, deserialize_with = "null_is_default")]
    args: Vec<String>,
    #[serde(default)]
    default: bool,
    #[serde(default, rename = "buildpackID")]
    buildpack: String,
}

/// Buildpack APIs before 0.9 have one string here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    diff_id: String,
    digest: String,
    /// Compressed, in bytes.
    size: u64,
}

#[derive(Debug, Default, Deserialize)]
struct BuildLabel {
    #[serde(default)]
    buildpacks: Vec<BuildpackName>,
    #[serde(default)]
    processes: Vec<Process>,
    #[serde(default, rename = "buildpack-default-process-type")]
    default_process: Option<String>,
}

fn inspect_layout(folder: &Path) -> Result<Report, Failure> {
    let reading = || format!("cannot read the OCI layout {}", folder.display());
    let index: Index = oci_image::layout::read(folder).or_fail(Exit::Input, reading)?;
    let [manifest] = index.manifests.as_slice() else {
        return Err(Failure::new(
            Exit::Input,
            format!(
                "{} holds {} images",
                folder.display(),
                index.manifests.len()
            ),
        )
        .hint("give a layout with one image"));
    };
    let blobs = BlobStore::open(folder.join("blobs")).or_fail(Exit::Input, reading)?;
    report(&blobs, manifest)
}

fn report(blobs: &BlobStore, manifest: &Descriptor) -> Result<Report, Failure> {
    let image = Image::load(blobs, &manifest.digest)
        .or_fail(Exit::Store, || {
            format!("cannot read the image {}", manifest.digest)
        })
        .map_err(|failure| failure.hint("build it again"))?;
    let label_of = &image.config.config.labels;
    let layers_label: LayersMetadata = parse_label(label_of, labels::LIFECYCLE_METADATA)?;
    let mut build: BuildLabel = parse_label(label_of, labels::BUILD_METADATA)?;
    for process in &mut build.processes {
        process.default |= build.default_process.as_deref() == Some(&process.kind);
    }
    let names = layer_names(&layers_label);
    let diff_ids = &image.config.rootfs.diff_ids;
    let base_count = diff_ids
        .iter()
        .position(|id| id.to_string() == layers_label.run_image.top_layer)
        .map_or(0, |position| position + 1);
    let descriptors = &image.manifest.layers;
    let layers = diff_ids
        .iter()
        .zip(descriptors)
        .skip(base_count)
        .map(|(diff_id, descriptor)| Layer {
            name: names
                .get(&diff_id.to_string())
                .cloned()
                .unwrap_or_else(|| "layer".to_owned()),
            diff_id: diff_id.to_string(),
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
        })
        .collect();
    let distro = label_of.get(labels::BASE_DISTRO_NAME).map(|name| {
        let version = label_of
            .get(labels::BASE_DISTRO_VERSION)
            .map_or("", String::as_str);
        format!("{name} {version}").trim_end().to_owned()
    });
    Ok(Report {
        app: None,
        tags: Vec::new(),
        digest: manifest.digest.to_string(),
        size: descriptors.iter().map(|layer| layer.size).sum(),
        created: image.config.created.clone(),
        stack: None,
        base: Base {
            top_layer: layers_label.run_image.top_layer,
            distro,
            layers: base_count,
            size: descriptors
                .iter()
                .take(base_count)
                .map(|layer| layer.size)
                .sum(),
        },
        buildpacks: build.buildpacks,
        processes: build.processes,
        layers,
    })
}

fn parse_label<T: Default + serde::de::DeserializeOwned>(
    labels: &BTreeMap<String, String>,
    name: &str,
) -> Result<T, Failure> {
    match labels.get(name) {
        Some(text) => serde_json::from_str(text).or_fail(Exit::Input, || {
            format!("cannot understand the image's label {name}")
        }),
        // An image that no lifecycle made has no such label.
        None => Ok(T::default()),
    }
}

fn layer_names(metadata: &LayersMetadata) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for buildpack in &metadata.buildpacks {
        for (name, layer) in &buildpack.layers {
            names.insert(layer.sha.clone(), format!("{}:{name}", buildpack.key));
        }
    }
    for app in &metadata.app {
        names.insert(app.sha.clone(), "app".to_owned());
    }
    names.insert(metadata.launcher.sha.clone(), "launcher".to_owned());
    names.insert(metadata.config.sha.clone(), "config".to_owned());
    names.insert(
        metadata.process_types.sha.clone(),
        "process types".to_owned(),
    );
    if let Some(sbom) = &metadata.sbom {
        names.insert(sbom.sha.clone(), "SBOM".to_owned());
    }
    names
}

fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    let mut line = |line: std::fmt::Arguments<'_>| lines.push(line.to_string());
    if let Some(app) = &report.app {
        line(format_args!("App         {app}"));
    }
    for tag in &report.tags {
        line(format_args!("Tag         {tag}"));
    }
    line(format_args!("Digest      {}", report.digest));
    line(format_args!(
        "Size        {}, compressed",
        size::bytes(report.size)
    ));
    let base = &report.base;
    let stack = report
        .stack
        .as_deref()
        .map(|stack| format!("{stack}, "))
        .unwrap_or_default();
    let distro = base
        .distro
        .as_deref()
        .map(|distro| format!("{distro}, "))
        .unwrap_or_default();
    line(format_args!(
        "Base        {stack}{distro}{}",
        size::bytes(base.size)
    ));
    line(format_args!("Buildpacks"));
    for buildpack in &report.buildpacks {
        line(format_args!("  {} {}", buildpack.id, buildpack.version));
    }
    line(format_args!("Processes"));
    for process in &report.processes {
        let mark = if process.default { " (default)" } else { "" };
        line(format_args!(
            "  {}{mark}: {}",
            process.kind,
            command_line(process)
        ));
    }
    line(format_args!("Layers"));
    for layer in &report.layers {
        let short = layer
            .diff_id
            .trim_start_matches("sha256:")
            .get(..12)
            .unwrap_or("");
        line(format_args!(
            "  {short}  {:>9}  {}",
            size::bytes(layer.size),
            layer.name
        ));
    }
    lines.join("\n")
}

/// The command as a person wrote it: `bash -c` around it says nothing.
fn command_line(process: &Process) -> String {
    let words: Vec<&str> = match &process.command {
        Words::One(word) => vec![word],
        Words::Many(words) => words.iter().map(String::as_str).collect(),
    };
    let arguments = process.args.iter().map(String::as_str);
    match words.as_slice() {
        ["bash", "-c"] => arguments.collect::<Vec<_>>().join(" "),
        words => words
            .iter()
            .copied()
            .chain(arguments)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

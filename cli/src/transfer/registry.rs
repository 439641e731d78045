//! Registries: connections with the machine's logins, proxies and certificates; pull and push.

use super::{Documents, Fetched, Transfer};
use crate::args::RegistryArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::images::Images;
use crate::mirrors::{Endpoint, Mirrors};
use crate::ui::error::chain;
use crate::ui::size;
use oci_image::{BlobStore, Descriptor, Digest, Image, Index, Reference, media_type};
use oci_registry::keychain::Source;
use oci_registry::{
    Client, ClientError, Identity, Keychain, Options, Progress, PullError, PullOptions, PushError,
    PushOptions, Pushed, RequestError, Timeouts,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection to an image's registry, with the credentials that are kept for it.
pub(crate) fn connect(name: &Reference, args: &RegistryArgs) -> Result<Client, Failure> {
    let insecure = Mirrors::read()?.allows_plain(name)?;
    connect_to(name, insecure, args)
}

/// The same, where it is known whether the registry may be spoken to without encryption.
fn connect_to(name: &Reference, insecure: bool, args: &RegistryArgs) -> Result<Client, Failure> {
    let registry = name.registry();
    let failed = || Failure::new(Exit::Input, format!("cannot connect to {registry}"));
    let credentials = keychain().find(name).map_err(|error| {
        failed().because(error).hint(format!(
            "log in again: slugc login {registry}; or remove the entry from the file"
        ))
    })?;
    let mut options = options(registry, args)?;
    if insecure {
        options.insecure.push(registry.to_owned());
    }
    Client::new(registry, credentials, &options).map_err(|error| unusable(failed(), error))
}

/// Does something with the image at the first place that can: for builds, what the user's settings name in the place of
/// its registry; else its mirrors in their order, then the registry itself. Returns the image's name there, too.
fn anywhere<T>(
    transfer: &Transfer<'_>,
    name: &Reference,
    attempt: impl Fn(&Client, &Reference) -> Result<Option<T>, Failure>,
) -> Result<Option<(T, Reference)>, Failure> {
    let mirrors = Mirrors::read()?;
    let instead = match transfer.settings {
        Some(settings) => settings.mirror_of_registry(name)?,
        None => None,
    };
    let mut endpoints = match instead {
        Some(instead) => mirrors.instead(name, instead)?,
        None => mirrors.endpoints(name)?,
    };
    let last = endpoints.pop();
    let attempt_at = |endpoint: &Endpoint| {
        let client = connect_to(&endpoint.name, endpoint.insecure, transfer.registry)?;
        let done = attempt(&client, &endpoint.name)?;
        Ok::<_, Failure>(done.map(|done| (done, endpoint.name.clone())))
    };
    for endpoint in &endpoints {
        let name = &endpoint.name;
        match attempt_at(endpoint) {
            Ok(Some(done)) => {
                transfer.printer.line(&format!("From the mirror {name}"));
                return Ok(Some(done));
            }
            Ok(None) => transfer
                .printer
                .detail(&format!("The mirror has no {name}")),
            Err(failure) => transfer
                .printer
                .warning(&format!("passing over the mirror: {}", chain(&failure))),
        }
    }
    last.as_ref().map_or(Ok(None), attempt_at)
}

/// Settings that make no client.
pub(crate) fn unusable(failure: Failure, error: ClientError) -> Failure {
    let hint = match &error {
        ClientError::Proxy => "correct HTTPS_PROXY",
        ClientError::Authorities => "give files with certificates in PEM to --ca-file",
        ClientError::Identity => {
            "correct the .cert and .key files in the registry's certs.d folder"
        }
    };
    failure.because(error).hint(hint)
}

/// How a registry is talked to from this machine: with its proxy, and the certificates that docker and podman would
/// take for this registry.
pub(crate) fn options(registry: &str, args: &RegistryArgs) -> Result<Options, Failure> {
    let mut options = Options {
        insecure: args.insecure.clone(),
        proxy: host::proxy_for(&format!("https://{registry}/")),
        ..Options::default()
    };
    if let Some(seconds) = args.timeout {
        let silence = Duration::from_secs(seconds);
        let usual = options.timeouts;
        options.timeouts = Timeouts {
            connect: silence.min(usual.connect),
            idle: silence,
            // As in the usual ones: what was uploaded may have to be copied before it is confirmed.
            answer: silence.saturating_mul(3),
        };
    }
    let mut authorities = args.authorities.clone();
    if let Some(folder) = certificates_of(registry) {
        for file in sorted_files(&folder) {
            let key = file.with_extension("key");
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => authorities.push(file),
                Some("cert") if key.is_file() => {
                    options.identity = Some(Identity {
                        certificates: read_file(&file)?,
                        key: read_file(&key)?,
                    });
                }
                _ => {}
            }
        }
    }
    if !authorities.is_empty() {
        // What is named is trusted besides this machine's own bundle, not instead of it.
        authorities.extend(host::ca_bundle());
        for file in &authorities {
            options.authorities.push(read_file(file)?);
        }
    }
    Ok(options)
}

/// `certs.d/HOST:PORT`, docker's and podman's folders of certificates (containers-certs.d(5)): the user's own first.
fn certificates_of(registry: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    [
        home.as_ref()
            .map(|home| home.join(".config/containers/certs.d")),
        home.as_ref()
            .map(|home| home.join(".config/docker/certs.d")),
        Some(PathBuf::from("/etc/containers/certs.d")),
        Some(PathBuf::from("/etc/docker/certs.d")),
    ]
    .into_iter()
    .flatten()
    .map(|folder| folder.join(registry))
    .find(|folder| folder.is_dir())
}

fn sorted_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .or_fail(Exit::Input, || {
            format!("cannot read the certificate {}", path.display())
        })
        .map_err(|failure| failure.hint("name a file in PEM that you may read"))
}

pub(super) fn pull(transfer: &Transfer<'_>, name: &Reference) -> Result<Fetched, Failure> {
    let printer = transfer.printer;
    printer.heading(&format!("Pulling {name}"));
    let bar = printer.bytes_bar(0, "layers");
    let watch = |progress| advance(&bar, progress);
    let options = PullOptions {
        platform: transfer.platform.clone(),
        watch: Some(&watch),
    };
    let pulled = anywhere(transfer, name, |client, from| {
        oci_registry::pull(client, transfer.store.blobs(), from, &options)
            .map(Some)
            .map_err(|error| pull_failure(&format!("cannot pull {from}"), error))
    });
    bar.finish_and_clear();
    let (pulled, from) = pulled?.ok_or_else(|| no_such_image(name))?;
    printer.line(&format!(
        "Received {} blobs ({}); {} were there",
        pulled.received,
        size::bytes(pulled.received_bytes),
        pulled.present
    ));
    Ok(Fetched {
        manifest: pulled.manifest,
        name: Some(name.clone()),
        origin: Some(from),
    })
}

/// An image's documents, without its layers; `None` when the registry has no such image.
pub(super) fn documents(
    transfer: &Transfer<'_>,
    name: &Reference,
) -> Result<Option<Documents>, Failure> {
    let blobs = transfer.store.blobs();
    let pulled = anywhere(transfer, name, |client, from| {
        oci_registry::pull_documents(client, blobs, from, &transfer.platform)
            .map_err(|error| pull_failure(&format!("cannot read {from}"), error))
    })?;
    let Some((pulled, _)) = pulled else {
        return Ok(None);
    };
    let documents = transfer.stored(pulled.manifest, Some(name.clone()))?;
    Ok(Some(Documents {
        remote: Some(name.with_digest(documents.manifest.digest)),
        of_index: pulled.index.is_some(),
        ..documents
    }))
}

/// The same of all images of an index.
pub(super) fn all_documents(
    transfer: &Transfer<'_>,
    name: &Reference,
) -> Result<Option<Vec<Documents>>, Failure> {
    let blobs = transfer.store.blobs();
    let images = anywhere(transfer, name, |client, from| {
        oci_registry::pull_all_documents(client, blobs, from)
            .map_err(|error| pull_failure(&format!("cannot read {from}"), error))
    })?;
    let Some((images, _)) = images else {
        return Ok(None);
    };
    let of_index = images.len() > 1;
    let documents = images.into_iter().map(|manifest| {
        let documents = transfer.stored(manifest, Some(name.clone()))?;
        Ok(Documents {
            remote: Some(name.with_digest(documents.manifest.digest)),
            of_index,
            ..documents
        })
    });
    documents.collect::<Result<_, Failure>>().map(Some)
}

/// Brings layers of a registry's image that the store lacks.
pub(super) fn bring(
    transfer: &Transfer<'_>,
    name: &Reference,
    layers: &[Descriptor],
) -> Result<(), Failure> {
    let blobs = transfer.store.blobs();
    let has = |layer: &Descriptor| matches!(blobs.size(&layer.digest), Ok(Some(size)) if size == layer.size);
    let missing: Vec<Descriptor> = layers.iter().filter(|it| !has(it)).cloned().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let bytes = missing.iter().map(|layer| layer.size).sum();
    transfer.printer.line(&format!(
        "Bringing {} layers ({}) from {name}",
        missing.len(),
        size::bytes(bytes)
    ));
    let brought = anywhere(transfer, name, |client, from| {
        oci_registry::pull_blobs(client, blobs, from, &missing)
            .map(Some)
            .map_err(|error| pull_failure(&format!("cannot bring layers of {from}"), error))
    })?;
    brought.map(drop).ok_or_else(|| no_such_image(name))
}

fn pull_failure(message: &str, error: PullError) -> Failure {
    let failed = |exit| Failure::new(exit, message);
    match &error {
        PullError::Registry(request) => refused(failed(Exit::Network), request).because(error),
        PullError::Platform { .. } => failed(Exit::Input)
            .because(error)
            .hint("choose another with --platform OS/ARCHITECTURE"),
        PullError::Store { .. } | PullError::Look { .. } => failed(Exit::Store).because(error),
        _ => failed(Exit::Network).because(error),
    }
}

pub(super) fn no_such_image(name: &Reference) -> Failure {
    Failure::new(Exit::Input, format!("there is no image {name}"))
        .hint("check the name; slugc images lists what is in the store")
}

/// Returns what to print: the image's name and digest.
pub(super) fn push(
    transfer: &Transfer<'_>,
    image: &Fetched,
    target: &Reference,
) -> Result<String, Failure> {
    push_from(transfer, image, &[], target)
}

/// The same for an image of which some layers may only be in registries, where `sources` are: what the target does not
/// have and cannot mount is brought here first.
pub(super) fn push_from(
    transfer: &Transfer<'_>,
    image: &Fetched,
    sources: &[&Documents],
    target: &Reference,
) -> Result<String, Failure> {
    let printer = transfer.printer;
    let target = target.clone().or_latest();
    let client = connect(&target, transfer.registry)?;
    printer.heading(&format!("Pushing to {target}"));
    let bar = printer.bytes_bar(0, "layers");
    let watch = |progress| advance(&bar, progress);
    let remotes = sources.iter().filter_map(|source| {
        let layers = source.image.manifest.layers.iter();
        Some((
            source.remote.clone()?,
            layers.map(|layer| layer.digest).collect(),
        ))
    });
    let relatives: Vec<Relative> = remotes
        .chain(relatives(transfer, image, &target)?)
        .collect();
    let mount_from: Vec<Reference> = relatives.iter().map(|(name, _)| name.clone()).collect();
    let knows = |name: &Reference, blob: &Digest| {
        let mut of_name = relatives.iter().filter(|(known, _)| known == name);
        of_name.any(|(_, layers)| layers.contains(blob))
    };
    let options = PushOptions {
        watch: Some(&watch),
        mount_from: &mount_from,
        knows: Some(&knows),
        remote_layers: !sources.is_empty(),
        thorough: false,
    };
    let store = transfer.store.blobs();
    let push = || oci_registry::push(&client, store, &image.manifest, &target, &options);
    let mut pushed = push();
    let mut brought = BTreeSet::new();
    while let Err(PushError::Incomplete {
        document: "layer",
        digest,
        ..
    }) = pushed
        && let Some(source) = sources.iter().find(|source| source.has_layer(digest))
        && let Some(remote) = &source.remote
        && brought.insert(digest)
    {
        bar.reset();
        let mut shared = layers_of(store, &image.manifest);
        shared.retain(|layer| source.has_layer(layer.digest));
        bring(transfer, remote, &shared)?;
        pushed = push();
    }
    bar.finish_and_clear();
    let pushed = pushed.map_err(|error| push_failure(&target, error))?;
    printer.line(&summary(&pushed));
    // One record for each repository: which tag does not matter to its layers.
    if let Ok(repository) = target.with_tag("latest") {
        Images::pushed(transfer.store).set(&repository, &image.manifest)?;
    }
    Ok(format!("{}@{}", target.name(), pushed.digest))
}

fn push_failure(target: &Reference, error: PushError) -> Failure {
    let failed = |exit| Failure::new(exit, format!("cannot push to {target}"));
    match &error {
        PushError::Registry(request) => refused(failed(Exit::Network), request).because(error),
        PushError::OtherDigest { .. } => failed(Exit::Input)
            .because(error)
            .hint("leave the digest out of the target"),
        _ => failed(Exit::Store)
            .because(error)
            .hint("build the image again with --refresh, or pull it again"),
    }
}

/// An image in a registry, with layers that it is known to have.
type Relative = (Reference, BTreeSet<Digest>);

/// Repositories of the target's registry that may have layers of this image: where it came from, then what was pulled,
/// named or pushed before, those that share the most first; with the layers that they are known to have.
fn relatives(
    transfer: &Transfer<'_>,
    image: &Fetched,
    target: &Reference,
) -> Result<Vec<Relative>, Failure> {
    let blobs = transfer.store.blobs();
    let layers = |manifest: &Descriptor| -> BTreeSet<Digest> {
        let layers = layers_of(blobs, manifest);
        layers.into_iter().map(|layer| layer.digest).collect()
    };
    let ours = layers(&image.manifest);
    let mut relatives = Vec::new();
    let known = [
        Images::of(transfer.store).all()?,
        Images::pushed(transfer.store).all()?,
    ];
    for (named, _) in known.into_iter().flatten().flatten() {
        let elsewhere = named.name.repository() != target.repository();
        if elsewhere && named.name.registry() == target.registry() {
            let shared: BTreeSet<Digest> = &layers(&named.manifest) & &ours;
            relatives.push((named.name, shared));
        }
    }
    relatives.retain(|(_, shared)| !shared.is_empty());
    relatives.sort_by_key(|(_, shared)| std::cmp::Reverse(shared.len()));
    let origin = image.origin.iter().cloned();
    Ok(origin
        .map(|name| (name, ours.clone()))
        .chain(relatives)
        .collect())
}

/// The layers of an image, or of all images of an index. What cannot be read has none, as far as anybody knows.
pub(super) fn layers_of(blobs: &BlobStore, manifest: &Descriptor) -> Vec<Descriptor> {
    if !media_type::is_index(&manifest.media_type) {
        return Image::load(blobs, &manifest.digest)
            .map(|image| image.manifest.layers)
            .unwrap_or_default();
    }
    let index = blobs.read(&manifest.digest).unwrap_or_default();
    let index: Option<Index> = serde_json::from_slice(&index).ok();
    let entries = index.into_iter().flat_map(|index| index.manifests);
    entries
        // An index inside an index has no images of its own.
        .filter(|entry| !media_type::is_index(&entry.media_type))
        .flat_map(|entry| layers_of(blobs, &entry))
        .collect()
}

fn advance(bar: &indicatif::ProgressBar, progress: Progress) {
    match progress {
        Progress::Total(bytes) => bar.set_length(bytes),
        Progress::Passed(bytes) => bar.inc(bytes),
        Progress::Repeated(bytes) => bar.dec(bytes),
    }
}

pub(crate) fn refused(failure: Failure, error: &RequestError) -> Failure {
    match error.advice() {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

fn summary(pushed: &Pushed) -> String {
    if pushed.unchanged {
        return "The tag names this image already; nothing sent".to_owned();
    }
    let mounted = match pushed.mounted {
        0 => String::new(),
        count => format!(", {count} taken from another repository"),
    };
    format!(
        "Sent {} blobs ({}); {} were there{mounted}",
        pushed.sent,
        size::bytes(pushed.sent_bytes),
        pushed.present
    )
}

/// Where logins are kept, in the order in which they count: the lifecycle's variable, podman's files
/// (containers-auth.json(5)), docker's.
pub(crate) fn keychain() -> Keychain {
    let folder = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = folder("HOME");
    let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let files = [
        folder("REGISTRY_AUTH_FILE"),
        folder("XDG_RUNTIME_DIR").map(|path| path.join("containers/auth.json")),
        folder("XDG_CONFIG_HOME")
            .or_else(|| in_home(".config"))
            .map(|path| path.join("containers/auth.json")),
        docker_config(),
    ];
    let given = std::env::var(cnb_spec::env_vars::REGISTRY_AUTH)
        .ok()
        .map(Source::CnbRegistryAuth);
    Keychain {
        sources: given
            .into_iter()
            .chain(files.into_iter().flatten().map(Source::File))
            .collect(),
        helper_path: std::env::var_os("PATH").unwrap_or_default(),
    }
}

/// docker's file of logins: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`.
pub(crate) fn docker_config() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("DOCKER_CONFIG")
        .or_else(|| absolute("HOME").map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"))
}

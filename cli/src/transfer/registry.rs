//! Registries: connections with the machine's logins, proxies and certificates; pull and push.

use super::{Fetched, Transfer};
use crate::args::RegistryArgs;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::images::Images;
use crate::ui::size;
use oci_image::{Digest, Image, Reference};
use oci_registry::keychain::Source;
use oci_registry::{
    Client, ClientError, Identity, Keychain, Options, Progress, PullError, PullOptions, PushError,
    PushOptions, Pushed, RequestError,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A connection to an image's registry, with the credentials that are kept for it.
pub(crate) fn connect(name: &Reference, args: &RegistryArgs) -> Result<Client, Failure> {
    let registry = name.registry();
    let failed = || Failure::new(Exit::Input, format!("cannot connect to {registry}"));
    let credentials = keychain().find(name).map_err(|error| {
        failed().because(error).hint(format!(
            "log in again: slugc login {registry}; or remove the entry from the file"
        ))
    })?;
    Client::new(registry, credentials, &options(registry, args)?)
        .map_err(|error| unusable(failed(), error))
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
    let failed = |exit| Failure::new(exit, format!("cannot pull {name}"));
    let client = connect(name, transfer.registry)?;
    printer.heading(&format!("Pulling {name}"));
    let bar = printer.bytes_bar(0, "layers");
    let watch = |progress| advance(&bar, progress);
    let options = PullOptions {
        platform: transfer.platform.clone(),
        watch: Some(&watch),
    };
    let pulled = oci_registry::pull(&client, transfer.store.blobs(), name, &options);
    bar.finish_and_clear();
    let pulled = pulled.map_err(|error| match &error {
        PullError::Registry(request) => refused(failed(Exit::Network), request).because(error),
        PullError::Platform { .. } => failed(Exit::Input)
            .because(error)
            .hint("choose another with --platform OS/ARCHITECTURE"),
        PullError::Store { .. } | PullError::Look { .. } => failed(Exit::Store).because(error),
        _ => failed(Exit::Network).because(error),
    })?;
    printer.line(&format!(
        "Received {} blobs ({}); {} were there",
        pulled.received,
        size::bytes(pulled.received_bytes),
        pulled.present
    ));
    Ok(Fetched {
        manifest: pulled.manifest,
        name: Some(name.clone()),
        origin: Some(name.clone()),
    })
}

/// Returns what to print: the image's name and digest.
pub(super) fn push(
    transfer: &Transfer<'_>,
    image: &Fetched,
    target: &Reference,
) -> Result<String, Failure> {
    let printer = transfer.printer;
    let target = target.clone().or_latest();
    let failed = |exit| Failure::new(exit, format!("cannot push to {target}"));
    let client = connect(&target, transfer.registry)?;
    printer.heading(&format!("Pushing to {target}"));
    let bar = printer.bytes_bar(0, "layers");
    let watch = |progress| advance(&bar, progress);
    let mount_from = relatives(transfer, image, &target)?;
    let options = PushOptions {
        watch: Some(&watch),
        mount_from: &mount_from,
        remote_layers: false,
        thorough: false,
    };
    let store = transfer.store.blobs();
    let pushed = oci_registry::push(&client, store, &image.manifest, &target, &options);
    bar.finish_and_clear();
    let pushed = pushed.map_err(|error| match &error {
        PushError::Registry(request) => refused(failed(Exit::Network), request).because(error),
        PushError::OtherDigest { .. } => failed(Exit::Input)
            .because(error)
            .hint("leave the digest out of the target"),
        _ => failed(Exit::Store)
            .because(error)
            .hint("build the image again with --refresh, or pull it again"),
    })?;
    printer.line(&summary(&pushed));
    // One record for each repository: which tag does not matter to its layers.
    if let Ok(repository) = target.with_tag("latest") {
        Images::pushed(transfer.store).set(&repository, &image.manifest)?;
    }
    Ok(format!("{}@{}", target.name(), pushed.digest))
}

/// Repositories of the target's registry that may have layers of this image: where it came from, then what was pulled,
/// named or pushed before, those that share the most first.
fn relatives(
    transfer: &Transfer<'_>,
    image: &Fetched,
    target: &Reference,
) -> Result<Vec<Reference>, Failure> {
    let blobs = transfer.store.blobs();
    let layers = |digest: &Digest| -> BTreeSet<Digest> {
        // What cannot be read shares nothing, as far as anybody knows.
        Image::load(blobs, digest)
            .map(|image| image.manifest.layers.iter().map(|it| it.digest).collect())
            .unwrap_or_default()
    };
    let ours = layers(&image.manifest.digest);
    let mut relatives = Vec::new();
    let known = [
        Images::of(transfer.store).all()?,
        Images::pushed(transfer.store).all()?,
    ];
    for (named, _) in known.into_iter().flatten().flatten() {
        let elsewhere = named.name.repository() != target.repository();
        if elsewhere && named.name.registry() == target.registry() {
            let shared = layers(&named.manifest.digest).intersection(&ours).count();
            relatives.push((shared, named.name));
        }
    }
    relatives.retain(|(shared, _)| *shared > 0);
    relatives.sort_by_key(|(shared, _)| std::cmp::Reverse(*shared));
    Ok(image
        .origin
        .iter()
        .cloned()
        .chain(relatives.into_iter().map(|(_, name)| name))
        .collect())
}

fn advance(bar: &indicatif::ProgressBar, progress: Progress) {
    match progress {
        Progress::Total(bytes) => bar.set_length(bytes),
        Progress::Passed(bytes) => bar.inc(bytes),
        Progress::Repeated(bytes) => bar.dec(bytes),
    }
}

fn refused(failure: Failure, error: &RequestError) -> Failure {
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

//! Images in registries, with the credentials that platforms give.

use crate::inputs::Inputs;
use crate::output::Output;
use crate::{Failure, chain};
use cnb_phases::log::Level;
use cnb_spec::target::oci_architecture;
use cnb_spec::{env_vars, exit_code};
use oci_image::{BlobStore, Descriptor, Digest, Image, Reference};
use oci_registry::keychain::Source;
use oci_registry::{
    Client, Found, Keychain, KeychainError, Options, PullError, PushError, PushOptions, Wanted,
    proxy_for, pull_blobs, pull_documents,
};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Connections to registries, each made once.
pub(crate) struct Registries {
    keychain: Keychain,
    insecure: Vec<String>,
    output: Output,
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
}

/// An image of a registry: its documents, whose layers need not be here.
#[derive(Debug, Clone)]
pub(crate) struct RemoteImage {
    /// `registry/repository@digest`.
    pub(crate) reference: Reference,
    pub(crate) image: Image,
}

impl Registries {
    /// Looks up the credentials for `images` now, as that may take rights that the phase is going to give up.
    pub(crate) fn new<'a>(
        inputs: &Inputs,
        output: &Output,
        images: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        let registries = Self {
            keychain: keychain(),
            insecure: inputs.insecure_registries.clone(),
            output: output.clone(),
            clients: Mutex::new(BTreeMap::new()),
        };
        for image in images {
            registries.client(&parse(image)?)?;
        }
        Ok(registries)
    }

    fn client(&self, reference: &Reference) -> Result<Arc<Client>, Failure> {
        let registry = reference.registry();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(registry) {
            return Ok(Arc::clone(client));
        }
        let credentials = self.credentials(reference)?;
        let options = Options {
            insecure: self.insecure.clone(),
            proxy: proxy_for(&format!("https://{registry}/"), |name| {
                std::env::var(name).ok()
            }),
            user_agent: concat!("slugc-lifecycle/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Options::default()
        };
        let client = Client::new(registry, credentials, &options).map_err(|error| {
            Failure::from_error(exit_code::FAILED, &format!("connect to {registry}"), &error)
        })?;
        let client = Arc::new(client);
        clients.insert(registry.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// What the keychain has for an image's registry. A helper that does not work costs the credentials of that
    /// registry and nothing else, as in the reference lifecycle: the image may be anybody's to read.
    fn credentials(&self, reference: &Reference) -> Result<Option<Found>, Failure> {
        match self.keychain.find(reference) {
            Err(error @ (KeychainError::HelperStart { .. } | KeychainError::Helper { .. })) => {
                let message = format!(
                    "Using no credentials for {}: {}",
                    reference.registry(),
                    chain(&error)
                );
                self.output.log(Level::Warn, &message);
                Ok(None)
            }
            found => found.map_err(|error| {
                Failure::from_error(exit_code::FAILED, "resolve keychain", &error)
            }),
        }
    }

    /// An image's documents; `None` when the registry has no such image. One for other machines only is handed to
    /// `foreign`, which says whether that is as good as none.
    pub(crate) fn find(
        &self,
        store: &BlobStore,
        name: &str,
        code: u8,
        foreign: impl Fn(&PullError) -> bool,
    ) -> Result<Option<RemoteImage>, Failure> {
        let reference = parse(name)?;
        let client = self.client(&reference)?;
        let wanted = Wanted {
            os: "linux".to_owned(),
            architecture: oci_architecture(std::env::consts::ARCH).to_owned(),
            variant: None,
        };
        let failed = |error: &dyn Error| {
            Failure::from_error(
                code,
                &format!("ensure registry read access to {name}"),
                error,
            )
        };
        let pulled = match pull_documents(&client, store, &reference, &wanted) {
            Err(error @ PullError::Platform { .. }) if foreign(&error) => None,
            pulled => pulled.map_err(|error| failed(&error))?,
        };
        let Some(pulled) = pulled else {
            return Ok(None);
        };
        let image = Image::load(store, &pulled.manifest.digest).map_err(|error| failed(&error))?;
        Ok(Some(RemoteImage {
            reference: reference.with_digest(pulled.manifest.digest),
            image,
        }))
    }

    /// Fails unless one may push to where `name` is.
    pub(crate) fn check_push(&self, name: &str, code: u8) -> Result<(), Failure> {
        let reference = parse(name)?;
        let client = self.client(&reference)?;
        oci_registry::check_push(&client, &reference).map_err(|error| {
            Failure::from_error(
                code,
                &format!("ensure registry read/write access to {name}"),
                &error,
            )
        })
    }

    /// Opens a blob of an image, bringing it first.
    pub(crate) fn blob(
        &self,
        store: &BlobStore,
        image: &RemoteImage,
        blob: &Descriptor,
    ) -> Result<std::fs::File, Box<dyn Error>> {
        let client = self
            .client(&image.reference)
            .map_err(|failure| failure.message)?;
        pull_blobs(&client, store, &image.reference, std::slice::from_ref(blob))?;
        Ok(store.open_blob(&blob.digest)?)
    }

    /// Pushes an image under a name. Layers that are not in the store are those of `sources`: the registry has them,
    /// takes them over from there, or gets them by this machine. `thorough` is [`PushOptions::thorough`].
    pub(crate) fn push(
        &self,
        store: &BlobStore,
        manifest: &Descriptor,
        name: &str,
        sources: &[RemoteImage],
        thorough: bool,
        code: u8,
    ) -> Result<(), Failure> {
        let target = parse(name)?.or_latest();
        let client = self.client(&target)?;
        let mount_from: Vec<Reference> = sources
            .iter()
            .map(|source| source.reference.clone())
            .collect();
        let options = PushOptions {
            mount_from: &mount_from,
            remote_layers: true,
            thorough,
            ..PushOptions::default()
        };
        let failed = |error: &dyn Error| Failure::from_error(code, &format!("save {name}"), error);
        let mut brought = BTreeSet::new();
        loop {
            let missing = match oci_registry::push(&client, store, manifest, &target, &options) {
                Ok(_) => return Ok(()),
                Err(PushError::Incomplete { digest, .. }) if !brought.contains(&digest) => digest,
                Err(error) => return Err(failed(&error)),
            };
            brought.insert(missing);
            self.bring_layers(store, manifest, sources, missing, code)?;
        }
    }

    /// Brings all layers that the image shares with the source of one that is missing: the others will be, too.
    fn bring_layers(
        &self,
        store: &BlobStore,
        manifest: &Descriptor,
        sources: &[RemoteImage],
        missing: Digest,
        code: u8,
    ) -> Result<(), Failure> {
        let has = |image: &Image, digest: Digest| {
            image.manifest.layers.iter().any(|it| it.digest == digest)
        };
        let failed = |error: &dyn Error| {
            Failure::from_error(code, &format!("find the layer {missing}"), error)
        };
        let source = sources.iter().find(|source| has(&source.image, missing));
        let source = source.ok_or_else(|| {
            Failure::new(
                code,
                format!("failed to find the layer {missing} of the image anywhere"),
            )
        })?;
        let image = Image::load(store, &manifest.digest).map_err(|error| failed(&error))?;
        let shared: Vec<Descriptor> = image
            .manifest
            .layers
            .iter()
            .filter(|layer| has(&source.image, layer.digest))
            .cloned()
            .collect();
        let client = self.client(&source.reference)?;
        pull_blobs(&client, store, &source.reference, &shared).map_err(|error| failed(&error))
    }
}

pub(crate) fn parse(name: &str) -> Result<Reference, Failure> {
    name.parse()
        .map_err(|error: oci_image::ReferenceParseError| {
            Failure::from_error(exit_code::INVALID_ARGS, "parse arguments", &error)
        })
}

/// `CNB_REGISTRY_AUTH`, then docker's and podman's files, as far as they may be read.
fn keychain() -> Keychain {
    let mut sources = Vec::new();
    if let Ok(auth) = std::env::var(env_vars::REGISTRY_AUTH) {
        sources.push(Source::CnbRegistryAuth(auth));
    }
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let in_folder = |name: &str, file: &str| variable(name).map(|it| PathBuf::from(it).join(file));
    let files = [
        in_folder("DOCKER_CONFIG", "config.json"),
        in_folder("HOME", ".docker/config.json"),
        variable("REGISTRY_AUTH_FILE").map(PathBuf::from),
        in_folder("XDG_RUNTIME_DIR", "containers/auth.json"),
    ];
    sources.extend(
        files
            .into_iter()
            .flatten()
            .filter(|file| std::fs::File::open(file).is_ok())
            .map(Source::File),
    );
    Keychain {
        sources,
        helper_path: variable("PATH").unwrap_or_default(),
    }
}

//! A real registry with a run image in it, for all tests of a process.

use oci_image::{
    BlobStore, Compression, Descriptor, Digest, Image, LayerError, Owner, Reference, write_layer,
};
use oci_registry::{Client, Options, PushOptions, Wanted, pull, pull_documents, push};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The registry. It ends with the test program: the kernel is asked to.
pub(crate) struct Registry {
    pub(crate) host: String,
    pub(crate) run_image: String,
    pub(crate) run_digest: String,
    data: PathBuf,
    folders: AtomicUsize,
}

/// The one registry; `None` where the program is not.
pub(crate) fn started() -> Option<&'static Registry> {
    static REGISTRY: OnceLock<Option<Registry>> = OnceLock::new();
    REGISTRY
        .get_or_init(|| {
            test_support::met(&test_support::Need::Program("docker-registry")).then(Registry::start)
        })
        .as_ref()
}

impl Registry {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-registry");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let host = format!("127.0.0.1:{}", test_support::free_port());
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: {host}}}\n",
            folder.join("data").display()
        );
        fs::write(&config, text).unwrap();
        // setpriv asks the kernel to end the registry with the thread that started it: one that waits until the
        // process ends, however that does.
        std::thread::spawn(move || {
            let started = Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            drop(started.and_then(|mut registry| registry.wait()));
        });
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut registry = Self {
            run_image: format!("{host}/run:1"),
            host,
            run_digest: String::new(),
            data: folder.join("data"),
            folders: AtomicUsize::new(0),
        };
        let run_image = registry.run_image.clone();
        registry.run_digest = registry.push_run_image(&run_image, "one").to_string();
        registry
    }

    /// A folder of repositories that no other case has.
    pub(crate) fn folder(&self) -> String {
        format!("case{}", self.folders.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.host, None, &Options::default()).unwrap()
    }

    /// Pushes a base image with a file of this content; returns its digest.
    pub(crate) fn push_run_image(&self, name: &str, content: &str) -> Digest {
        let scratch = tempfile::tempdir().unwrap();
        let store = BlobStore::open(scratch.path()).unwrap();
        let manifest = run_image(&store, content);
        let reference: Reference = name.parse().unwrap();
        push(
            &self.client(),
            &store,
            &manifest,
            &reference,
            &PushOptions::default(),
        )
        .unwrap();
        manifest.digest
    }

    /// Has the registry lose a blob of a repository.
    pub(crate) fn lose(&self, name: &str, blob: &Digest) {
        let reference: Reference = name.parse().unwrap();
        let links = self.data.join("docker/registry/v2/repositories");
        let links = links.join(reference.repository()).join("_layers/sha256");
        fs::remove_dir_all(links.join(blob.hex())).unwrap();
    }

    /// An image's documents; `None` when there is none.
    pub(crate) fn image(&self, store: &BlobStore, name: &str) -> Option<(Digest, Image)> {
        let found = pull_documents(&self.client(), store, &name.parse().unwrap(), &wanted());
        let digest = found.unwrap()?.manifest.digest;
        Some((digest, Image::load(store, &digest).unwrap()))
    }

    /// An image with all its layers.
    pub(crate) fn pull(&self, store: &BlobStore, name: &str) -> Image {
        let options = oci_registry::PullOptions {
            platform: wanted(),
            watch: None,
        };
        let pulled = pull(&self.client(), store, &name.parse().unwrap(), &options).unwrap();
        Image::load(store, &pulled.manifest.digest).unwrap()
    }
}

fn wanted() -> Wanted {
    Wanted {
        os: "linux".to_owned(),
        architecture: architecture().to_owned(),
        variant: None,
    }
}

/// This machine's architecture as images call it.
pub(crate) fn architecture() -> &'static str {
    cnb_spec::target::oci_architecture(std::env::consts::ARCH)
}

/// Makes a base image in a store.
pub(crate) fn run_image(store: &BlobStore, content: &str) -> Descriptor {
    let layer = write_layer::<LayerError>(store, Compression::default(), |tar| {
        let size = content.len() as u64;
        tar.file("/base", 0o644, Owner::ROOT, size, content.as_bytes())
    })
    .unwrap();
    let mut image = Image::empty("linux", architecture());
    image.manifest.layers.push(layer.descriptor());
    image.config.rootfs.diff_ids.push(layer.diff_id);
    let config = &mut image.config.config;
    config.set_env("PATH", "/usr/bin:/bin");
    config.set_env("BASE", "kept");
    for (name, value) in [
        ("io.buildpacks.stack.id", "conformance.stack"),
        ("io.buildpacks.base.distro.name", "debian"),
        ("io.buildpacks.base.distro.version", "13"),
        ("io.buildpacks.base.maintainer", "somebody"),
    ] {
        config.labels.insert(name.to_owned(), value.to_owned());
    }
    image.save(store).unwrap()
}

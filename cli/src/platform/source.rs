//! Getting buildpacks: folders with their package.toml, archives, images, downloads, inline scripts.
//!
//! ```text
//! buildpacks/<sha256>/   what was unpacked, as <escaped id>/<version>
//! buildpacks/<sha256>.json   which of them is the package's own
//! ```

use super::locator::{Inline, Locator, without_secrets};
use super::module::{self, Identity, Module, Package};
use super::pull::Puller;
use super::registry_index;
use crate::app;
use crate::failure::{Exit, Failure, OrFail};
use crate::host;
use crate::store::Store;
use cnb_spec::group::GroupElement;
use cnb_spec::toml_file;
use oci_image::{Digest, DigestWriter, Image, UnpackRules, Whiteouts, unpack_layer};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The label of a buildpack's image that says which buildpack it is.
pub(crate) const PACKAGE_LABEL: &str = "io.buildpacks.buildpackage.metadata";

/// No buildpack that anybody publishes comes near it.
const LARGEST_DOWNLOAD: u64 = 2 << 30;
const LARGEST_PACKAGE: u64 = 8 << 30;
/// Composite buildpacks in composite buildpacks.
const DEEPEST: usize = 16;

/// Gets what locators name.
pub(crate) struct Fetcher<'a> {
    pub(crate) puller: &'a Puller<'a>,
    /// Downloads what the store has already.
    pub(crate) again: bool,
}

/// What of a package.toml tells where the parts of a composite buildpack are.
#[derive(Debug, Default, Deserialize)]
struct PackageToml {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    #[serde(default)]
    uri: String,
    #[serde(default)]
    image: String,
}

impl Fetcher<'_> {
    fn store(&self) -> &Store {
        self.puller.store
    }

    /// The package behind a locator that is neither of a builder's nor slugc's own.
    pub(crate) fn fetch(&self, locator: &Locator) -> Result<Package, Failure> {
        match locator {
            Locator::Path(path) => {
                let path = path.canonicalize().or_fail(Exit::Input, || {
                    format!("cannot find the buildpack {}", path.display())
                })?;
                if path.is_dir() {
                    if path.join("oci-layout").is_file() {
                        return self.image(&format!("oci:{}", path.display()));
                    }
                    return self.folder(&path, 0);
                }
                self.archive(&path)
            }
            Locator::Url(url) => self.download(url),
            Locator::Image(name) => self.image(name),
            Locator::Registry { id, version } => self.of_registry(id, version),
            Locator::Inline(inline) => self.inline(inline),
            Locator::FromBuilder | Locator::Known { .. } => Err(Failure::new(
                Exit::Usage,
                format!("{locator} cannot be packaged: it is a part of a builder"),
            )),
        }
    }

    /// A folder as it stands; of a composite buildpack, with what its package.toml names.
    fn folder(&self, folder: &Path, depth: usize) -> Result<Package, Failure> {
        if depth > DEEPEST {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "the composite buildpack {} is nested too deeply",
                    folder.display()
                ),
            )
            .hint("look for a package.toml that leads back to itself"));
        }
        let main = Module::read(folder)?;
        main.check_programs()?;
        let mut identity = Identity {
            folders: vec![folder.to_owned()],
            fixed: Vec::new(),
        };
        let mut modules = vec![main.clone()];
        if main.buildpack.is_composite() {
            for package in self.dependencies(folder, depth)? {
                identity.folders.extend(package.identity.folders);
                identity.fixed.extend(package.identity.fixed);
                modules.extend(package.modules);
            }
        }
        Ok(Package {
            main: main.element,
            modules: distinct(modules)?,
            identity,
        })
    }

    fn dependencies(&self, folder: &Path, depth: usize) -> Result<Vec<Package>, Failure> {
        let file = folder.join("package.toml");
        let toml: PackageToml = toml_file::read_if_exists(&file)
            .or_fail(Exit::Input, || {
                format!("cannot read the package {}", folder.display())
            })?
            .unwrap_or_default();
        let mut packages = Vec::new();
        for dependency in toml.dependencies {
            let text = match (&*dependency.uri, &*dependency.image) {
                ("", image) => format!("docker://{image}"),
                (uri, _) => uri.to_owned(),
            };
            let locator = Locator::parse(&text, folder, |_| false)?;
            packages.push(match &locator {
                Locator::Path(path) if path.is_dir() && !path.join("oci-layout").is_file() => {
                    let path = path
                        .canonicalize()
                        .or_fail(Exit::Input, || {
                            format!("cannot find the buildpack {}", path.display())
                        })
                        .map_err(|failure| {
                            failure.hint(format!("{} names it; correct the path", file.display()))
                        })?;
                    self.folder(&path, depth + 1)?
                }
                locator => self.fetch(locator)?,
            });
        }
        Ok(packages)
    }

    /// A tar of a buildpack's folder, or of an OCI layout (`.cnb`). What was unpacked of the same file before is found
    /// by its time and size, as the source is.
    fn archive(&self, file: &Path) -> Result<Package, Failure> {
        let reading = || format!("cannot read the buildpack {}", file.display());
        let print = oci_image::fingerprint::tree(file).or_fail(Exit::Input, reading)?;
        let key = Digest::of(format!("{}\0{print}", file.display()).as_bytes());
        if let Some(package) = self.unpacked(&key)? {
            return Ok(package);
        }
        let input = File::open(file).or_fail(Exit::Input, reading)?;
        self.unpack(&key, input, &file.display().to_string())
    }

    fn download(&self, url: &str) -> Result<Package, Failure> {
        let key = Digest::of(url.as_bytes());
        let shown = without_secrets(url);
        if !self.again
            && let Some(package) = self.unpacked(&key)?
        {
            return Ok(package);
        }
        self.puller.refuse_network(&shown)?;
        self.puller.printer.line(&format!("Fetching {shown}"));
        let failed = || format!("cannot fetch the buildpack {shown}");
        let proxy = host::proxy_for(url)
            .map(|proxy| ureq::Proxy::new(&proxy))
            .transpose()
            .or_fail(Exit::Network, || "cannot use the proxy".to_owned())?;
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .tls_config(
                ureq::tls::TlsConfig::builder()
                    .root_certs(ureq::tls::RootCerts::PlatformVerifier)
                    .build(),
            )
            .proxy(proxy)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_mins(1)))
            .timeout_recv_body(Some(Duration::from_mins(30)))
            .build()
            .into();
        let mut response = agent.get(url).call().map_err(|error| {
            let failure = Failure::new(Exit::Network, failed());
            match error {
                ureq::Error::StatusCode(code) => failure
                    .because(format!("the server answered with status {code}"))
                    .hint("check the address"),
                error => failure
                    .because(error.to_string().replace(url, &shown))
                    .hint("check the network, or fetch the file yourself and name it"),
            }
        })?;
        let body = response
            .body_mut()
            .with_config()
            .limit(LARGEST_DOWNLOAD)
            .reader();
        let staged = tempfile::tempfile_in(self.store().root()).or_fail(Exit::Store, failed)?;
        let mut hashing = DigestWriter::new(staged);
        io::copy(&mut { body }, &mut hashing).or_fail(Exit::Network, failed)?;
        let (mut staged, content, _) = hashing.finish();
        io::Seek::rewind(&mut staged).or_fail(Exit::Store, failed)?;
        // What it was before may be another build's, which runs: other content gets another folder.
        let content = Digest::of(format!("archive\0{content}").as_bytes());
        let package = match self.unpacked(&content)? {
            Some(package) => package,
            None => self.unpack(&content, staged, &shown)?,
        };
        self.note(&key, &package.main, Some(&content))?;
        Ok(package)
    }

    /// The image that the registry's index names.
    fn of_registry(&self, id: &str, version: &str) -> Result<Package, Failure> {
        let index = self.puller.settings.registry_index.as_deref();
        let index = index.ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("there is no index of a registry of buildpacks to look {id} up in"),
            )
            .hint(
                "clone the index that pack uses and name the folder: slugc settings registry-index DIR; or name the \
                 buildpack's image: docker://REGISTRY/REPOSITORY",
            )
        })?;
        // A registry's image, whatever the index calls it.
        let image = registry_index::find(index, id, version)?;
        self.image(&format!("docker://{image}"))
    }

    /// A buildpack's image: layers with `/cnb/buildpacks`, and a label that names the package's own buildpack.
    fn image(&self, name: &str) -> Result<Package, Failure> {
        let fetched = self.puller.image(name)?;
        self.image_in_store(&fetched.manifest.digest, name)
    }

    fn image_in_store(&self, manifest: &Digest, name: &str) -> Result<Package, Failure> {
        if let Some(package) = self.unpacked(manifest)? {
            return Ok(package);
        }
        let reading = || format!("cannot read the buildpack's image {name}");
        let blobs = self.store().blobs();
        let image = Image::load(blobs, manifest).or_fail(Exit::Input, reading)?;
        let label = image.config.config.labels.get(PACKAGE_LABEL).ok_or_else(|| {
            Failure::new(Exit::Input, format!("{name} is no image of a buildpack"))
                .because(format!("it has no label {PACKAGE_LABEL}"))
                .hint("pack buildpack package and slugc buildpack package make such images; a builder goes with --builder")
        })?;
        let main: GroupElement = serde_json::from_str(label).or_fail(Exit::Input, || {
            format!("cannot understand the label {PACKAGE_LABEL} of {name}")
        })?;
        let staging = self.staging()?;
        for (layer, diff_id) in image
            .manifest
            .layers
            .iter()
            .zip(&image.config.rootfs.diff_ids)
        {
            let blob = blobs
                .open_blob(&layer.digest)
                .or_fail(Exit::Store, reading)?;
            // Layers of one package repeat folders, and pack's own have the root's.
            let rules = UnpackRules {
                whiteouts: Whiteouts::Refuse,
                existing: oci_image::Existing::Replace,
                max_bytes: LARGEST_PACKAGE,
                ..UnpackRules::default()
            };
            let report =
                unpack_layer(blob, staging.path(), &rules).or_fail(Exit::Input, reading)?;
            if report.diff_id != *diff_id {
                return Err(Failure::new(Exit::Network, reading())
                    .because(format!("a layer is {}, not {diff_id}", report.diff_id)));
            }
        }
        let folder = inside(staging.path(), &["cnb", "buildpacks"]).ok_or_else(|| {
            Failure::new(
                Exit::Input,
                format!("{name} has no buildpacks in /cnb/buildpacks"),
            )
        })?;
        self.keep(manifest, &folder, &main)
    }

    fn inline(&self, inline: &Inline) -> Result<Package, Failure> {
        let text = format!(
            "api = {}\n\n[buildpack]\nid = {}\nversion = {}\n\n[[targets]]\nos = \"linux\"\n\n[[stacks]]\nid = \"*\"\n",
            quoted(&inline.api),
            quoted(&inline.id),
            quoted(&inline.version),
        );
        let build = format!("#!{}\n\n{}\n", inline.shell, inline.script);
        let detect = format!("#!{}\n\nexit 0\n", inline.shell);
        let key = Digest::of(format!("inline\0{text}\0{build}").as_bytes());
        if let Some(package) = self.unpacked(&key)? {
            return Ok(package);
        }
        let staging = self.staging()?;
        let folder = staging.path().join("buildpack");
        let write = || -> io::Result<()> {
            fs::create_dir_all(folder.join("bin"))?;
            fs::write(folder.join("buildpack.toml"), &text)?;
            for (name, content) in [("bin/detect", &detect), ("bin/build", &build)] {
                let path = folder.join(name);
                fs::write(&path, content)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            Ok(())
        };
        write().or_fail(Exit::Store, || {
            format!("cannot write the inline buildpack {}", inline.id)
        })?;
        self.keep_single(&key, &folder)
    }

    /// Unpacks an archive into the store.
    fn unpack(
        &self,
        key: &Digest,
        archive: impl Read + Send,
        shown: &str,
    ) -> Result<Package, Failure> {
        let staging = self.staging()?;
        let rules = UnpackRules {
            whiteouts: Whiteouts::Refuse,
            existing: oci_image::Existing::Replace,
            max_bytes: LARGEST_PACKAGE,
            ..UnpackRules::default()
        };
        unpack_layer(archive, staging.path(), &rules)
            .or_fail(Exit::Input, || {
                format!("cannot unpack the buildpack {shown}")
            })
            .map_err(|failure| {
                failure.hint(
                    "a buildpack's archive is a tar of its folder, or of an OCI layout (.cnb)",
                )
            })?;
        let root = staging.path();
        let is_layout = fs::symlink_metadata(root.join("oci-layout")).is_ok_and(|it| it.is_file());
        if is_layout {
            let imported = oci_image::layout::import(root, self.store().blobs(), None)
                .or_fail(Exit::Input, || {
                    format!("cannot read the buildpack's image in {shown}")
                })?;
            let package = self.image_in_store(&imported.digest, shown)?;
            // The next time, the archive's own key leads there.
            self.note(key, &package.main, Some(&imported.digest))?;
            return Ok(package);
        }
        let folder = folder_of(root).ok_or_else(|| {
            Failure::new(Exit::Input, format!("{shown} has no buildpack.toml"))
                .hint("a buildpack's archive is a tar of its folder, or of an OCI layout (.cnb)")
        })?;
        self.keep_single(key, &folder)
    }

    fn staging(&self) -> Result<tempfile::TempDir, Failure> {
        let folder = self.store().buildpacks();
        let making = || format!("cannot make a folder in {}", folder.display());
        fs::create_dir_all(&folder).or_fail(Exit::Store, making)?;
        let staging = tempfile::Builder::new()
            .prefix(".tmp-")
            .tempdir_in(&folder)
            .or_fail(Exit::Store, making)?;
        // The sandbox's user reads what is unpacked here.
        fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755))
            .or_fail(Exit::Store, making)?;
        Ok(staging)
    }

    fn place(&self, key: &Digest) -> PathBuf {
        self.store().buildpacks().join(key.hex())
    }

    /// Keeps the one buildpack in `folder`.
    fn keep_single(&self, key: &Digest, folder: &Path) -> Result<Package, Failure> {
        let module = Module::read(folder)?;
        let laid_out = self.staging()?;
        let target = laid_out.path().join(module.place());
        let moving = || format!("cannot keep the buildpack {}", module.element);
        fs::create_dir_all(target.parent().unwrap_or(laid_out.path()))
            .or_fail(Exit::Store, moving)?;
        fs::rename(folder, &target).or_fail(Exit::Store, moving)?;
        self.keep(key, laid_out.path(), &module.element)
    }

    /// Gives a folder of buildpacks its final name.
    fn keep(&self, key: &Digest, folder: &Path, main: &GroupElement) -> Result<Package, Failure> {
        let modules = module::in_buildpacks_folder(folder)?;
        if !modules
            .iter()
            .any(|module| module.element.bare() == main.bare())
        {
            return Err(Failure::new(
                Exit::Input,
                format!("the package says that it is {main}, but does not have it"),
            )
            .hint("get the package from somewhere else: this one contradicts itself"));
        }
        for module in &modules {
            module.check_programs()?;
        }
        let place = self.place(key);
        let open = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
        open.and_then(|()| match fs::rename(folder, &place) {
            // Another slugc was faster.
            Err(_) if place.is_dir() => Ok(()),
            renamed => renamed,
        })
        .or_fail(Exit::Store, || {
            format!("cannot keep a buildpack in {}", place.display())
        })?;
        self.note(key, main, None)?;
        self.unpacked(key)?.ok_or_else(|| {
            Failure::new(
                Exit::Store,
                format!("the buildpack in {} vanished", place.display()),
            )
            .hint("run the command again")
        })
    }

    /// Writes down which buildpack of a folder is the package's own, and whether the folder has another name.
    fn note(&self, key: &Digest, main: &GroupElement, see: Option<&Digest>) -> Result<(), Failure> {
        let mut text = serde_json::json!({"id": main.id, "version": main.version});
        if let Some(see) = see {
            text["see"] = serde_json::json!(see.to_string());
        }
        fs::create_dir_all(self.store().buildpacks())
            .or_fail(Exit::Store, || "cannot keep a buildpack".to_owned())?;
        app::write_json(&self.place(key).with_extension("json"), &text)
    }

    /// What was unpacked before under a key.
    fn unpacked(&self, key: &Digest) -> Result<Option<Package>, Failure> {
        #[derive(Deserialize)]
        struct Note {
            id: String,
            version: String,
            see: Option<Digest>,
        }
        let Some(note) = app::read_json::<Note>(&self.place(key).with_extension("json"))? else {
            return Ok(None);
        };
        let folder = match note.see {
            // An address leads to an archive, and that perhaps to an image.
            Some(see) if !self.place(&see).is_dir() => {
                return if see == *key {
                    Ok(None)
                } else {
                    self.unpacked(&see)
                };
            }
            Some(see) => self.place(&see),
            None => self.place(key),
        };
        if !folder.is_dir() {
            return Ok(None);
        }
        Ok(Some(Package {
            main: GroupElement::new(note.id, note.version),
            modules: module::in_buildpacks_folder(&folder)?,
            identity: Identity {
                folders: Vec::new(),
                fixed: vec![folder],
            },
        }))
    }
}

/// Where an archive's buildpack.toml is: at its top, or in its only folder, as archives of repositories have it.
fn folder_of(root: &Path) -> Option<PathBuf> {
    let has = |folder: &Path| folder.join("buildpack.toml").is_file();
    if has(root) {
        return Some(root.to_owned());
    }
    let mut entries = fs::read_dir(root).ok()?.flatten();
    let only = entries.next()?;
    let is_only = entries.next().is_none() && only.file_type().ok()?.is_dir();
    (is_only && has(&only.path())).then(|| only.path())
}

/// A folder below another one, none of it a link.
fn inside(root: &Path, names: &[&str]) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for name in names {
        path.push(name);
        if !fs::symlink_metadata(&path).ok()?.is_dir() {
            return None;
        }
    }
    Some(path)
}

/// The same buildpack named twice counts once; two of one name that differ are a mistake of the package.
fn distinct(modules: Vec<Module>) -> Result<Vec<Module>, Failure> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut kept: Vec<Module> = Vec::new();
    for module in modules {
        if seen.insert(module.place()) {
            kept.push(module);
        } else if let Some(other) = kept.iter().find(|other| other.place() == module.place())
            && other.folder() != module.folder()
            && other.buildpack.info != module.buildpack.info
        {
            return Err(Failure::new(
                Exit::Input,
                format!(
                    "{} is in {} and, different, in {}",
                    module.element,
                    other.folder().display(),
                    module.folder().display()
                ),
            ));
        }
    }
    Ok(kept)
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

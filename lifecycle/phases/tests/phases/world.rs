//! A folder with everything that the phases need, and buildpacks as bash scripts.

use cnb_phases::build::{self, BuildError};
use cnb_phases::detect::{self, DetectError, Detected};
use cnb_phases::export::{self, ExportError, Exported};
use cnb_phases::log::{Level, Logger};
use cnb_phases::platform::Platform;
use cnb_phases::record::CacheRecord;
use cnb_phases::restore::{self, LastBuild, Restoration};
use cnb_spec::api::ApiVersion;
use cnb_spec::group::GroupElement;
use cnb_spec::labels::LauncherMetadata;
use cnb_spec::order::{Order, OrderGroup};
use cnb_spec::project::ProjectMetadata;
use cnb_spec::run::RunImageNames;
use cnb_spec::target::{Distro, Target};
use oci_image::{
    BlobStore, Compression, Digest, History, Image, LayerError, NORMALIZED_MTIME, Owner,
    write_layer,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests run one after the other: a script must not be executed while a fork of another test still has it open for
/// writing, and the bytes that this process reads are counted.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) struct World {
    root: tempfile::TempDir,
    pub(crate) blobs: BlobStore,
    pub(crate) process_type: Option<&'static str>,
    pub(crate) early: Vec<export::EarlyLayer>,
    pub(crate) cut_app_above: Option<u64>,
    run_image: Image,
    order: Mutex<Order>,
    detected: Mutex<Detected>,
    last: Option<(CacheRecord, Image)>,
    log: Mutex<String>,
    _turn: Option<MutexGuard<'static, ()>>,
}

thread_local! {
    static HAS_TURN: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl Drop for World {
    fn drop(&mut self) {
        HAS_TURN.set(HAS_TURN.get() - 1);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        // A test may have several worlds, and takes its turn with the first.
        let turn = (HAS_TURN.get() == 0)
            .then(|| ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner));
        HAS_TURN.set(HAS_TURN.get() + 1);
        let root = tempfile::tempdir().unwrap();
        for dir in [
            "app",
            "platform/env",
            "build-config/env",
            "buildpacks",
            "layers",
            "tmp",
        ] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        fs::write(root.path().join("launcher"), "the launcher").unwrap();
        let blobs = BlobStore::open(root.path().join("blobs")).unwrap();
        let base = write_layer::<LayerError>(&blobs, Compression::default(), |tar| {
            tar.directory("/usr", 0o755, Owner::ROOT)
        })
        .unwrap();
        let mut run_image = Image::empty("linux", "amd64");
        run_image.manifest.layers.push(base.descriptor());
        run_image.config.rootfs.diff_ids.push(base.diff_id);
        run_image
            .config
            .config
            .env
            .push("PATH=/usr/bin:/bin".to_owned());
        run_image.config.history = vec![
            History {
                created_by: Some("base".to_owned()),
                ..History::default()
            },
            History {
                empty_layer: true,
                ..History::default()
            },
        ];
        // Nothing may need the base's content.
        blobs.remove(&base.digest).unwrap();
        Self {
            root,
            blobs,
            process_type: None,
            early: Vec::new(),
            cut_app_above: None,
            run_image,
            order: Mutex::default(),
            detected: Mutex::default(),
            last: None,
            log: Mutex::default(),
            _turn: turn,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn app(&self, path: &str, content: &str) {
        let path = self.root().join("app").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn platform_env(&self, name: &str, value: &str) {
        fs::write(self.root().join("platform/env").join(name), value).unwrap();
    }

    pub(crate) fn operator_env(&self, name: &str, value: &str) {
        fs::write(self.root().join("build-config/env").join(name), value).unwrap();
    }

    pub(crate) fn buildpack_dir(&self, id: &str) -> PathBuf {
        self.root()
            .join("buildpacks")
            .join(id.replace('/', "_"))
            .join("1.0.0")
    }

    pub(crate) fn add(&self, buildpack: &TestBuildpack) {
        let dir = self.buildpack_dir(&buildpack.id);
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(dir.join("buildpack.toml"), buildpack.descriptor()).unwrap();
        for (name, script) in [
            ("detect", buildpack.detect_script()),
            ("build", buildpack.build.clone()),
        ] {
            let path = dir.join("bin").join(name);
            fs::write(&path, format!("#!/bin/bash\n{script}\nexit 0\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// A composite buildpack; the order is written as for [`World::order`].
    pub(crate) fn composite(&self, id: &str, order: &str) {
        let dir = self.buildpack_dir(id);
        fs::create_dir_all(&dir).unwrap();
        let mut text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n");
        let order = Order {
            order: groups(order),
            ..Order::default()
        };
        text.push_str(&toml::to_string(&order).unwrap());
        fs::write(dir.join("buildpack.toml"), text).unwrap();
    }

    /// Groups separated by `|`, IDs by spaces, optional ones with a `?` behind.
    pub(crate) fn order(&self, text: &str) {
        self.order.lock().unwrap().order = groups(text);
    }

    pub(crate) fn detect(&self) -> Result<Detected, DetectError> {
        let target = target();
        let env = env();
        let sink = self.sink();
        let detected = detect::detect(&detect::Inputs {
            platform: self.platform(&self.paths(), &target, &env),
            order: &self.order.lock().unwrap(),
            log: Logger::new(&sink),
        })?;
        *self.detected.lock().unwrap() = detected.clone();
        Ok(detected)
    }

    pub(crate) fn build(&self) -> Result<(), BuildError> {
        let target = target();
        let env = env();
        let sink = self.sink();
        let detected = self.detected.lock().unwrap();
        build::build(&build::Inputs {
            platform: self.platform(&self.paths(), &target, &env),
            layers_dir: &self.root().join("layers"),
            group: &detected.group,
            plan: &detected.plan,
            log: Logger::new(&sink),
        })
        .map(|_| ())
    }

    /// For the group of the last detection.
    pub(crate) fn restore(&self, last_build: LastBuild) -> Restoration {
        let sink = self.sink();
        restore::restore(&restore::Inputs {
            layers_dir: &self.root().join("layers"),
            group: &self.detected.lock().unwrap().group,
            record: self.last.as_ref().map(|(record, _)| record),
            last_build,
            blobs: &self.blobs,
            log: Logger::new(&sink),
        })
        .unwrap()
    }

    pub(crate) fn export(&mut self) -> Result<Exported, ExportError> {
        let exported = {
            let sink = self.sink();
            export::export(&export::Inputs {
                platform_api: ApiVersion::new(0, 12),
                layers_dir: &self.root().join("layers"),
                layers_path: "/layers",
                app_dir: &self.root().join("app"),
                app_path: "/workspace",
                group: &self.detected.lock().unwrap().group,
                run_image: &self.run_image,
                run_image_reference: "run@sha256:abc",
                run_image_names: &RunImageNames {
                    image: Some("run".to_owned()),
                    mirrors: Vec::new(),
                },
                launcher: &self.root().join("launcher"),
                launcher_metadata: &LauncherMetadata {
                    version: "0.1.0".to_owned(),
                    ..LauncherMetadata::default()
                },
                owner: Owner {
                    uid: 1000,
                    gid: 1000,
                },
                blobs: &self.blobs,
                compression: Compression::default(),
                record: self.last.as_ref().map(|(record, _)| record),
                elsewhere: &BTreeMap::new(),
                early: &self.early,
                previous: self.last.as_ref().map(|(_, image)| image),
                process_type: self.process_type,
                project: &ProjectMetadata::default(),
                slices: &[],
                cut_app_above: self.cut_app_above,
                exec_env: "production",
                created: NORMALIZED_MTIME,
                tags: &["app".to_owned()],
                log: Logger::new(&sink),
            })?
        };
        // As a caller would: through its file.
        let record = serde_json::to_string(&exported.record).unwrap();
        self.last = Some((
            serde_json::from_str(&record).unwrap(),
            exported.image.clone(),
        ));
        Ok(exported)
    }

    pub(crate) fn whole_build(&mut self) -> Result<Exported, ExportError> {
        self.detect().expect("a group passes");
        self.restore(LastBuild::Committed);
        self.build().expect("the build succeeds");
        self.export()
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The entries of a layer, as `<type><mode> <uid>:<gid> <path>[ -> <target>]`.
    pub(crate) fn entries(&self, exported: &Exported, layer: &str) -> Vec<String> {
        let layer = exported
            .layers
            .iter()
            .find(|found| found.name == layer)
            .expect("the layer is there");
        let mut tar = Vec::new();
        let blob = self.blobs.read(&layer.blob.digest).unwrap();
        flate2::read::MultiGzDecoder::new(blob.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(Digest::of(&tar), layer.blob.diff_id);
        tar::Archive::new(tar.as_slice())
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let kind = match header.entry_type() {
                    tar::EntryType::Directory => 'd',
                    tar::EntryType::Symlink => 'l',
                    _ => '-',
                };
                let (mode, uid, gid) = (
                    header.mode().unwrap(),
                    header.uid().unwrap(),
                    header.gid().unwrap(),
                );
                let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                let target = entry
                    .link_name_bytes()
                    .map(|target| format!(" -> {}", String::from_utf8_lossy(&target)));
                assert_eq!(header.mtime().unwrap(), 315_532_801);
                format!(
                    "{kind}{mode:o} {uid}:{gid} {path}{}",
                    target.unwrap_or_default()
                )
            })
            .collect()
    }

    fn sink(&self) -> impl Fn(Level, &str) + Sync + '_ {
        |level, line| {
            writeln!(self.log.lock().unwrap(), "{level:?} {line}").unwrap();
        }
    }

    fn paths(&self) -> [PathBuf; 5] {
        ["buildpacks", "app", "platform", "build-config", "tmp"].map(|name| self.root().join(name))
    }

    #[expect(
        clippy::unused_self,
        reason = "reads as what it is: this world's platform"
    )]
    fn platform<'a>(
        &self,
        paths: &'a [PathBuf; 5],
        target: &'a Target,
        env: &'a [(OsString, OsString)],
    ) -> Platform<'a> {
        let [
            buildpacks_dir,
            app_dir,
            platform_dir,
            build_config_dir,
            temp_dir,
        ] = paths;
        Platform {
            api: ApiVersion::new(0, 12),
            buildpacks_dir,
            extensions_dir: Path::new("/nowhere"),
            app_dir,
            platform_dir,
            build_config_dir,
            temp_dir,
            env,
            target,
            exec_env: "production",
        }
    }
}

fn groups(text: &str) -> Vec<OrderGroup> {
    text.split('|')
        .map(|group| OrderGroup {
            group: group
                .split_whitespace()
                .map(|id| GroupElement {
                    optional: id.ends_with('?'),
                    ..GroupElement::new(id.trim_end_matches('?'), "1.0.0")
                })
                .collect(),
        })
        .collect()
}

fn target() -> Target {
    Target {
        os: "linux".to_owned(),
        arch: "amd64".to_owned(),
        distro: Some(Distro {
            name: "debian".to_owned(),
            version: "13".to_owned(),
        }),
        ..Target::default()
    }
}

fn env() -> Vec<(OsString, OsString)> {
    [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/cnb"),
        ("SECRET", "of the host"),
        ("CNB_PLATFORM_API", "0.12"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec()
}

/// A buildpack whose executables are bash.
pub(crate) struct TestBuildpack {
    id: String,
    version: String,
    api: String,
    detect: String,
    build: String,
    clear_env: bool,
    sboms: bool,
    target: String,
}

pub(crate) fn buildpack(id: &str, version: &str) -> TestBuildpack {
    TestBuildpack {
        id: id.to_owned(),
        version: version.to_owned(),
        api: "0.10".to_owned(),
        detect: String::new(),
        build: String::new(),
        clear_env: false,
        sboms: false,
        target: "linux".to_owned(),
    }
}

impl TestBuildpack {
    /// A script, or a plan in short: `+provided` and `-required`.
    pub(crate) fn detect(mut self, text: &str) -> Self {
        text.clone_into(&mut self.detect);
        self
    }

    pub(crate) fn build(mut self, script: &str) -> Self {
        script.clone_into(&mut self.build);
        self
    }

    pub(crate) fn api(mut self, api: &str) -> Self {
        api.clone_into(&mut self.api);
        self
    }

    pub(crate) fn target(mut self, os: &str) -> Self {
        os.clone_into(&mut self.target);
        self
    }

    pub(crate) fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    pub(crate) fn sboms(mut self, declared: bool) -> Self {
        self.sboms = declared;
        self
    }

    fn descriptor(&self) -> String {
        let Self {
            id,
            version,
            api,
            clear_env,
            target,
            ..
        } = self;
        let sboms = if self.sboms {
            "\"application/vnd.cyclonedx+json\""
        } else {
            ""
        };
        format!(
            "api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\nclear-env = {clear_env}\nsbom-formats = [{sboms}]\n[[targets]]\nos = \"{target}\"\n"
        )
    }

    fn detect_script(&self) -> String {
        if !self.detect.starts_with(['+', '-']) {
            return self.detect.clone();
        }
        let mut script = String::new();
        for word in self.detect.split_whitespace() {
            let (list, name) = match word.strip_prefix('+') {
                Some(name) => ("provides", name),
                None => ("requires", &word[1..]),
            };
            writeln!(script, "printf '[[{list}]]\\nname = \"{name}\"\\n' >> $2").unwrap();
        }
        script
    }
}

/// An error and its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(text, ": {cause}").unwrap();
        source = cause.source();
    }
    text
}

/// How many bytes this process has read by system calls so far, itself and its finished children.
pub(crate) fn bytes_read() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    io.lines()
        .find_map(|line| line.strip_prefix("rchar: ")?.parse().ok())
        .unwrap()
}

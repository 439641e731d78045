//! Whole bootstraps against an archive on a loopback port.
//!
//! The packages have no scripts that need a real system, and the configuration run does what dpkg would do
//! with them; the real dpkg in the real sandbox is the end-to-end tests' business.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use debian_stack::{
    ConfigureRequest, Dirs, Error, FetchError, Inputs, Layer, Lock, Mirrors, Recipe, ReleaseError,
    Stack, Target, UnpackError, bootstrap,
};
use oci_image::{BlobStore, Compression};
use support::key::{BORN, Key};
use support::{Mirror, Mischief, NOW, Package, archive, listing, pool};

const RECIPE: &str = r#"
id = "test"
keys = ["archive.pgp"]
[[suite]]
name = "test"
[run]
packages = ["app"]
[build]
packages = ["compiler"]
[paths]
exclude = ["/usr/share/doc/*"]
include = ["/usr/share/doc/*/copyright"]
[[user]]
name = "cnb"
uid = 1000
gid = 1000
home = "/home/cnb"
shell = "/bin/bash"
[[owner]]
path = "/etc/app.conf"
group = "shadow"
[[file]]
path = "/etc/machine-id"
content = ""
"#;

const BASE: Package<'_> = Package {
    name: "base",
    version: "1",
    fields: "Essential: yes\nPriority: required\n",
    control: &[],
    data: &[
        ("etc/", 0o755, ""),
        ("etc/passwd", 0o644, "root:*:0:0:root:/root:/bin/bash\n"),
        ("etc/group", 0o644, "root:*:0:\nshadow:*:42:\n"),
        ("etc/shadow", 0o640, "root:*:20000:0:99999:7:::\n"),
        ("usr/", 0o755, ""),
        ("usr/share/", 0o755, ""),
        ("usr/share/doc/base/README", 0o644, "x"),
        ("usr/share/doc/base/copyright", 0o644, "free"),
    ],
};

const APP: Package<'_> = Package {
    name: "app",
    version: "2",
    fields: "Depends: lib (>= 1) | gone\nRecommends: compiler\n",
    control: &[("conffiles", 0o644, "/etc/app.conf\n")],
    data: &[
        ("etc/", 0o755, ""),
        ("etc/app.conf", 0o640, "setting"),
        ("bin/app", 0o4755, "app"),
    ],
};

const LIB: Package<'_> = Package {
    name: "lib",
    version: "1",
    fields: "Multi-Arch: same\n",
    control: &[],
    data: &[
        ("usr/lib/lib.so", 0o644, "lib"),
        ("usr/lib/lib.so.1", 0o644, "link:./usr/lib/lib.so"),
    ],
};

const COMPILER: Package<'_> = Package {
    name: "compiler",
    version: "3",
    fields: "Depends: app, lib\n",
    control: &[],
    data: &[
        ("usr/", 0o755, ""),
        ("usr/bin/cc", 0o755, "cc"),
        ("usr/share/", 0o755, ""),
    ],
};

const ALL: [Package<'_>; 4] = [BASE, APP, LIB, COMPILER];

struct Scene {
    folder: tempfile::TempDir,
    mirror: Mirror,
    recipe: Recipe,
    store: BlobStore,
}

impl Scene {
    fn new(files: HashMap<String, Vec<u8>>, key: &Key) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stack.toml"), RECIPE).unwrap();
        fs::write(folder.path().join("archive.pgp"), key.certificate(None)).unwrap();
        Self {
            recipe: Recipe::read(folder.path()).unwrap(),
            store: BlobStore::open(folder.path().join("blobs")).unwrap(),
            mirror: Mirror::start(files),
            folder,
        }
    }

    fn with(packages: &[Package<'_>]) -> Self {
        let key = Key::new();
        Self::new(archive(&key, packages, ""), &key)
    }

    fn dirs(&self) -> Dirs {
        let at = |name: &str| self.folder.path().join(name);
        Dirs {
            downloads: at("downloads"),
            work: at("work"),
            roots: at("roots"),
        }
    }

    fn bootstrap(&self, lock: Option<&Lock>) -> Result<Stack, Error> {
        bootstrap(&Inputs {
            recipe: &self.recipe,
            lock,
            architecture: "amd64",
            mirrors: &Mirrors::new(&format!("{}/debian/", self.mirror.address)),
            proxy: None,
            dirs: &self.dirs(),
            store: &self.store,
            compression: Compression::default(),
            now: NOW,
            configure: &configure,
            progress: &|_| {},
        })
    }

    fn layer(
        &self,
        layer: &debian_stack::StackLayer,
    ) -> std::collections::BTreeMap<String, String> {
        listing(&self.store.read(&layer.blob.digest).unwrap())
    }

    fn nothing_is_left(&self) {
        for folder in [self.dirs().work, self.dirs().roots] {
            assert_eq!(
                fs::read_dir(&folder).unwrap().count(),
                0,
                "{}",
                folder.display()
            );
        }
    }
}

/// Installs configuration files, marks packages as installed, leaves a log and backups.
#[expect(clippy::unnecessary_wraps, reason = "a `Configure`")]
fn configure(request: &ConfigureRequest) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let root = match &request.target {
        Target::Root(root) => root,
        Target::Overlay { lower, upper } => {
            assert!(lower[0].join("usr/bin/app").exists());
            upper
        }
    };
    assert!(fs::read_dir(&request.scratch).unwrap().next().is_none());
    let status = root.join("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    fs::write(&status, text.replace("ok unpacked", "ok installed")).unwrap();
    fs::write(root.join("var/lib/dpkg/status-old"), text).unwrap();
    let config = root.join("etc/app.conf");
    let unpacked = root.join("etc/app.conf.dpkg-new");
    if unpacked.exists() {
        fs::rename(unpacked, config).unwrap();
    }
    let logs = root.join("var/log");
    fs::create_dir_all(&logs).unwrap();
    fs::write(
        logs.join("dpkg.log"),
        format!("{:?}", std::time::SystemTime::now()),
    )
    .unwrap();
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_stack_and_the_same_again_from_its_lock() {
    let scene = Scene::with(&ALL);
    let stack = scene.bootstrap(None).unwrap();
    let names = |layer| {
        let packages = stack
            .lock
            .packages
            .iter()
            .filter(move |package| package.layer == layer);
        packages
            .map(|package| package.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(Layer::Run), ["app", "base", "lib"]);
    assert_eq!(names(Layer::Build), ["compiler"]);
    assert_eq!(stack.lock.epoch, i64::from(BORN) + 6 * 3600);

    let run = scene.layer(&stack.run);
    let epoch = stack.lock.epoch;
    assert_eq!(run["usr/bin/app"], "Regular 4755 0:42 1700000000 app");
    assert_eq!(
        run["bin"],
        "Symlink 777 0:0 ".to_owned() + &epoch.to_string() + " -> usr/bin"
    );
    assert_eq!(run["etc/app.conf"], "Regular 640 0:42 1700000000 setting");
    assert_eq!(
        run["usr/lib/lib.so.1"],
        "Link 644 0:42 1700000000 -> usr/lib/lib.so"
    );
    assert_eq!(
        run["usr/share/doc/base/copyright"],
        "Regular 644 0:42 1700000000 free"
    );
    assert_eq!(run["etc/machine-id"], format!("Regular 644 0:0 {epoch}"));
    assert_eq!(run["home/cnb"], format!("Directory 755 1000:1000 {epoch}"));
    assert!(
        run["etc/passwd"]
            .ends_with("root:*:0:0:root:/root:/bin/bash\ncnb:x:1000:1000::/home/cnb:/bin/bash")
    );
    assert!(run["etc/shadow"].contains(&format!("root:*:{}:0:", epoch / 86_400)));
    assert!(run.contains_key("etc/dpkg/dpkg.cfg.d/stack"));
    for gone in [
        "usr/share/doc/base/README",
        "var/log/dpkg.log",
        "var/lib/dpkg/status-old",
        "etc/app.conf.dpkg-new",
    ] {
        assert!(!run.contains_key(gone), "{gone}");
    }
    let build = stack.build.as_ref().unwrap();
    let build = scene.layer(build);
    assert_eq!(build["usr/bin/cc"], "Regular 755 0:42 1700000000 cc");
    assert_eq!(
        build["var/lib/dpkg/status"]
            .matches("install ok installed")
            .count(),
        4
    );
    assert!(
        !build.contains_key("usr/share") && !build.contains_key("etc"),
        "{build:#?}"
    );
    assert!(stack.run.dir.join("usr/bin/app").exists());
    assert_eq!(fs::read_dir(scene.dirs().downloads).unwrap().count(), 0);

    let path = scene.folder.path().join("lock.toml");
    stack.lock.write(&path).unwrap();
    let lock = Lock::read(&path).unwrap();
    assert_eq!(lock, stack.lock);
    let index = scene.mirror.requests("/debian/dists/test/InRelease").len();
    let again = Scene {
        folder: tempfile::tempdir().unwrap(),
        ..scene
    };
    let second = again.bootstrap(Some(&lock)).unwrap();
    assert_eq!(second.run.blob.diff_id, stack.run.blob.diff_id);
    assert_eq!(
        second.build.unwrap().blob.diff_id,
        stack.build.unwrap().blob.diff_id
    );
    assert_eq!(
        again.mirror.requests("/debian/dists/test/InRelease").len(),
        index + 1
    );
}

#[test]
fn broken_connections_are_resumed_and_refusals_retried() {
    let scene = Scene::with(&ALL);
    let app = format!("/debian/{}", pool("app", "2"));
    let lib = format!("/debian/{}", pool("lib", "1"));
    scene.mirror.misbehave(
        &app,
        &[
            Mischief::Status(500),
            Mischief::DropAfter(100),
            Mischief::DropAfter(50),
        ],
    );
    scene.mirror.misbehave(
        &lib,
        &[
            Mischief::Status(429),
            Mischief::DropAfter(10),
            Mischief::IgnoreRange,
        ],
    );
    scene.mirror.misbehave(
        "/debian/dists/test/InRelease",
        &[Mischief::DropAfter(30), Mischief::Status(503)],
    );
    scene.bootstrap(None).unwrap();
    let ranges = scene.mirror.requests(&app);
    assert_eq!(
        ranges,
        [
            None,
            None,
            Some("bytes=100-".to_owned()),
            Some("bytes=150-".to_owned())
        ]
    );
}

#[test]
fn an_interrupted_download_is_taken_up_by_the_next_bootstrap() {
    let scene = Scene::with(&ALL);
    let app = format!("/debian/{}", pool("app", "2"));
    scene
        .mirror
        .misbehave(&app, &[Mischief::DropAfter(100), Mischief::Status(404)]);
    assert!(matches!(
        scene.bootstrap(None),
        Err(Error::PackageGone { .. })
    ));
    scene.nothing_is_left();
    scene.bootstrap(None).unwrap();
    assert_eq!(
        scene.mirror.requests(&app)[2],
        Some("bytes=100-".to_owned())
    );
}

#[test]
fn a_lying_mirror_is_refused() {
    let scene = Scene::with(&ALL);
    let app = format!("/debian/{}", pool("app", "2"));
    scene.mirror.misbehave(&app, &[Mischief::Lie; 9]);
    let error = scene.bootstrap(None).unwrap_err();
    assert!(
        matches!(error, Error::Fetch(FetchError::WrongContent { .. })),
        "{}",
        chain(&error)
    );
    assert!(chain(&error).contains("app_2_all.deb"));
    scene.nothing_is_left();
    scene.mirror.misbehave(&app, &[]);
    scene.bootstrap(None).unwrap();
}

#[test]
fn a_package_that_is_gone_is_told_apart() {
    let scene = Scene::with(&ALL);
    let lock = scene.bootstrap(None).unwrap().lock;
    scene
        .mirror
        .remove(&format!("/debian/{}", pool("lib", "1")));
    let again = Scene {
        folder: tempfile::tempdir().unwrap(),
        ..scene
    };
    let error = again.bootstrap(Some(&lock)).unwrap_err();
    assert!(
        matches!(&error, Error::PackageGone { package, .. } if package == "lib"),
        "{}",
        chain(&error)
    );
}

#[test]
fn release_files_are_checked_with_and_without_a_lock() {
    let scene = Scene::with(&ALL);
    let lock = scene.bootstrap(None).unwrap().lock;
    let stranger = archive(&Key::new(), &ALL, "");
    let release = "/debian/dists/test/InRelease";
    let forged = stranger[release].clone();
    scene.mirror.put(release, forged);
    for lock in [None, Some(&lock)] {
        let error = scene.bootstrap(lock).unwrap_err();
        assert!(
            matches!(error, Error::Release(ReleaseError::Signature { .. })),
            "{}",
            chain(&error)
        );
        assert!(
            chain(&error).contains("none of which is in the stack's keyring"),
            "{}",
            chain(&error)
        );
    }
    let key = Key::new();
    let expired = archive(&key, &ALL, "Valid-Until: Thu, 01 Jan 2026 12:00:00 UTC\n");
    let scene = Scene::new(expired, &key);
    for lock in [None, Some(&lock)] {
        let error = scene.bootstrap(lock).unwrap_err();
        assert!(
            matches!(error, Error::Release(ReleaseError::Expired { .. })),
            "{}",
            chain(&error)
        );
    }
    scene.nothing_is_left();
}

#[test]
fn a_lock_of_another_recipe_is_stale() {
    let mut scene = Scene::with(&ALL);
    let lock = scene.bootstrap(None).unwrap().lock;
    scene.recipe.run.packages.push("lib".to_owned());
    assert!(matches!(
        scene.bootstrap(Some(&lock)),
        Err(Error::StaleLock { .. })
    ));
}

#[test]
fn packages_that_clash_or_lie_about_themselves() {
    let clash = Package {
        name: "lib",
        version: "1",
        fields: "",
        control: &[],
        data: &[("usr/bin/app", 0o755, "mine")],
    };
    let scene = Scene::with(&[BASE, APP, clash, COMPILER]);
    let message = chain(&scene.bootstrap(None).unwrap_err());
    assert!(
        message.contains("contains /usr/bin/app, which another package contains too"),
        "{message}"
    );
    let evil = Package {
        name: "lib",
        version: "1",
        fields: "",
        control: &[],
        data: &[("../evil", 0o644, "x")],
    };
    let scene = Scene::with(&[BASE, APP, evil, COMPILER]);
    let error = scene.bootstrap(None).unwrap_err();
    assert!(
        matches!(error, Error::Unpack(UnpackError::Entry { .. })),
        "{}",
        chain(&error)
    );
    scene.nothing_is_left();
}

#[test]
fn a_failing_configuration_says_so() {
    let scene = Scene::with(&ALL);
    let fail = |_: &ConfigureRequest| Err("the postinst script of app failed".into());
    let error = bootstrap(&Inputs {
        recipe: &scene.recipe,
        lock: None,
        architecture: "amd64",
        mirrors: &Mirrors::new(&format!("{}/debian", scene.mirror.address)),
        proxy: None,
        dirs: &scene.dirs(),
        store: &scene.store,
        compression: Compression::default(),
        now: NOW,
        configure: &fail,
        progress: &|_| {},
    })
    .unwrap_err();
    assert_eq!(
        chain(&error),
        "cannot configure the packages of the run layer: the postinst script of app failed"
    );
    scene.nothing_is_left();
    assert!(Path::new(&scene.dirs().downloads).exists());
}

//! Pythons that the stack does not have, from a mirror on the loopback address.

use crate::context::{Context, traces};
use crate::index::Index;
use std::path::PathBuf;
use std::process::Command;

/// Packs a Python of this machine as python-build-standalone packs its own, without what a test can do without,
/// and writes the catalogue that uv is to use. Arguments: the Python's folder, the archive, the catalogue.
const PACK: &str = r#"
import hashlib, json, os, subprocess, sys, tarfile
source, archive, catalogue, name, variant, prerelease = sys.argv[1:]
left_out = ("site-packages", "test", "tests", "idlelib", "ensurepip", "share", "include", "__pycache__", "pkgconfig")
version = subprocess.check_output([source + "/bin/python3", "-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], text=True).strip()
def wanted(member):
    parts = member.name.split("/")
    return None if any(p in left_out or p.startswith("config-") for p in parts) or member.name.endswith(".a") else member
major, minor, patch = map(int, version.split("."))
with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
    tar.add(source, "python", filter=wanted)
    # Other builds' programs have other names.
    for other in [f"pypy{major}.{minor}", f"python{major}.{minor}t"]:
        link = tarfile.TarInfo("python/bin/" + other)
        link.type, link.linkname = tarfile.SYMTYPE, f"python{major}.{minor}"
        tar.addfile(link)
    library = tarfile.TarInfo(f"python/lib/pypy{major}.{minor}")
    library.type, library.mode = tarfile.DIRTYPE, 0o755
    tar.addfile(library)
patch = 0 if prerelease else patch
machine = os.uname().machine
entry = {
    "name": name, "arch": {"family": machine, "variant": None}, "os": "linux", "libc": "gnu",
    "major": major, "minor": minor, "patch": patch, "prerelease": prerelease, "variant": variant or None, "build": "1",
    "url": {
        "cpython": "https://github.com/astral-sh/python-build-standalone/releases/download/1/python.tar.gz",
        "pypy": "https://downloads.python.org/pypy/1/python.tar.gz",
    }[name],
    "sha256": hashlib.sha256(open(archive, "rb").read()).hexdigest(),
}
json.dump({f"{name}-{version}-linux-{machine}-gnu": entry}, open(catalogue, "w"))
print(version)
"#;

/// Another Python of this machine that stands in a folder of its own, by pyenv's layout.
fn other_python() -> Option<PathBuf> {
    let own = crate::context::python_version();
    let (own, _) = own.rsplit_once('.')?;
    let versions = PathBuf::from(std::env::var_os("HOME")?).join(".pyenv/versions");
    (10..=15)
        .map(|minor| format!("3.{minor}"))
        .filter(|series| series != own)
        .find_map(|series| {
            std::fs::read_dir(&versions)
                .ok()?
                .flatten()
                .map(|entry| entry.path())
                .find(|folder| folder.join(format!("bin/python{series}")).is_file())
        })
}

/// A Python that a mirror has, and an app whose builds ask that mirror.
struct Offer {
    mirror: Index,
    python: PathBuf,
    archive: PathBuf,
    catalogue: PathBuf,
    context: Context,
}

impl Offer {
    /// `None`, and said why, where the machine has no second Python or no uv.
    fn new() -> Option<Self> {
        let Some(python) = other_python() else {
            println!("skipped: no second Python on this machine");
            return None;
        };
        let mirror = Index::new();
        let folder = mirror.folder("1");
        let catalogue = folder.join("catalogue.json");
        let context = Context::with_uv(&[("app.py", "")], mirror.folder("none").as_path())?;
        context.set("UV_PYTHON_INSTALL_MIRROR", &mirror.url());
        context.set("UV_PYTHON_DOWNLOADS_JSON_URL", catalogue.to_str()?);
        context.set("UV_HTTP_RETRIES", "0");
        Some(Self {
            mirror,
            python,
            archive: folder.join("python.tar.gz"),
            catalogue,
            context,
        })
    }

    /// Packs the Python; `build` is its implementation, its variant and its pre-release. Returns its version.
    fn pack(&self, build: [&str; 3]) -> String {
        let packed = Command::new("python3")
            .args(["-c", PACK])
            .args([&self.python, &self.archive, &self.catalogue])
            .args(build)
            .output()
            .unwrap();
        assert!(
            packed.status.success(),
            "{}",
            String::from_utf8_lossy(&packed.stderr)
        );
        String::from_utf8(packed.stdout).unwrap().trim().to_owned()
    }
}

/// What a version file asks for is what uv is asked for, and found where it puts it. The archives hold an ordinary Python:
/// other builds can't be had everywhere.
#[test]
fn other_builds_of_python() {
    let Some(offer) = Offer::new() else {
        return;
    };
    let context = &offer.context;
    context.set("UV_PYPY_INSTALL_MIRROR", &offer.mirror.url());
    let version = offer.pack(["cpython", "", "rc1"]);
    let (series, _) = version.rsplit_once('.').unwrap();
    let build = |wanted: &str| {
        context.write(".python-version", wanted);
        context.build()
    };
    let exactly = format!("{series}.0rc1");
    for wanted in [&exactly, &format!("{series}-dev")] {
        let said = build(wanted).success().stdout;
        for line in [
            format!("[Warning: Python {wanted} is not for production]"),
            format!("Installing Python {wanted} (python-build-standalone)."),
            format!("Using Python {version} (.python-version asks for {wanted})."),
        ] {
            assert!(said.contains(&line), "{line} in {said}");
        }
    }
    offer.pack(["pypy", "", ""]);
    let wanted = format!("pypy{series}");
    let said = build(&wanted).success().stdout;
    assert!(
        said.contains(&format!("Installing Python {wanted} (PyPy's own build).")),
        "{said}"
    );
    let layer = context.layers().join("python");
    let found = std::fs::read_dir(&layer).unwrap().flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with("pypy-") && entry.path().join("bin").is_dir()
    });
    assert!(found, "in {}", layer.display());

    // What the catalogue does not have, and what cannot be.
    let absent = build("pypy3.15").explanation();
    assert!(
        absent.starts_with("[Error: There is no Python pypy3.15 to download]"),
        "{absent}"
    );
    let impossible = build("3.12t").explanation();
    assert!(
        impossible.starts_with("[Error: There is no Python 3.12t]") && impossible.contains("3.13t"),
        "{impossible}"
    );
    std::fs::remove_file(&offer.archive).unwrap();
    context.forget_layers();
    let unreachable = build(&wanted).explanation();
    assert!(
        unreachable.contains("-e UV_PYPY_INSTALL_MIRROR="),
        "{unreachable}"
    );
}

#[test]
fn from_a_mirror() {
    let Some(offer) = Offer::new() else {
        return;
    };
    let (context, archive) = (&offer.context, &offer.archive);
    let version = offer.pack(["cpython", "", ""]);
    let (series, _) = version.rsplit_once('.').unwrap();
    context.write(".python-version", series);
    // What is not the expected file is refused, and the right one is enough to go on.
    let right = std::fs::read(archive).unwrap();
    std::fs::write(archive, [right.as_slice(), b"more"].concat()).unwrap();
    let explanation = context.build().explanation();
    assert!(
        explanation.starts_with(&format!(
            "[Error: The downloaded Python {series} is not the expected one]"
        )),
        "{explanation}"
    );
    std::fs::write(archive, right).unwrap();
    let built = context.build().success();
    assert!(
        built.stdout.contains(&format!(
            "Using Python {version} (.python-version asks for {series})."
        )),
        "{}",
        built.stdout
    );
    let ask = ["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"];
    assert_eq!(context.run("python", &ask).success().stdout.trim(), version);
    let before = traces(&context.layers().join("python"));
    context.build().success();
    assert_eq!(traces(&context.layers().join("python")), before);

    // A range that the stack's Python is not in leads to the same.
    std::fs::remove_file(context.app().join(".python-version")).unwrap();
    context.write(
        "pyproject.toml",
        format!("[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \"~={version}\"\ndependencies = []\n[dependency-groups]\n"),
    );
    let by_range = context.build().success();
    assert!(
        by_range.stdout.contains(&format!(
            "Using Python {version} (pyproject.toml asks for {series})."
        )),
        "{}",
        by_range.stdout
    );
    // An exact version that lags behind is warned about.
    std::fs::remove_file(context.app().join("pyproject.toml")).unwrap();
    context.write(".python-version", &version);
    let exact = context.build().success();
    assert!(
        exact
            .stdout
            .contains(&format!("[Warning: Python {version} lacks fixes]")),
        "{}",
        exact.stdout
    );
}

//! Wheels and source archives that no honest tool makes: refused, or without effect outside of the environment.

use crate::context::Context;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Makes one archive of each kind in the folder given.
const MAKE: &str = r#"
import io, os, sys, tarfile, zipfile
os.chdir(sys.argv[1])

def wheel(name, files, record=None):
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "def main(): pass\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{path.replace("INFO", info).replace("DATA", f"{name}-1.0.data"): text for path, text in files.items()},
    }
    lines = "".join(f"{path},,{len(text)}\n" for path, text in files.items()) if record is None else record
    with zipfile.ZipFile(f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", lines + f"{info}/RECORD,,\n")

def sdist(name, path, target=None):
    with tarfile.open(f"{name}-1.0.tar.gz", "w:gz") as archive:
        def add(path, text=""):
            member = tarfile.TarInfo(path)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        add(f"{name}-1.0/PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        if target:
            link = tarfile.TarInfo(f"{name}-1.0/{path}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        else:
            add(f"{name}-1.0/{path}", "evil")
        add(f"{name}-1.0/setup.py", f"from setuptools import setup; setup(name='{name}', version='1.0')")

def script(line):
    return {"INFO/entry_points.txt": f"[console_scripts]\n{line}\n"}

outside = "../../../../../../outside.txt"
wheel("climbs", {outside: "evil"})
wheel("shortened", {}, "shortened.py,sha256=x,999\n")
wheel("settings", {"DATA/data/pyvenv.cfg": "home = /nowhere\n"})
wheel("preloads", {"DATA/data/env.launch/LD_PRELOAD.override": "/workspace/evil.so"})
wheel("replaces", script("python = replaces:main"))
wheel("names", script("../../names = names:main"))
wheel("injects", script("ok = injects:main;__import__('os').system('true')"))
sdist("leaves", outside)
sdist("links", "up", "/etc")
"#;

fn packages() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("python3")
        .args(["-c", MAKE])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    folder
}

#[test]
fn refused_by_name() {
    let packages = packages();
    let Some(context) = Context::with_uv(&[], packages.path()) else {
        return;
    };
    let mut explanations = String::new();
    for name in [
        "shortened",
        "settings",
        "preloads",
        "replaces",
        "names",
        "injects",
        "leaves",
        "links",
    ] {
        context.write("requirements.txt", format!("{name}\n"));
        let failed = context.build();
        let _ = writeln!(
            explanations,
            "--- {name}\n{}",
            context.stable(&failed.explanation())
        );
        assert!(
            !context
                .layers()
                .join("venv/env.launch/LD_PRELOAD.override")
                .exists()
                || name == "preloads"
        );
    }
    insta::assert_snapshot!("hostile", explanations);

    // Nothing of them is left for the next build.
    context.write("requirements.txt", "climbs\n");
    context.build().success();
    assert!(context.has("climbs") && !context.has("shortened") && !context.has("preloads"));
    assert!(
        !context
            .venv()
            .join("env.launch/LD_PRELOAD.override")
            .exists()
    );
    // uv leaves out files that lead out of the environment; the rest of the wheel is what it would be without them.
    let root = context.layers().parent().unwrap().to_path_buf();
    assert!(!find(&root, "outside.txt"), "in {}", root.display());
}

/// What uv leaves out, pip refuses.
#[test]
fn refused_by_pip() {
    let packages = packages();
    let context = Context::new(&[("requirements.txt", "climbs\n")]);
    context.set("BP_PYTHON_INSTALLER", "pip");
    context.set("PIP_NO_INDEX", "1");
    context.set("PIP_FIND_LINKS", packages.path().to_str().unwrap());
    let explanation = context.build().explanation();
    assert!(
        explanation.starts_with("[Error: The package climbs tries to write outside of its place]"),
        "{explanation}"
    );
}

fn find(folder: &Path, name: &str) -> bool {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            entry.file_name() == name
                || entry.file_type().is_ok_and(|kind| kind.is_dir()) && find(&entry.path(), name)
        })
}

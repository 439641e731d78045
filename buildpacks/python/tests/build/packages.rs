//! Small real wheels and source packages.

use std::path::Path;
use std::process::Command;

const MAKE: &str = r#"
import base64, hashlib, io, json, os, sys, tarfile, zipfile

def wheel(folder, name, version, requires, files):
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {r}\n" for r in requires)
    files = dict(files)
    files[f"{info}/METADATA"] = metadata
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    record = ""
    with zipfile.ZipFile(os.path.join(folder, f"{name}-{version}-py3-none-any.whl"), "w") as archive:
        for path, text in sorted(files.items()):
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text.encode())}\n"
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")

def sdist(folder, name, version, files):
    top = f"{name}-{version}"
    files = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", **files}
    with tarfile.open(os.path.join(folder, f"{top}.tar.gz"), "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{top}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))

kind, *arguments = json.loads(sys.argv[1])
{"wheel": wheel, "sdist": sdist}[kind](*arguments)
"#;

/// Makes a wheel with a module of its own name, and further files.
pub(crate) fn wheel(
    folder: &Path,
    name: &str,
    version: &str,
    requires: &[&str],
    more: &[(&str, &str)],
) {
    let module = format!("version = '{version}'\n\ndef main():\n    print('{name}', version)\n");
    let init = format!("{name}/__init__.py");
    let extra = format!("{name}/only_in_{}.py", version.replace('.', "_"));
    let mut files = vec![
        (init.as_str(), module.as_str()),
        (extra.as_str(), "x = 1\n"),
    ];
    files.extend_from_slice(more);
    let requires: Vec<String> = requires.iter().map(|text| json(text)).collect();
    make(&format!(
        "[\"wheel\", {}, {}, {}, [{}], {}]",
        json(folder.to_str().unwrap()),
        json(name),
        json(version),
        requires.join(", "),
        object(&files)
    ));
}

/// Makes a source package with a build backend of its own, so that building it takes no other package.
pub(crate) fn sdist(folder: &Path, name: &str, version: &str, backend: &str) {
    make(&format!(
        "[\"sdist\", {}, {}, {}, {}]",
        json(folder.to_str().unwrap()),
        json(name),
        json(version),
        object(&project(backend))
    ));
}

/// The files of a project whose build backend is the text given.
pub(crate) fn project(backend: &str) -> [(&str, &str); 2] {
    [
        (
            "pyproject.toml",
            "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
        ),
        ("backend.py", backend),
    ]
}

/// A build backend that makes a wheel with one module, `NAME.py`, from the file `source.py` beside it.
pub(crate) fn backend(name: &str) -> String {
    format!(
        r#"
import os, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "{name}-1.0-py3-none-any.whl"
    info = "{name}-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as wheel:
        wheel.writestr("{name}.py", open("source.py").read() if os.path.exists("source.py") else "")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "{name}.py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n")
    return name
build_editable = build_wheel
"#
    )
}

fn make(arguments: &str) {
    let status = Command::new("python3")
        .args(["-c", MAKE, arguments])
        .status()
        .unwrap();
    assert!(status.success());
}

fn object(files: &[(&str, &str)]) -> String {
    let members: Vec<String> = files
        .iter()
        .map(|(name, text)| format!("{}: {}", json(name), json(text)))
        .collect();
    format!("{{{}}}", members.join(", "))
}

fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

//! Weight that an app can do without, left out of the environment where the user asks for it.
//!
//! Each package's list of files says afterwards what is there, with the digests of what was changed. Files may be hard links
//! to those in an installer's cache: they are replaced, never written to.

use crate::checks::CheckError;
use crate::files::{self, read_if_text, without_detours};
use crate::layers::venv::Venv;
use crate::records::{self, Installed, first_field};
use crate::{fingerprint, log};
use libcnb::Env;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says what to leave out: `1` for all that no app misses, or a list.
pub(crate) const VARIABLE: &str = "BP_PYTHON_SLIM";

/// What can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// Folders called `tests` in packages.
    Tests,
    /// pip itself.
    Pip,
    /// Debug symbols of compiled modules.
    Symbols,
    /// Without it the app starts more slowly: not among what `1` means.
    Bytecode,
}

/// All that is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slim(BTreeSet<Weight>);

impl Slim {
    /// What the user asks for.
    pub(crate) fn of(env: &Env) -> Result<Self, CheckError> {
        let mut slim = Self::default();
        let value = env.get(VARIABLE).map(|value| value.to_string_lossy());
        for word in value
            .unwrap_or_default()
            .split([',', ' '])
            .filter(|word| !word.is_empty())
        {
            match word.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => {
                    slim.0.extend([Weight::Tests, Weight::Pip, Weight::Symbols]);
                }
                "0" | "false" | "no" | "off" => slim = Self::default(),
                "tests" => slim.add(Weight::Tests),
                "pip" => slim.add(Weight::Pip),
                "symbols" => slim.add(Weight::Symbols),
                "bytecode" => slim.add(Weight::Bytecode),
                _ => {
                    return Err(CheckError::UnknownWeight {
                        word: word.to_owned(),
                    });
                }
            }
        }
        Ok(slim)
    }

    pub(crate) fn is_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    fn add(&mut self, weight: Weight) {
        self.0.insert(weight);
    }

    fn has(&self, weight: Weight) -> bool {
        self.0.contains(&weight)
    }
}

/// What tells environments apart of which other things are left out; nothing where all is there.
pub(crate) fn note(env: &Env) -> String {
    match Slim::of(env) {
        Ok(slim) if slim.is_asked_for() => format!(" without {:?}", slim.0),
        _ => String::new(),
    }
}

/// The packages from which the last build left it out; a layer that was filled otherwise is not there any more.
pub(crate) fn done(env: &Env, site_packages: &Path) -> io::Result<Installed> {
    if note(env).is_empty() || !site_packages.exists() {
        return Ok(Installed::new());
    }
    records::installed(site_packages)
}

/// Leaves it out.
pub(crate) fn leave_out(slim: &Slim, venv: &Venv, env: &Env) -> io::Result<()> {
    let site_packages = &venv.site_packages;
    let strip = Strip::find(slim, env);
    let mut saved = 0;
    for info in venv.new_packages()? {
        let folder = site_packages.join(&info);
        if slim.has(Weight::Pip) && info.to_string_lossy().starts_with("pip-") {
            saved += remove_package(site_packages, &folder)?;
            continue;
        }
        saved += slim_package(slim, strip.as_ref(), site_packages, &folder)?;
    }
    if slim.has(Weight::Bytecode) {
        saved += remove_bytecode(site_packages)?;
    }
    let saved = format!("{}.{} MB", saved / 1_000_000, saved % 1_000_000 / 100_000);
    log::step(format!("Left out {saved} ({VARIABLE})."));
    Ok(())
}

/// The program that takes symbols out.
struct Strip(PathBuf);

impl Strip {
    /// None where nobody asks for it, or it is not there, which is said.
    fn find(slim: &Slim, env: &Env) -> Option<Self> {
        if !slim.has(Weight::Symbols) {
            return None;
        }
        let path = env.get("PATH").map(AsRef::as_ref);
        let program = crate::interpreter::find_program("strip", path);
        if program.is_none() {
            log::step("Debug symbols stay: the build image has no strip (Debian: binutils).");
        }
        program.map(Self)
    }

    /// A smaller copy of a compiled module in its place; what strip does not understand stays as it is. Returns the bytes saved.
    fn shrink(&self, file: &Path) -> io::Result<u64> {
        let before = fs::metadata(file)?.len();
        let staged = file.with_extension("stripped");
        let done = Command::new(&self.0)
            .args(["--strip-debug", "--preserve-dates", "-o"])
            .arg(&staged)
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        let after = fs::metadata(&staged).map_or(before, |found| found.len());
        if !done.success() || after == 0 || after >= before {
            files::remove_if_there(&staged)?;
            return Ok(0);
        }
        fs::rename(&staged, file)?;
        Ok(before - after)
    }
}

fn slim_package(
    slim: &Slim,
    strip: Option<&Strip>,
    site_packages: &Path,
    info: &Path,
) -> io::Result<u64> {
    let record = info.join("RECORD");
    // Names that are not UTF-8 are rare enough for their package to stay as it is.
    let Some(text) = read_if_text(&record)? else {
        return Ok(0);
    };
    // strip can break what was patched.
    let is_patched = || {
        let mut names = text.lines().filter_map(first_field);
        names.any(|name| is_moved_in(&name))
    };
    let strip = strip.filter(|_| !is_patched());
    let (mut kept, mut saved, mut folders) = (String::new(), 0, BTreeSet::new());
    for line in text.split_inclusive('\n') {
        let Some(name) = first_field(line) else {
            kept.push_str(line);
            continue;
        };
        let path = without_detours(&site_packages.join(&name));
        // What lies elsewhere are programs and data.
        let is_inside = path.starts_with(site_packages) && path.is_file();
        if slim.has(Weight::Tests) && is_inside && is_test(Path::new(&name)) {
            saved += fs::metadata(&path)?.len();
            saved += remove_bytecode_of(&path)?;
            fs::remove_file(&path)?;
            folders.extend(path.parent().map(Path::to_path_buf));
            folders.extend(path.parent().map(|parent| parent.join("__pycache__")));
            continue;
        }
        let shrunk = match strip {
            Some(strip) if is_inside && is_compiled(&name) => strip.shrink(&path)?,
            _ => 0,
        };
        if shrunk == 0 {
            kept.push_str(line);
            continue;
        }
        saved += shrunk;
        let content = fs::read(&path)?;
        let quoted = line.starts_with('"');
        let quote = if quoted { "\"" } else { "" };
        let name = if quoted {
            name.replace('"', "\"\"")
        } else {
            name
        };
        // Writing into a String can't fail.
        let _ = writeln!(
            kept,
            "{quote}{name}{quote},sha256={},{}",
            fingerprint::base64_url(&Sha256::digest(&content)),
            content.len()
        );
    }
    if kept != text {
        let staged = info.join("RECORD.new");
        fs::write(&staged, kept)?;
        fs::rename(&staged, &record)?;
    }
    files::remove_empty(site_packages, &folders)?;
    Ok(saved)
}

/// Whether this is a library of the system's that was moved into the wheel, and the wheel's modules were patched to find
/// it: `numpy.libs/libx.so`, or with a part of its digest in its name (auditwheel), `torch/lib/libgomp-a34b3233.so.1`.
fn is_moved_in(name: &str) -> bool {
    const DIGITS: usize = 8;
    // A file at the top is in no folder that could be one of libraries.
    let (top, _) = name.split_once('/').unwrap_or_default();
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    let digest = last
        .split_once(".so")
        .and_then(|(stem, _)| stem.rsplit_once('-'))
        .map_or("", |(_, digest)| digest);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    Path::new(top).extension().is_some_and(|end| end == "libs")
        || digest.len() == DIGITS && digest.bytes().all(is_digit)
}

/// `numpy/linalg/tests/test_linalg.py`; what other packages import from such folders is none of a package's promises.
fn is_test(name: &Path) -> bool {
    name.parent()
        .is_some_and(|parent| parent.components().any(|part| part.as_os_str() == "tests"))
}

/// `x.so` and `libx.so.1`, not `x.solver`.
fn is_compiled(name: &str) -> bool {
    name.rsplit('/').next().is_some_and(|name| {
        name.split_once(".so").is_some_and(|(_, rest)| {
            rest.chars()
                .all(|character| character == '.' || character.is_ascii_digit())
        })
    })
}

/// All files of a package with its list.
fn remove_package(site_packages: &Path, info: &Path) -> io::Result<u64> {
    let (mut saved, mut folders) = (0, BTreeSet::new());
    let Some(text) = read_if_text(&info.join("RECORD"))? else {
        return Ok(0);
    };
    for name in text.lines().filter_map(first_field) {
        let path = without_detours(&site_packages.join(name));
        let root = site_packages.ancestors().nth(3).unwrap_or(site_packages);
        if let Ok(metadata) = fs::symlink_metadata(&path)
            && path.starts_with(root)
            && !metadata.is_dir()
        {
            saved += metadata.len() + remove_bytecode_of(&path)?;
            fs::remove_file(&path)?;
            folders.extend(path.parent().map(Path::to_path_buf));
            folders.extend(path.parent().map(|parent| parent.join("__pycache__")));
        }
    }
    match fs::remove_dir_all(info) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    files::remove_empty(site_packages, &folders)?;
    Ok(saved)
}

/// The bytecode of one module, of every Python.
fn remove_bytecode_of(module: &Path) -> io::Result<u64> {
    let (Some(folder), Some(stem)) = (module.parent(), module.file_stem()) else {
        return Ok(0);
    };
    if module.extension().is_none_or(|extension| extension != "py") {
        return Ok(0);
    }
    let start = format!("{}.", stem.to_string_lossy());
    let mut saved = 0;
    let entries = match fs::read_dir(folder.join("__pycache__")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            saved += entry.metadata()?.len();
            fs::remove_file(entry.path())?;
        }
    }
    Ok(saved)
}

fn remove_bytecode(folder: &Path) -> io::Result<u64> {
    let mut saved = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if entry.file_name() == "__pycache__" {
            for file in fs::read_dir(entry.path())? {
                saved += file?.metadata()?.len();
            }
            fs::remove_dir_all(entry.path())?;
        } else {
            saved += remove_bytecode(&entry.path())?;
        }
    }
    Ok(saved)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let asked = |value: &str| {
            let mut env = Env::new();
            env.insert(VARIABLE, value);
            Slim::of(&env)
        };
        let usual = Slim(BTreeSet::from([
            Weight::Tests,
            Weight::Pip,
            Weight::Symbols,
        ]));
        assert!(asked("1").is_ok_and(|slim| slim == usual));
        assert!(asked("tests, pip,symbols").is_ok_and(|slim| slim == usual));
        assert!(
            asked("yes,bytecode")
                .is_ok_and(|slim| slim.has(Weight::Bytecode) && slim.has(Weight::Tests))
        );
        assert!(asked("0").is_ok_and(|slim| !slim.is_asked_for()));
        assert!(asked("").is_ok_and(|slim| !slim.is_asked_for()));
        assert!(matches!(
            asked("docs"),
            Err(CheckError::UnknownWeight { word }) if word == "docs"
        ));
    }

    #[test]
    fn libraries_that_were_moved_in() {
        for (name, expected) in [
            ("numpy.libs/libgfortran.so.5", true),
            ("torch/lib/libgomp-a34b3233.so.1", true),
            ("libx-0123abcd.so", true),
            ("torch/lib/libtorch.so", false),
            ("a/_x.cpython-313-x86_64-linux-gnu.so", false),
            ("a/lib-A34B3233.so", false),
            ("a/x-a34b3233.py", false),
        ] {
            assert_eq!(is_moved_in(name), expected, "{name}");
        }
    }

    /// What cannot be read is no reason to lose what says whose files are there.
    #[test]
    fn a_package_whose_list_cannot_be_read_stays() {
        let site = tempfile::tempdir().unwrap();
        let info = site.path().join("pip-1.dist-info");
        fs::create_dir(&info).unwrap();
        fs::write(info.join("RECORD"), b"caf\xe9.py,,\n").unwrap();
        assert_eq!(remove_package(site.path(), &info).unwrap(), 0);
        fs::remove_file(info.join("RECORD")).unwrap();
        fs::create_dir(info.join("RECORD")).unwrap();
        remove_package(site.path(), &info).unwrap_err();
        assert!(info.is_dir());
    }

    #[test]
    fn names() {
        assert!(is_test(Path::new("numpy/linalg/tests/x.py")));
        assert!(!is_test(Path::new("django/test/client.py")));
        assert!(!is_test(Path::new("tests.py")));
        for (name, expected) in [
            ("a/_x.cpython-313-x86_64-linux-gnu.so", true),
            ("a.libs/libx-1a2b.so.1.2", true),
            ("a/x.solver.py", false),
            ("a/x.py", false),
        ] {
            assert_eq!(is_compiled(name), expected, "{name}");
        }
    }
}

//! What the packages in a virtual environment say about themselves: their `RECORD` files
//! ("Recording installed projects", the packaging specification).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Identifies a `RECORD` without reading it: device, inode, size, and the time of its last change.
type Identity = (u64, u64, u64, i64, i64);

/// The installed packages (their `.dist-info` names) with the identities of their records.
pub(crate) type Installed = BTreeMap<OsString, Identity>;

/// The packages that are installed.
pub(crate) fn installed(site_packages: &Path) -> io::Result<Installed> {
    let mut installed = Installed::new();
    for entry in std::fs::read_dir(site_packages)? {
        let entry = entry?;
        let is_package = Path::new(&entry.file_name())
            .extension()
            .is_some_and(|extension| extension == "dist-info");
        if !is_package {
            continue;
        }
        match std::fs::metadata(entry.path().join("RECORD")) {
            Ok(metadata) => {
                let identity = (
                    metadata.dev(),
                    metadata.ino(),
                    metadata.size(),
                    metadata.ctime(),
                    metadata.ctime_nsec(),
                );
                installed.insert(entry.file_name(), identity);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(installed)
}

/// The files of one package, as normalised absolute paths.
pub(crate) fn files(site_packages: &Path, package: &OsString) -> io::Result<Vec<PathBuf>> {
    let record = std::fs::read(site_packages.join(package).join("RECORD"))?;
    Ok(String::from_utf8_lossy(&record)
        .lines()
        .filter_map(first_field)
        .map(|path| normal(&site_packages.join(path)))
        .collect())
}

/// Whether every file that the packages claim is there and claimed once. Where two packages share a
/// file, removing or replacing one of them harms the other, and only a fresh install is right.
pub(crate) fn consistent(site_packages: &Path, installed: &Installed) -> io::Result<bool> {
    let mut claimed = BTreeSet::new();
    for package in installed.keys() {
        for file in files(site_packages, package)? {
            // Bytecode is ours, whoever claims it.
            if file.extension().is_some_and(|extension| extension == "pyc") {
                continue;
            }
            if std::fs::symlink_metadata(&file).is_err() || !claimed.insert(file) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Removes `uv_cache.json`, which uv writes for packages from folders and URLs: it holds times, so it
/// would make equal environments differ.
pub(crate) fn drop_cache_note(site_packages: &Path, package: &OsString) -> io::Result<()> {
    const NOTE: &str = "uv_cache.json";
    let info = site_packages.join(package);
    match std::fs::remove_file(info.join(NOTE)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let record = info.join("RECORD");
    let noted = format!("{}/{NOTE}", package.to_string_lossy());
    let kept: String = std::fs::read_to_string(&record)?
        .split_inclusive('\n')
        .filter(|line| first_field(line).as_deref() != Some(&noted))
        .collect();
    // The file may be linked to the one in uv's cache: replaced, not written.
    let staged = info.join("RECORD.new");
    std::fs::write(&staged, kept)?;
    std::fs::rename(&staged, &record)
}

/// The first field of a line of comma-separated values.
fn first_field(line: &str) -> Option<String> {
    let Some(quoted) = line.strip_prefix('"') else {
        let field = line.split(',').next()?.trim();
        return (!field.is_empty()).then(|| field.to_owned());
    };
    let mut field = String::new();
    let mut characters = quoted.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => return Some(field),
            other => field.push(other),
        }
    }
    None
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn fields_with_quotes() {
        assert_eq!(first_field("a/b.py,sha256=x,1").as_deref(), Some("a/b.py"));
        assert_eq!(first_field("\"a,\"\"b.py\",,").as_deref(), Some("a,\"b.py"));
        assert_eq!(first_field(""), None);
    }

    fn package(site: &Path, name: &str, files: &[&str]) {
        let info = site.join(format!("{name}-1.dist-info"));
        fs::create_dir_all(&info).unwrap();
        let mut record = format!("{name}-1.dist-info/RECORD,,\n");
        for file in files {
            fs::write(site.join(file), "").unwrap();
            record.push_str(file);
            record.push_str(",,\n");
        }
        fs::write(info.join("RECORD"), record).unwrap();
    }

    #[test]
    fn shared_and_missing_files_are_found() {
        let site = tempfile::tempdir().unwrap();
        let is_consistent = || consistent(site.path(), &installed(site.path()).unwrap()).unwrap();
        package(site.path(), "a", &["a.py"]);
        package(site.path(), "b", &["b.py"]);
        assert!(is_consistent());
        fs::remove_file(site.path().join("b.py")).unwrap();
        assert!(!is_consistent());
        package(site.path(), "b", &["a.py"]);
        assert!(!is_consistent());
    }

    #[test]
    fn a_replaced_record_has_another_identity() {
        let site = tempfile::tempdir().unwrap();
        package(site.path(), "a", &["a.py"]);
        let before = installed(site.path()).unwrap();
        assert_eq!(before, installed(site.path()).unwrap());
        let record = site.path().join("a-1.dist-info/RECORD");
        fs::copy(&record, site.path().join("new")).unwrap();
        fs::rename(site.path().join("new"), &record).unwrap();
        assert_ne!(before, installed(site.path()).unwrap());
    }
}

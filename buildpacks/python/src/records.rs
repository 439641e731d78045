//! What the packages in a virtual environment say about themselves: their `RECORD` files
//! ("Recording installed projects", the packaging specification).

mod intruders;

use crate::files::without_detours;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use intruders::{Intruder, Place};

/// A record that says something else of a file than what the file is.
#[derive(Debug, thiserror::Error)]
#[error("{package} lists {file} with {listed} bytes; it has {found}")]
pub(crate) struct Lie {
    /// The name of its `.dist-info` folder.
    pub(crate) package: String,
    file: String,
    listed: u64,
    found: u64,
}

/// The records can't be believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("could not read which packages are installed")]
    Read(#[source] io::Error),
    #[error("a package is not what it says")]
    Lie(#[source] Lie),
}

/// An installed package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Tells its `RECORD` from any other: device, inode, size, and the time of its last change.
    identity: (u64, u64, u64, i64, i64),
    /// Its files, relative to `site-packages` and without detours.
    pub(crate) files: Vec<String>,
}

/// The installed packages by the names of their `.dist-info` folders.
pub(crate) type Installed = BTreeMap<OsString, Package>;

/// The names of the `.dist-info` folders, sorted.
pub(crate) fn infos(site_packages: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(site_packages)? {
        let name = entry?.file_name();
        if Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == "dist-info")
        {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Reads which packages are installed. One that claims files which are none of a package's is an error whose inner error is
/// an [`Intruder`].
pub(crate) fn installed(site_packages: &Path) -> io::Result<Installed> {
    let mut installed = Installed::new();
    for name in infos(site_packages)? {
        let record = site_packages.join(&name).join("RECORD");
        if let Some(package) = if_there(read_record(&record))? {
            if let Some(intruder) = intruders::first(site_packages, &name, &package.files) {
                return Err(io::Error::other(intruder));
            }
            installed.insert(name, package);
        }
    }
    Ok(installed)
}

/// Compares the sizes of files with what the records say that were written since a moment: what two packages claim can be
/// only one's, and what is not there was removed.
pub(crate) fn check(site_packages: &Path, since: SystemTime) -> Result<(), RecordError> {
    match first_lie(site_packages, since).map_err(RecordError::Read)? {
        Some(lie) => Err(RecordError::Lie(lie)),
        None => Ok(()),
    }
}

fn first_lie(site_packages: &Path, since: SystemTime) -> io::Result<Option<Lie>> {
    let since = since
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0));
    let infos = infos(site_packages)?;
    let mut wrong = Vec::new();
    for name in &infos {
        let path = site_packages.join(name).join("RECORD");
        let Some(metadata) = if_there(std::fs::metadata(&path))? else {
            continue;
        };
        if metadata.ctime() < since {
            continue;
        }
        for line in String::from_utf8_lossy(&std::fs::read(&path)?).lines() {
            let Some(file) = first_field(line) else {
                continue;
            };
            let place = without_detours(&site_packages.join(&file));
            let listed: Option<u64> = line
                .rsplit_once(',')
                .and_then(|(_, size)| size.trim().parse().ok());
            if let Some(listed) = listed
                && let Ok(found) = std::fs::symlink_metadata(&place)
                && found.len() != listed
            {
                wrong.push((
                    place,
                    Lie {
                        package: name.to_string_lossy().into_owned(),
                        file,
                        listed,
                        found: found.len(),
                    },
                ));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(None);
    }
    // How many packages claim each place.
    let mut claims: HashMap<&PathBuf, usize> = wrong.iter().map(|(place, _)| (place, 0)).collect();
    for name in &infos {
        let path = site_packages.join(name).join("RECORD");
        let Some(record) = if_there(std::fs::read(path))? else {
            continue;
        };
        let places: HashSet<PathBuf> = String::from_utf8_lossy(&record)
            .lines()
            .filter_map(first_field)
            .map(|file| without_detours(&site_packages.join(file)))
            .collect();
        for place in &places {
            if let Some(count) = claims.get_mut(place) {
                *count += 1;
            }
        }
    }
    let unshared: HashSet<PathBuf> = claims
        .into_iter()
        .filter(|(_, count)| *count == 1)
        .map(|(place, _)| place.clone())
        .collect();
    Ok(wrong
        .into_iter()
        .find_map(|(place, lie)| unshared.contains(&place).then_some(lie)))
}

/// Not every package has a record.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Adds every record: they name all installed files with their digests.
pub(crate) fn add(hash: &mut Sha256, site_packages: &Path) -> io::Result<()> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(site_packages)? {
        names.insert(entry?.file_name());
    }
    for name in names {
        hash.update(name.as_encoded_bytes());
        hash.update("\0");
        match std::fs::read(site_packages.join(&name).join("RECORD")) {
            Ok(record) => {
                hash.update((record.len() as u64).to_le_bytes());
                hash.update(record);
            }
            // Most of the names are packages' folders and modules.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A file that a `RECORD` names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to `site-packages`, without detours.
    pub(crate) path: String,
    /// Its SHA-256 as the record writes it (URL-safe base64 without padding), if it does.
    pub(crate) sha256: Option<String>,
}

/// What a `RECORD` says.
pub(crate) fn entries(record: &[u8]) -> Vec<Entry> {
    String::from_utf8_lossy(record)
        .lines()
        .filter_map(|line| {
            let path = plain(first_field(line)?);
            let hash = line.rsplit(',').nth(1).map(str::trim);
            let sha256 = hash.and_then(|hash| hash.strip_prefix("sha256="));
            Some(Entry {
                path,
                sha256: sha256.map(str::to_owned),
            })
        })
        .collect()
}

fn read_record(record: &Path) -> io::Result<Package> {
    let text = std::fs::read(record)?;
    let metadata = std::fs::metadata(record)?;
    Ok(Package {
        identity: (
            metadata.dev(),
            metadata.ino(),
            metadata.size(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ),
        files: String::from_utf8_lossy(&text)
            .lines()
            .filter_map(first_field)
            .map(plain)
            .collect(),
    })
}

/// Most paths have no detours; the few with them are made plain.
fn plain(path: String) -> String {
    if !path.contains("./") {
        return path;
    }
    let plain = without_detours(Path::new(&path));
    plain.to_string_lossy().into_owned()
}

/// Whether two packages claim the same file. Removing or replacing one of them then harms the other,
/// and which one's file is there depends on the order: only a fresh install is right.
pub(crate) fn share_files(installed: &Installed) -> bool {
    let mut claims = HashMap::new();
    installed.iter().any(|(name, package)| {
        let mut files = package.files.iter();
        files.any(|file| {
            claims
                .insert(file, name)
                .is_some_and(|before| before != name)
        })
    })
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

/// The name of the file that a line is about: the first field of a line of comma-separated values.
pub(crate) fn first_field(line: &str) -> Option<String> {
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

    #[test]
    fn digests_of_files() {
        let entry = |path: &str, sha256: Option<&str>| Entry {
            path: path.to_owned(),
            sha256: sha256.map(str::to_owned),
        };
        assert_eq!(
            entries(b"\"a,b.py\",sha256=x_-1,12\na/RECORD,,\na/../b.py,md5=1,2\n"),
            [
                entry("a,b.py", Some("x_-1")),
                entry("a/RECORD", None),
                entry("b.py", None)
            ]
        );
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
    fn shared_files_are_found() {
        let site = tempfile::tempdir().unwrap();
        let shares = || share_files(&installed(site.path()).unwrap());
        package(site.path(), "a", &["a.py"]);
        package(site.path(), "b", &["b.py"]);
        assert!(!shares());
        package(site.path(), "b", &["b.py", "./b.py"]);
        assert!(!shares(), "one package lists it twice");
        package(site.path(), "b", &["b.py", "./a.py"]);
        assert!(shares());
    }

    #[test]
    fn a_record_that_lies_is_found_where_it_is_new() {
        let site = tempfile::tempdir().unwrap();
        let start = SystemTime::now() - std::time::Duration::from_secs(5);
        let later = SystemTime::now() + std::time::Duration::from_mins(1);
        let info = |name: &str, record: &str| {
            let info = site.path().join(format!("{name}-1.dist-info"));
            fs::create_dir_all(&info).unwrap();
            fs::write(info.join("RECORD"), record).unwrap();
        };
        let lies = |since| first_lie(site.path(), since).unwrap().is_some();
        fs::write(site.path().join("a.py"), "1234").unwrap();
        info(
            "a",
            "a.py,sha256=x,4\ngone.py,sha256=x,9\na-1.dist-info/RECORD,,\n",
        );
        assert!(!lies(start));
        info("a", "a.py,sha256=x,5\n");
        assert!(lies(start) && !lies(later));
        info("a", "a.py,sha256=x,5\n./a.py,sha256=x,5\n");
        assert!(lies(start), "one package says it twice");
        info("b", "\"./a.py\",sha256=x,4\n");
        assert!(!lies(start), "two packages claim it");
    }

    #[test]
    fn another_record_makes_another_digest() {
        let site = tempfile::tempdir().unwrap();
        let digest = || {
            let mut hash = Sha256::new();
            add(&mut hash, site.path()).unwrap();
            hash.finalize()
        };
        package(site.path(), "a", &["a.py"]);
        let first = digest();
        package(site.path(), "b", &["b.py"]);
        let second = digest();
        assert_ne!(first, second);
        package(site.path(), "b", &["c.py"]);
        fs::remove_file(site.path().join("c.py")).unwrap();
        assert_ne!(second, digest());
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

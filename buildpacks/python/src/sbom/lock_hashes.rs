//! Digests of the archives that packages were installed from, as the lock states them: where it states the digest of
//! exactly one archive that this package can have come from.

use super::SbomError;
use super::dist_info::{Distribution, Origin, is_sha256};
use crate::project::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Archives by the package's comparable name and version.
type Locked = BTreeMap<(String, String), Vec<Archive>>;

struct Archive {
    /// The compatibility tags of a wheel; empty where only the digest is known.
    tags: BTreeSet<String>,
    sha256: String,
}

/// Adds what `source` in the app's folder says of the installed packages.
pub(super) fn add(
    distributions: &mut [Distribution],
    app_dir: &Path,
    source: &Source,
) -> Result<(), SbomError> {
    if matches!(
        source,
        Source::Pyproject { .. } | Source::SetupPy | Source::Script(_)
    ) {
        return Ok(());
    }
    let path = app_dir.join(source.file());
    let text = match std::fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(SbomError::Lock { path, source }),
    };
    // The installer read the file a moment ago; what only this reading does not understand states no digests.
    let locked = match source {
        Source::Requirements => of_requirements(&text),
        Source::PipfileLock => of_pipfile_lock(&text),
        _ => of_toml(&text),
    };
    for distribution in distributions {
        let key = (
            distribution.comparable_name().replace('.', "-"),
            distribution.version.clone(),
        );
        if distribution.sha256.is_none()
            && distribution.origin == Origin::Index
            && let Some(archives) = locked.get(&key)
        {
            distribution.sha256 = only_one(archives, &distribution.tags);
        }
    }
    Ok(())
}

fn only_one(archives: &[Archive], tags: &[String]) -> Option<String> {
    if let [archive] = archives
        && archive.tags.is_empty()
    {
        return Some(archive.sha256.clone());
    }
    let tags: BTreeSet<String> = tags.iter().cloned().collect();
    let mut fitting = archives
        .iter()
        .filter(|archive| !tags.is_empty() && archive.tags == tags);
    match (fitting.next(), fitting.next()) {
        (Some(archive), None) => Some(archive.sha256.clone()),
        _ => None,
    }
}

/// `name==version --hash=sha256:…`, joined over lines by `\`.
fn of_requirements(text: &str) -> Locked {
    let mut locked = Locked::new();
    for line in text.replace("\\\n", " ").replace("\\\r\n", " ").lines() {
        let line = line.split(" #").next().unwrap_or_default();
        let Some((name, rest)) = line.split_once("==") else {
            continue;
        };
        let version = rest.split([' ', ';', ',']).next().unwrap_or_default();
        let name = name.split('[').next().unwrap_or_default();
        for word in rest.split_whitespace() {
            if let Some(sha256) = word.strip_prefix("--hash=sha256:") {
                put(&mut locked, name, version, BTreeSet::new(), sha256);
            }
        }
    }
    locked
}

fn of_pipfile_lock(text: &str) -> Locked {
    #[derive(serde::Deserialize)]
    struct Lock {
        #[serde(default)]
        default: BTreeMap<String, Pin>,
    }
    #[derive(serde::Deserialize)]
    struct Pin {
        version: Option<String>,
        #[serde(default)]
        hashes: Vec<String>,
    }
    let mut locked = Locked::new();
    let pins =
        serde_json::from_str::<Lock>(text).map_or_else(|_| BTreeMap::new(), |lock| lock.default);
    for (name, pin) in pins {
        let version = pin.version.unwrap_or_default();
        for hash in &pin.hashes {
            if let Some(sha256) = hash.strip_prefix("sha256:") {
                let version = version.trim_start_matches('=');
                put(&mut locked, &name, version, BTreeSet::new(), sha256);
            }
        }
    }
    locked
}

/// uv.lock, poetry.lock, pdm.lock and pylock.toml: tables of packages with tables of files.
fn of_toml(text: &str) -> Locked {
    let mut locked = Locked::new();
    let table: toml::Table = toml::from_str(text).unwrap_or_default();
    let packages = ["package", "packages"]
        .into_iter()
        .filter_map(|key| table.get(key)?.as_array())
        .flatten();
    for package in packages {
        let field = |name: &str| package.get(name).and_then(toml::Value::as_str);
        let (Some(name), Some(version)) = (field("name"), field("version")) else {
            continue;
        };
        let files = ["files", "wheels"]
            .into_iter()
            .filter_map(|key| package.get(key)?.as_array())
            .flatten();
        for file in files.chain(package.get("sdist")) {
            let field = |name: &str| file.get(name).and_then(toml::Value::as_str);
            let sha256 = field("hash")
                .and_then(|hash| hash.strip_prefix("sha256:"))
                .or_else(|| file.get("hashes")?.get("sha256")?.as_str());
            let address = ["file", "name", "filename", "url", "path"]
                .into_iter()
                .find_map(field)
                .unwrap_or_default();
            let file_name = address.rsplit('/').next().unwrap_or_default();
            if let Some(sha256) = sha256 {
                put(&mut locked, name, version, wheel_tags(file_name), sha256);
            }
        }
    }
    locked
}

fn put(locked: &mut Locked, name: &str, version: &str, tags: BTreeSet<String>, sha256: &str) {
    if !is_sha256(sha256) {
        return;
    }
    let name = name.trim().to_ascii_lowercase().replace(['_', '.'], "-");
    let archives = locked.entry((name, version.trim().to_owned())).or_default();
    if archives.iter().all(|archive| archive.sha256 != sha256) {
        archives.push(Archive {
            tags,
            sha256: sha256.to_owned(),
        });
    }
}

/// The tags that a wheel's name stands for, written out (PEP 425, "Compressed Tag Sets"). A source archive has one
/// that no wheel has.
fn wheel_tags(file_name: &str) -> BTreeSet<String> {
    let Some(stem) = file_name.strip_suffix(".whl") else {
        return BTreeSet::from(["source".to_owned()]);
    };
    let mut parts = stem.rsplit('-');
    let mut part = || -> Vec<String> {
        let part = parts.next().unwrap_or_default();
        part.split('.').map(str::to_owned).collect()
    };
    let (platforms, abis, pythons) = (part(), part(), part());
    let mut tags = BTreeSet::new();
    for python in &pythons {
        for abi in &abis {
            for platform in &platforms {
                tags.insert(format!("{python}-{abi}-{platform}"));
            }
        }
    }
    tags
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn installed(tags: &[&str]) -> Distribution {
        Distribution {
            name: "My_Pkg".to_owned(),
            version: "1.2".to_owned(),
            licences: Vec::new(),
            sha256: None,
            origin: Origin::Index,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }

    fn hash_of(source: &Source, text: &str, tags: &[&str]) -> Option<String> {
        let app = tempfile::tempdir().unwrap();
        std::fs::write(app.path().join(source.file()), text).unwrap();
        let mut distributions = [installed(tags)];
        add(&mut distributions, app.path(), source).unwrap();
        distributions[0].sha256.clone()
    }

    #[test]
    fn only_a_digest_without_doubt_counts() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let one = format!("my-pkg[x]==1.2 ; python_version > '3' \\\n    --hash=sha256:{a}\n");
        let two = format!("{} \\\n --hash=sha256:{b}\n", one.trim_end());
        let other = one.replace("1.2", "1.3");
        for (text, expected) in [
            (one.as_str(), Some(a.clone())),
            (&two, None),
            (&other, None),
            ("\0", None),
        ] {
            assert_eq!(
                hash_of(&Source::Requirements, text, &["py3-none-any"]),
                expected
            );
        }
        let pipfile =
            format!(r#"{{"default":{{"my-pkg":{{"version":"==1.2","hashes":["sha256:{a}"]}}}}}}"#);
        assert_eq!(hash_of(&Source::PipfileLock, &pipfile, &[]), Some(a));
        assert_eq!(hash_of(&Source::PipfileLock, "{", &[]), None);
    }

    #[test]
    fn of_several_archives_the_one_with_the_wheels_tags() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let uv = format!(
            r#"
            [[package]]
            name = "my-pkg"
            version = "1.2"
            sdist = {{ url = "https://x/my_pkg-1.2.tar.gz", hash = "sha256:{c}" }}
            wheels = [
                {{ url = "https://x/my_pkg-1.2-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", hash = "sha256:{a}" }},
                {{ url = "https://x/my_pkg-1.2-py2.py3-none-any.whl", hash = "sha256:{b}" }},
            ]"#
        );
        let native = [
            "cp313-cp313-manylinux2014_x86_64",
            "cp313-cp313-manylinux_2_17_x86_64",
        ];
        let pure = ["py2-none-any", "py3-none-any"];
        assert_eq!(hash_of(&Source::UvLock, &uv, &native), Some(a.clone()));
        assert_eq!(hash_of(&Source::UvLock, &uv, &pure), Some(b));
        // Built here, from the source archive or from elsewhere.
        assert_eq!(
            hash_of(&Source::UvLock, &uv, &["cp313-cp313-linux_x86_64"]),
            None
        );
        let poetry = format!(
            "[[package]]\nname = \"my-pkg\"\nversion = \"1.2\"\nfiles = [{{file = \"my_pkg-1.2-py3-none-any.whl\", hash = \"sha256:{a}\"}}]\n"
        );
        assert_eq!(
            hash_of(&Source::PoetryLock, &poetry, &["py3-none-any"]),
            Some(a.clone())
        );
        let pylock = format!(
            "[[packages]]\nname = \"my-pkg\"\nversion = \"1.2\"\nwheels = [{{name = \"my_pkg-1.2-py3-none-any.whl\", hashes = {{sha256 = \"{a}\"}}}}]\n"
        );
        assert_eq!(
            hash_of(&Source::Pylock, &pylock, &["py3-none-any"]),
            Some(a)
        );
    }
}

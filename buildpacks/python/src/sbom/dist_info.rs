//! What an installed package says about itself ("Recording installed projects" and "Core metadata", the packaging
//! specifications).

use super::licence::{self, Licence};
use crate::records;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No package's metadata is longer; of a longer file the beginning counts, which holds the headers.
const LONGEST_FILE: u64 = 4 << 20;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) licences: Vec<Licence>,
    /// The digest of the archive that it was installed from, in hexadecimal, where it is known.
    pub(super) sha256: Option<String>,
    pub(super) origin: Origin,
    /// The compatibility tags of the wheel.
    pub(super) tags: Vec<String>,
}

/// Where a package comes from (PEP 610).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// An index, or a folder of archives.
    Index,
    /// A folder: what is in no index.
    Folder,
    /// A commit; the value is a `vcs_url` of the package URL specification.
    Repository(String),
    /// An archive's address.
    Archive(String),
}

impl Distribution {
    /// A program of which no more is known.
    pub(super) fn tool(name: &str, version: &str) -> Self {
        Self {
            name: name.to_lowercase(),
            version: version.to_owned(),
            licences: Vec::new(),
            sha256: None,
            origin: Origin::Index,
            tags: Vec::new(),
        }
    }

    /// The name as indexes compare them, but for dots, which package URLs keep.
    pub(super) fn comparable_name(&self) -> String {
        self.name.to_ascii_lowercase().replace('_', "-")
    }

    /// The package URL (purl specification, type `pypi`); none for what is in no index.
    pub(super) fn purl(&self) -> Option<String> {
        let plain = format!(
            "pkg:pypi/{}@{}",
            encoded(&self.comparable_name()),
            encoded(&self.version)
        );
        match &self.origin {
            Origin::Index => Some(plain),
            Origin::Folder => None,
            Origin::Repository(url) => Some(format!("{plain}?vcs_url={}", encoded(url))),
            Origin::Archive(url) => Some(format!("{plain}?download_url={}", encoded(url))),
        }
    }
}

/// All packages in an environment, by name.
pub(super) fn read_all(site_packages: &Path) -> io::Result<Vec<Distribution>> {
    let mut found = Vec::new();
    for name in records::infos(site_packages)? {
        found.extend(read(&site_packages.join(&name), &name)?);
    }
    found.sort_by_key(|one| (one.comparable_name(), one.version.clone()));
    Ok(found)
}

/// One package; `None` for a folder without metadata.
fn read(folder: &Path, name: &OsString) -> io::Result<Option<Distribution>> {
    let Some(metadata) = text(&folder.join("METADATA"))? else {
        return Ok(None);
    };
    let headers = Headers::parse(&metadata);
    let stem = name.to_string_lossy();
    let stem = stem.trim_end_matches(".dist-info");
    let (of_name, of_version) = stem.rsplit_once('-').unwrap_or((stem, ""));
    let wheel = text(&folder.join("WHEEL"))?.unwrap_or_default();
    let mut tags = Headers::parse(&wheel).all("tag");
    tags.sort();
    let mut distribution = Distribution {
        name: headers.first("name").unwrap_or(of_name).to_owned(),
        version: headers.first("version").unwrap_or(of_version).to_owned(),
        licences: licence::of(
            headers.first("license-expression"),
            &headers.all("classifier"),
            headers.first("license"),
        ),
        sha256: None,
        origin: Origin::Index,
        tags,
    };
    if let Some(text) = text(&folder.join("direct_url.json"))?
        // A note that cannot be read says nothing.
        && let Ok(direct) = serde_json::from_str::<DirectUrl>(&text)
    {
        direct.tell(&mut distribution);
    }
    Ok(Some(distribution))
}

fn text(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Headers in the form of e-mail, by lower-case name.
struct Headers<'a>(Vec<(String, &'a str)>);

impl<'a> Headers<'a> {
    /// Continuation lines are left out: those of the fields that matter here hold whole licence texts.
    fn parse(text: &'a str) -> Self {
        let lines = text.lines().take_while(|line| !line.trim().is_empty());
        let fields = lines.filter(|line| !line.starts_with([' ', '\t']));
        Self(
            fields
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
                .collect(),
        )
    }

    fn first(&self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(field, value)| field == name && !value.is_empty())
            .map(|(_, value)| *value)
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(field, _)| field == name)
            .map(|(_, value)| (*value).to_owned())
            .collect()
    }
}

/// `direct_url.json` ("Recording the Direct URL Origin of installed distributions").
#[derive(Deserialize)]
struct DirectUrl {
    url: String,
    vcs_info: Option<VcsInfo>,
    archive_info: Option<ArchiveInfo>,
    dir_info: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    hash: Option<String>,
}

impl DirectUrl {
    fn tell(self, distribution: &mut Distribution) {
        let url = without_credentials(&self.url);
        if let Some(VcsInfo { vcs, commit_id }) = self.vcs_info {
            distribution.origin = Origin::Repository(format!("{vcs}+{url}@{commit_id}"));
        } else if let Some(archive) = self.archive_info {
            let of_old = archive.hash.as_deref();
            let hash = archive
                .hashes
                .get("sha256")
                .map(String::as_str)
                .or_else(|| of_old?.strip_prefix("sha256="));
            distribution.sha256 = hash.filter(|hash| is_sha256(hash)).map(str::to_owned);
            distribution.origin = if url.starts_with("file:") {
                Origin::Folder
            } else {
                Origin::Archive(url)
            };
        } else if self.dir_info.is_some() {
            distribution.origin = Origin::Folder;
        }
    }
}

/// An address without user, password and query: each of them may be a secret.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// Whether this is a SHA-256 digest in lower-case hexadecimal.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Percent-encoded, but for what package URLs leave as it is.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:/@".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String can't fail.
            let _ = std::fmt::Write::write_fmt(&mut encoded, format_args!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;

    fn package(site: &Path, folder: &str, metadata: &str, direct: Option<&str>) {
        let info = site.join(folder);
        fs::create_dir_all(&info).unwrap();
        fs::write(info.join("METADATA"), metadata).unwrap();
        if let Some(direct) = direct {
            fs::write(info.join("direct_url.json"), direct).unwrap();
        }
    }

    #[test]
    fn package_urls_say_where_packages_come_from_and_no_secrets() {
        let site = tempfile::tempdir().unwrap();
        let hash = "a".repeat(64);
        for (folder, metadata, direct) in [
            ("B_c-1.0+local.dist-info", "Name: B_c\nVersion: 1.0+local\n\nName: no\n", None),
            ("own-1.dist-info", "Name: own\nVersion: 1\n", Some(r#"{"url":"file:///workspace","dir_info":{}}"#.to_owned())),
            (
                "repo-2.dist-info",
                "Name: repo\nVersion: 2\n",
                Some(r#"{"url":"https://me:secret@git.example/x.git","vcs_info":{"vcs":"git","commit_id":"abc"}}"#.to_owned()),
            ),
            (
                "wheel-3.dist-info",
                "Name: wheel\nVersion: 3\n",
                Some(format!(r#"{{"url":"https://files.example/wheel.whl?token=secret","archive_info":{{"hashes":{{"sha256":"{hash}"}}}}}}"#)),
            ),
            ("odd-4.dist-info", "", Some("{".to_owned())),
        ] {
            package(site.path(), folder, metadata, direct.as_deref());
        }
        fs::create_dir(site.path().join("empty-1.dist-info")).unwrap();
        let found = read_all(site.path()).unwrap();
        let purls: Vec<_> = found.iter().map(Distribution::purl).collect();
        let purls: Vec<_> = purls.iter().map(Option::as_deref).collect();
        assert_eq!(
            purls,
            [
                Some("pkg:pypi/b-c@1.0%2Blocal"),
                Some("pkg:pypi/odd@4"),
                None,
                Some("pkg:pypi/repo@2?vcs_url=git%2Bhttps://git.example/x.git@abc"),
                Some("pkg:pypi/wheel@3?download_url=https://files.example/wheel.whl"),
            ]
        );
        assert_eq!(found[4].sha256.as_deref(), Some(hash.as_str()));
        assert!(!format!("{found:?}").contains("secret"));
    }
}

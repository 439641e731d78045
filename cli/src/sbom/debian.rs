//! Debian packages of an image, as its dpkg database tells, with the licences of their copyright files.

use super::{Component, Kind, Licence, encoded};
use debian_stack::control::{Paragraph, paragraphs};
use oci_image::contents::Content;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

const STATUS: &str = "var/lib/dpkg/status";
/// One file for each package, as images have that are made without dpkg.
const STATUS_FOLDER: &str = "var/lib/dpkg/status.d/";
const DOC: &str = "usr/share/doc/";
const OS_RELEASE: [&str; 2] = ["etc/os-release", "usr/lib/os-release"];

/// Short names of licences (Debian's copyright format 1.0, "License specification") that mean the same as an
/// identifier of the SPDX list under another name.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("0bsd", "0BSD"),
    ("agpl-3", "AGPL-3.0-only"),
    ("agpl-3+", "AGPL-3.0-or-later"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic-2", "Artistic-2.0"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsl-1.0", "BSL-1.0"),
    ("cc-by-3.0", "CC-BY-3.0"),
    ("cc-by-4.0", "CC-BY-4.0"),
    ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("curl", "curl"),
    ("expat", "MIT"),
    ("gpl-1", "GPL-1.0-only"),
    ("gpl-1+", "GPL-1.0-or-later"),
    ("gpl-2", "GPL-2.0-only"),
    ("gpl-2+", "GPL-2.0-or-later"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-2.0+", "GPL-2.0-or-later"),
    ("gpl-3", "GPL-3.0-only"),
    ("gpl-3+", "GPL-3.0-or-later"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("gpl-3.0+", "GPL-3.0-or-later"),
    ("icu", "ICU"),
    ("isc", "ISC"),
    ("lgpl-2", "LGPL-2.0-only"),
    ("lgpl-2+", "LGPL-2.0-or-later"),
    ("lgpl-2.0", "LGPL-2.0-only"),
    ("lgpl-2.0+", "LGPL-2.0-or-later"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-2.1+", "LGPL-2.1-or-later"),
    ("lgpl-3", "LGPL-3.0-only"),
    ("lgpl-3+", "LGPL-3.0-or-later"),
    ("lgpl-3.0", "LGPL-3.0-only"),
    ("lgpl-3.0+", "LGPL-3.0-or-later"),
    ("mit-0", "MIT-0"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("ofl-1.1", "OFL-1.1"),
    ("openssl", "OpenSSL"),
    ("python-2.0", "Python-2.0"),
    ("unlicense", "Unlicense"),
    ("x11", "X11"),
    ("zlib", "Zlib"),
];

/// Whether a path is needed to tell which packages an image has.
pub(super) fn is_wanted(path: &str) -> bool {
    if let Some(rest) = path.strip_prefix(DOC) {
        // A package's folder may be a link to another's.
        return !rest.contains('/')
            || rest.ends_with("/copyright") && rest.matches('/').count() == 1;
    }
    path == STATUS || path.starts_with(STATUS_FOLDER) || OS_RELEASE.contains(&path)
}

/// The operating system, if it says who it is, and its packages.
pub(super) fn components(files: &BTreeMap<String, Content>) -> Vec<Component> {
    let release = OS_RELEASE
        .iter()
        .filter_map(|path| text(files, path))
        .find_map(|text| Release::parse(&text));
    let mut components: Vec<Component> = release.iter().map(Release::component).collect();
    let status: Vec<Cow<'_, str>> = files
        .range(STATUS.to_owned()..)
        .take_while(|(path, _)| path.starts_with(STATUS))
        .filter(|(path, _)| *path == STATUS || is_status_file(path))
        .filter_map(|(path, _)| text(files, path))
        .collect();
    let mut packages: Vec<Component> = status
        .iter()
        .flat_map(|text| paragraphs(text))
        .filter_map(|paragraph| package(paragraph, release.as_ref(), files))
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.purl).cmp(&(&b.name, &b.purl)));
    components.extend(packages);
    components
}

fn is_status_file(path: &str) -> bool {
    path.starts_with(STATUS_FOLDER) && !path.ends_with(".md5sums")
}

fn text<'a>(files: &'a BTreeMap<String, Content>, path: &str) -> Option<Cow<'a, str>> {
    match files.get(path)? {
        Content::File(bytes) => Some(String::from_utf8_lossy(bytes)),
        Content::Symlink(_) => None,
    }
}

fn package(
    paragraph: Paragraph<'_>,
    release: Option<&Release>,
    files: &BTreeMap<String, Content>,
) -> Option<Component> {
    let name = paragraph.get("Package").filter(|name| !name.is_empty())?;
    let version = paragraph.get("Version")?;
    // Files of single packages have no status.
    if let Some(status) = paragraph.get("Status")
        && !status.ends_with(" installed")
    {
        return None;
    }
    let distribution = release.map_or("debian", |release| release.id.as_str());
    let mut purl = format!(
        "pkg:deb/{}/{}@{}",
        encoded(distribution),
        encoded(name),
        encoded(version)
    );
    let mut qualifiers = Vec::new();
    if let Some(architecture) = paragraph.get("Architecture") {
        qualifiers.push(format!("arch={}", encoded(architecture)));
    }
    if let Some(Release { id, version, .. }) = release
        && let Some(version) = version
    {
        qualifiers.push(format!("distro={}", encoded(&format!("{id}-{version}"))));
    }
    // Debian's security tracker knows source packages.
    if let Some(source) = paragraph.get("Source") {
        let (source, version) = match source.split_once(' ') {
            Some((source, version)) => (source, Some(version.trim_matches(['(', ')']))),
            None => (source, None),
        };
        let upstream = match version {
            Some(version) => format!("{source}@{version}"),
            None => source.to_owned(),
        };
        qualifiers.push(format!("upstream={}", encoded(&upstream)));
    }
    if !qualifiers.is_empty() {
        purl = format!("{purl}?{}", qualifiers.join("&"));
    }
    Some(Component {
        kind: Kind::Library,
        name: name.to_owned(),
        version: Some(version.to_owned()),
        purl: Some(purl),
        cpe: None,
        licences: copyright(files, name).map_or_else(Vec::new, |text| licences(&text)),
        hashes: Vec::new(),
        layer: None,
    })
}

/// A package's copyright file; its folder may be a link to that of another package.
fn copyright<'a>(files: &'a BTreeMap<String, Content>, package: &str) -> Option<Cow<'a, str>> {
    let mut folder = package.to_owned();
    for _ in 0..4 {
        match files.get(&format!("{DOC}{folder}")) {
            Some(Content::Symlink(target)) => {
                let target = target.trim_end_matches('/');
                let last = target.rsplit('/').next().unwrap_or(target);
                last.clone_into(&mut folder);
            }
            _ => break,
        }
    }
    let path = format!("{DOC}{folder}/copyright");
    match files.get(&path)? {
        Content::File(_) => text(files, &path),
        Content::Symlink(target) => {
            let parts: Vec<&str> = target.rsplit('/').take(2).collect();
            let of_other = format!("{DOC}{}/copyright", parts.get(1)?);
            text(files, &of_other)
        }
    }
}

/// The licences that a machine-readable copyright file gives to the package's files; none of one that is prose.
fn licences(text: &str) -> Vec<Licence> {
    let mut paragraphs = paragraphs(text);
    let is_readable = paragraphs
        .next()
        .and_then(|header| header.get("Format"))
        .is_some_and(|format| format.contains("copyright-format") || format.contains("dep5"));
    if !is_readable {
        return Vec::new();
    }
    let mut licences = BTreeSet::new();
    for paragraph in paragraphs {
        let short = paragraph
            .get("License")
            .filter(|_| paragraph.get("Files").is_some())
            .and_then(|value| value.lines().next())
            .map(str::trim);
        if let Some(short) = short.filter(|short| !short.is_empty()) {
            licences.insert(licence(short));
        }
    }
    licences.into_iter().collect()
}

/// `Expat`, `GPL-2+ or Artistic`: an SPDX licence where all of it has exactly one meaning there.
fn licence(short: &str) -> Licence {
    let mut words = Vec::new();
    let mut wants_name = true;
    let mut is_certain = true;
    for word in short.split_whitespace() {
        let operator = match word.to_ascii_lowercase().as_str() {
            "or" => Some("OR"),
            "and" => Some("AND"),
            _ => None,
        };
        match operator {
            Some(operator) if !wants_name => words.push(operator),
            None if wants_name => match identifier(word) {
                Some(id) => words.push(id),
                None => is_certain = false,
            },
            _ => is_certain = false,
        }
        wants_name = operator.is_some();
    }
    let is_mixed = words.contains(&"OR") && words.contains(&"AND");
    match words.as_slice() {
        [id] if is_certain => Licence::Id((*id).to_owned()),
        [_, _, ..] if is_certain && !is_mixed && !wants_name => {
            Licence::Expression(words.join(" "))
        }
        _ => Licence::Name(short.to_owned()),
    }
}

fn identifier(short: &str) -> Option<&'static str> {
    let lower = short.to_ascii_lowercase();
    let known = SHORT_NAMES.iter().find(|(name, _)| *name == lower);
    known.map(|(_, id)| *id)
}

/// What `os-release` says (os-release(5)).
struct Release {
    id: String,
    version: Option<String>,
}

impl Release {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            let value = value.trim().trim_matches(['"', '\'']);
            (!value.is_empty()).then(|| value.to_owned())
        };
        Some(Self {
            id: field("ID")?,
            version: field("VERSION_ID"),
        })
    }

    /// Scanners choose their database by the short name.
    fn component(&self) -> Component {
        Component {
            kind: Kind::OperatingSystem,
            name: self.id.clone(),
            version: self.version.clone(),
            purl: None,
            cpe: None,
            licences: Vec::new(),
            hashes: Vec::new(),
            layer: None,
        }
    }
}

#[cfg(test)]
#[path = "debian_tests.rs"]
mod tests;

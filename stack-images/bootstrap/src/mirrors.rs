//! Which mirrors Debian's packages come from.

use std::io;
use std::path::Path;

use crate::control;

/// The two archives' addresses, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// The folder that holds `dists/<suite>` and `pool`.
    pub base: String,
    /// The same of the security archive.
    pub security: String,
}

impl Mirrors {
    /// A mirror whose security archive is its neighbour, as on Debian's own mirrors:
    /// `…/debian` and `…/debian-security`.
    pub fn new(base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self {
            security: format!("{base}-security"),
            base,
        }
    }
}

/// Finds the Debian mirrors that the machine's own apt uses, from its folder (`/etc/apt`).
///
/// Both of apt's formats are read (sources.list(5)). Only sources that Debian's own archive keys
/// sign count: other vendors name their suites after Debian's releases too. `None` if there is none,
/// as on a machine that isn't Debian.
pub fn from_apt(apt: &Path) -> io::Result<Option<Mirrors>> {
    let mut sources = Vec::new();
    if let Some(text) = read(&apt.join("sources.list"))? {
        one_line_sources(&text, &mut sources);
    }
    let mut parts = match std::fs::read_dir(apt.join("sources.list.d")) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    parts.sort();
    for part in parts {
        let extension = part.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("list" | "sources")) {
            continue;
        }
        let Some(text) = read(&part)? else { continue };
        if extension == Some("list") {
            one_line_sources(&text, &mut sources);
        } else {
            deb822_sources(&text, &mut sources);
        }
    }
    let mut base = None;
    let mut security = None;
    for source in sources.iter().filter(|source| source.is_debian()) {
        let Some(address) = source.address() else {
            continue;
        };
        for suite in &source.suites {
            match kind(suite) {
                Some(Kind::Release) => base.get_or_insert(address.clone()),
                Some(Kind::Security) => security.get_or_insert(address.clone()),
                None => continue,
            };
        }
    }
    Ok(base.map(|base| {
        let mut mirrors = Mirrors::new(&base);
        if let Some(security) = security {
            mirrors.security = security;
        }
        mirrors
    }))
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

enum Kind {
    Release,
    Security,
}

fn kind(suite: &str) -> Option<Kind> {
    const RELEASES: [&str; 12] = [
        "stable",
        "oldstable",
        "oldoldstable",
        "testing",
        "unstable",
        "sid",
        "bullseye",
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "buster",
    ];
    let (release, pocket) = suite
        .split_once(['-', '/'])
        .map_or((suite, None), |(release, pocket)| {
            (release, Some(pocket.trim_end_matches('/')))
        });
    if !RELEASES.contains(&release) {
        return None;
    }
    match pocket {
        None | Some("updates") if suite.contains('/') => Some(Kind::Security),
        None | Some("updates" | "backports" | "proposed-updates") => Some(Kind::Release),
        Some("security") => Some(Kind::Security),
        Some(_) => None,
    }
}

impl Source {
    fn is_debian(&self) -> bool {
        self.components.iter().any(|component| component == "main")
            && self
                .signed_by
                .as_ref()
                .is_none_or(|keys| keys.contains("debian-archive"))
    }

    fn address(&self) -> Option<String> {
        let uri = match self.uri.strip_prefix("mirror+file:") {
            // Debian's cloud images name their mirrors in a file of their own, one a line.
            Some(list) => {
                let path = Path::new(list.strip_prefix("//").unwrap_or(list));
                let text = read(path).ok()??;
                text.lines()
                    .filter_map(|line| line.split_whitespace().next())
                    .find(|word| is_http(word))?
                    .to_owned()
            }
            None => self.uri.clone(),
        };
        is_http(&uri).then(|| uri.trim_end_matches('/').to_owned())
    }
}

fn is_http(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

fn one_line_sources(text: &str, sources: &mut Vec<Source>) {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(rest) = line
            .strip_prefix("deb")
            .filter(|rest| rest.starts_with([' ', '\t', '[']))
        else {
            continue;
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((options, rest)) => (options, rest),
            None => ("", rest),
        };
        let signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned);
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (Some(uri), Some(suite)) = (words.next(), words.next()) else {
            continue;
        };
        sources.push(Source {
            uri,
            suites: vec![suite],
            components: words.collect(),
            signed_by,
        });
    }
}

fn deb822_sources(text: &str, sources: &mut Vec<Source>) {
    // A line of white space separates stanzas here too, and comments may stand anywhere.
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [if line.trim().is_empty() { "" } else { line }, "\n"])
        .collect();
    let words = |value: Option<&str>| -> Vec<String> {
        value
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    for stanza in control::paragraphs(&text) {
        let disabled = stanza.get("Enabled").is_some_and(|enabled| {
            matches!(
                enabled,
                "no" | "false" | "0" | "off" | "without" | "disable"
            )
        });
        if disabled || !words(stanza.get("Types")).iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words(stanza.get("URIs")) {
            sources.push(Source {
                uri,
                suites: words(stanza.get("Suites")),
                components: words(stanza.get("Components")),
                signed_by: stanza.get("Signed-By").map(str::to_owned),
            });
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn apt(files: &[(&str, &str)]) -> Option<Mirrors> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = text.replace("@FOLDER@", folder.path().to_str().unwrap());
            std::fs::write(path, text).unwrap();
        }
        from_apt(folder.path()).unwrap()
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "compared with what may be nothing"
    )]
    fn mirrors(base: &str, security: &str) -> Option<Mirrors> {
        Some(Mirrors {
            base: base.to_owned(),
            security: security.to_owned(),
        })
    }

    #[test]
    fn deb822_with_comments_and_other_vendors() {
        let debian = "Types: deb\n# a snapshot: http://other.example/debian\nURIs: http://one.example/debian/\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n \nTypes: deb deb-src\nURIs: http://two.example/debian-security\nSuites: bookworm-security\nComponents: main\n";
        let vendor = "Types: deb\nURIs: https://vendor.example/apt\nSuites: bookworm\nComponents: main\nSigned-By: /etc/keys/vendor.gpg\n";
        assert_eq!(
            apt(&[
                ("sources.list.d/a.sources", vendor),
                ("sources.list.d/debian.sources", debian)
            ]),
            mirrors(
                "http://one.example/debian",
                "http://two.example/debian-security"
            )
        );
    }

    #[test]
    fn disabled_stanzas_do_not_count() {
        let text = "Enabled: no\nTypes: deb\nURIs: http://one.example/debian\nSuites: trixie\nComponents: main\n";
        assert_eq!(apt(&[("sources.list.d/debian.sources", text)]), None);
    }

    #[test]
    fn one_line_format() {
        let text = "# deb http://no.example/debian trixie main\ndeb cdrom:[Debian 13]/ trixie main\ndeb-src http://no.example/debian trixie main\ndeb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://one.example/debian trixie main contrib # here\n";
        assert_eq!(
            apt(&[("sources.list", text)]),
            mirrors(
                "https://one.example/debian",
                "https://one.example/debian-security"
            )
        );
        let old = "deb http://s.example/debian-security bullseye/updates main\ndeb http://m.example/debian bullseye main\n";
        assert_eq!(
            apt(&[("sources.list", old)]),
            mirrors(
                "http://m.example/debian",
                "http://s.example/debian-security"
            )
        );
    }

    #[test]
    fn other_distributions_have_none() {
        let ubuntu = "deb http://archive.example/ubuntu noble main\ndeb http://archive.example/ubuntu noble-security main\n";
        let docker = "deb https://download.example/linux/debian bookworm stable\n";
        assert_eq!(
            apt(&[
                ("sources.list", ubuntu),
                ("sources.list.d/docker.list", docker)
            ]),
            None
        );
        assert_eq!(apt(&[]), None);
    }

    #[test]
    fn mirror_lists_of_cloud_images() {
        let text = "Types: deb\nURIs: mirror+file://@FOLDER@/mirrors.list\nSuites: trixie\nComponents: main\n";
        assert_eq!(
            apt(&[
                ("sources.list.d/debian.sources", text),
                ("mirrors.list", "https://cloud.example/debian\n")
            ]),
            mirrors(
                "https://cloud.example/debian",
                "https://cloud.example/debian-security"
            )
        );
    }
}

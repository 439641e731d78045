//! Where packages come from.

use crate::apt::AptError;
use libcnb::Env;
use std::fs;
use std::io;
use std::path::Path;

/// The folder with `dists` and `pool` that packages come from; the image's own sources count where it is not set.
pub(crate) const MIRROR_VARIABLE: &str = "BP_DEBIAN_MIRROR";
/// The same of the security archive, where it is not the mirror's neighbour.
pub(crate) const SECURITY_MIRROR_VARIABLE: &str = "BP_DEBIAN_SECURITY_MIRROR";

/// Debian's keys, where its package debian-archive-keyring puts them.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// A mirror that is named.
pub(crate) struct Sources {
    /// For people.
    pub(crate) mirror: String,
    /// As in apt's `sources.list`.
    pub(crate) lines: String,
}

/// Lines for the mirror that the user or the platform names; none where it names none.
pub(crate) fn sources(env: &Env) -> Result<Option<Sources>, AptError> {
    let value = |variable: &'static str| -> Result<Option<String>, AptError> {
        let Some(value) = env.get(variable).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let value = value.to_string_lossy().trim_end_matches('/').to_owned();
        let is_address = ["http://", "https://"].iter().any(|scheme| {
            value
                .strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty())
        }) && !value
            .contains(|c: char| c.is_whitespace() || c.is_control() || "[]#\"".contains(c));
        if !is_address {
            return Err(AptError::BadMirror {
                variable,
                value: after_password(&value).to_owned(),
            });
        }
        Ok(Some(value))
    };
    let Some(mirror) = value(MIRROR_VARIABLE)? else {
        return Ok(None);
    };
    let security = value(SECURITY_MIRROR_VARIABLE)?.unwrap_or_else(|| format!("{mirror}-security"));
    let path = Path::new("/etc/os-release");
    let release = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|source| AptError::File {
            path: path.to_owned(),
            source,
        })?,
    };
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|name| name.trim_matches('"'))
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()));
    let (Some(suite), true) = (suite, release.lines().any(|line| line == "ID=debian")) else {
        // The variable is about Debian; other systems' images have sources of their own.
        return Ok(None);
    };
    let signed = KEYRINGS
        .iter()
        .find(|path| Path::new(path).is_file())
        .map_or_else(String::new, |path| format!("[signed-by={path}] "));
    Ok(Some(Sources {
        lines: format!(
            "deb {signed}{mirror} {suite} main\n\
             deb {signed}{mirror} {suite}-updates main\n\
             deb {signed}{security} {suite}-security main\n"
        ),
        mirror: without_password(&mirror),
    }))
}

/// Whether an image says itself where its packages come from.
pub(crate) fn has_own_sources(apt: &Path) -> bool {
    let names_one = |path: &Path| {
        fs::read_to_string(path).is_ok_and(|text| {
            text.lines().any(|line| {
                line.starts_with("deb ") || line.starts_with("deb [") || line.starts_with("URIs:")
            })
        })
    };
    let parts = fs::read_dir(apt.join("sources.list.d"));
    names_one(&apt.join("sources.list"))
        || parts
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| names_one(&entry.path()))
}

/// `http://user:password@host/` as `http://***@host/`.
pub(crate) fn without_password(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(at) => {
                shown.push_str("***");
                &after[at..]
            }
            None => after,
        };
    }
    shown + rest
}

/// What of a text that should be an address holds no password, however it is spelled.
fn after_password(value: &str) -> &str {
    value.rsplit_once('@').map_or(value, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("Err http://me:pw@host.example/debian and https://b/ x@y"),
            "Err http://***@host.example/debian and https://b/ x@y"
        );
    }

    #[test]
    fn a_mirror_is_an_address() {
        let mut env = Env::new();
        for bad in [
            "ftp://host",
            "http://",
            "http://host trusted=yes",
            "/srv/debian",
            "ann:s3cret@host.example/debian",
            "ftp://ann:s3c/s3cret@host.example/debian",
            "http://ann:s3cret@host.example/debian trusted=yes",
        ] {
            env.insert(MIRROR_VARIABLE, bad);
            let Err(AptError::BadMirror { value, .. }) = sources(&env) else {
                unreachable!("{bad} is taken for an address");
            };
            assert!(bad.contains(&value) && !value.contains("s3c"), "{value}");
        }
    }
}

//! Names of images in registries, parsed and normalised as Docker does (distribution's `reference` grammar).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// `[registry/]repository[:tag][@digest]`, normalised: `python` is `docker.io/library/python`.
///
/// Displayed in full, without a tag when none was given. [`Reference::familiar`] is the short form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A string that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the name of an image: {reason}")]
pub struct ReferenceParseError {
    /// What was parsed.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Reference {
    /// The registry's host, with its port if it has one; `docker.io` when the name had none.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path inside the registry: `library/python`, `team/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag as given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest as given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn identifier(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }

    /// The same repository at a tag; the digest goes.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceParseError> {
        if !is_tag(tag) {
            return Err(ReferenceParseError {
                text: tag.to_owned(),
                reason: BAD_TAG,
            });
        }
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at a digest; the tag goes.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same name, with the tag `latest` if it has neither a tag nor a digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// `registry/repository` without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// As people write it: without the default registry and namespace, where that still is the same image's name.
    /// `docker.io/team.example/app` is not: what is left would name another registry.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full
            .strip_prefix(DEFAULT_REGISTRY)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            return full;
        };
        let short = match short.strip_prefix(DEFAULT_NAMESPACE) {
            Some(official) if !official.contains('/') => official,
            _ => short,
        };
        if short.parse().as_ref() == Ok(self) {
            short.to_owned()
        } else {
            full
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason| ReferenceParseError {
            text: text.to_owned(),
            reason,
        };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        if Digest::from_hex(text).is_ok() {
            return Err(error(
                "64 hex digits are an image's id; write name@sha256:… instead",
            ));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    error("the part after @ is not sha256:<64 lower-case hex digits>")
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') && !tag.ends_with(']') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(BAD_TAG));
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if looks_like_a_host(host) => (host, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        if !is_host(registry) {
            return Err(error(
                "the registry is not a host name with an optional port",
            ));
        }
        if path.chars().any(|letter| letter.is_ascii_uppercase()) {
            return Err(error("the repository must be lower case"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(error(
                "the repository must be lower-case letters and digits, separated by one of . _ __ - or /",
            ));
        }
        let registry = if registry == "index.docker.io" {
            DEFAULT_REGISTRY
        } else {
            registry
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{DEFAULT_NAMESPACE}{path}")
        } else {
            path.to_owned()
        };
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(error("it is longer than 255 characters"));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

const BAD_TAG: &str =
    "the tag must be at most 128 letters, digits, _ . - and not start with . or -";

/// Docker's rule for what is left of the first slash: `team/app` is a path, `localhost/app` and `host:5000/app` are not.
fn looks_like_a_host(component: &str) -> bool {
    component.contains(['.', ':'])
        || component == "localhost"
        || component.chars().any(|letter| letter.is_ascii_uppercase())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = !address.is_empty()
                && address
                    .chars()
                    .all(|letter| letter.is_ascii_hexdigit() || letter == ':');
            if !is_address {
                return false;
            }
            (None, port)
        }
        None => match host.find(':') {
            Some(colon) => (Some(&host[..colon]), &host[colon..]),
            None => (Some(host), ""),
        },
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && !digits.starts_with('+'),
        None => port.is_empty(),
    };
    is_port && name.is_none_or(|name| name.split('.').all(is_host_label))
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_word(first)
        && is_word(last)
        && bytes.split(|byte| is_word(*byte)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__")
                || separator.iter().all(|byte| *byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalises_as_docker_does() {
        for (text, full, familiar) in [
            ("python", "docker.io/library/python", "python"),
            (
                "python:3.13",
                "docker.io/library/python:3.13",
                "python:3.13",
            ),
            ("library/python", "docker.io/library/python", "python"),
            ("team/app", "docker.io/team/app", "team/app"),
            (
                "index.docker.io/team/app:v1",
                "docker.io/team/app:v1",
                "team/app:v1",
            ),
            ("docker.io/app", "docker.io/library/app", "app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            (
                "localhost:5000/app",
                "localhost:5000/app",
                "localhost:5000/app",
            ),
            (
                "127.0.0.1:5000/a/b/c:t",
                "127.0.0.1:5000/a/b/c:t",
                "127.0.0.1:5000/a/b/c:t",
            ),
            ("[::1]:5000/app:t", "[::1]:5000/app:t", "[::1]:5000/app:t"),
            ("[::1]/app", "[::1]/app", "[::1]/app"),
            ("REGISTRY/app", "REGISTRY/app", "REGISTRY/app"),
            (
                "r.example/a__b/c---d/e.f_g:T_1.-",
                "r.example/a__b/c---d/e.f_g:T_1.-",
                "r.example/a__b/c---d/e.f_g:T_1.-",
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
            assert_eq!(full.parse::<Reference>().unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn takes_tags_and_digests_apart() {
        let reference: Reference = format!("r.example:80/app:t@sha256:{HEX}").parse().unwrap();
        assert_eq!(reference.registry(), "r.example:80");
        assert_eq!(reference.repository(), "app");
        assert_eq!(reference.tag(), Some("t"));
        assert_eq!(reference.digest().unwrap().hex(), HEX);
        assert_eq!(reference.identifier(), format!("sha256:{HEX}"));
        assert_eq!(
            reference.with_tag("u").unwrap().to_string(),
            "r.example:80/app:u"
        );
        assert!(reference.with_tag("a/b").is_err());
        let untagged: Reference = "app".parse().unwrap();
        assert_eq!(untagged.identifier(), "latest");
        assert_eq!(
            untagged.or_latest().to_string(),
            "docker.io/library/app:latest"
        );
    }

    #[test]
    fn refuses_what_docker_refuses() {
        let long = format!("r.example/{}", "a".repeat(250));
        for text in [
            "",
            ":",
            "/",
            "app:",
            "app@",
            "app@sha256:abc",
            "App",
            "team/App",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a:b:c",
            "a:-t",
            "a:.t",
            "a b",
            "a:t t",
            "host:port/app",
            "host:70000/app",
            "-h.x/app",
            "[::1/app",
            "[zz]/app",
            "https://r.example/app",
            "r.example:5000:80/app",
            "é",
            HEX,
            &long,
            &format!("a:{}", "t".repeat(129)),
            "r.example/",
            "r.example:5000/",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}

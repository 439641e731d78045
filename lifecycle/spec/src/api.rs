//! Versions of the Platform API and the Buildpack API.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A version of an API: `<major>.<minor>`, or `<major>` for `<major>.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    /// Breaking changes.
    pub major: u64,
    /// Additions; before 1.0, breaking changes too.
    pub minor: u64,
}

/// The Platform API versions that the phases speak, oldest first.
pub const PLATFORM: [ApiVersion; 9] = versions_0([7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// The Buildpack API versions that the phases speak, oldest first.
pub const BUILDPACK: [ApiVersion; 6] = versions_0([7, 8, 9, 10, 11, 12]);

/// The lifecycle's version as platforms see it. They compare it with upstream's to know what a lifecycle can do, so it
/// counts as upstream does; patch numbers from 1000 on are no release of upstream's, and a platform that looks for its
/// image of this version finds none.
pub const LIFECYCLE: &str = "0.20.1000";

const fn versions_0<const N: usize>(minors: [u64; N]) -> [ApiVersion; N] {
    let mut versions = [ApiVersion::new(0, 0); N];
    let mut index = 0;
    while index < N {
        versions[index].minor = minors[index];
        index += 1;
    }
    versions
}

impl ApiVersion {
    /// `<major>.<minor>`.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Whether this is version `0.<minor>` or a later one.
    pub fn at_least(self, minor: u64) -> bool {
        self >= Self::new(0, minor)
    }

    /// Whether one of `supported` serves somebody who asks for this version: before 1.0 only the same version
    /// does, afterwards any later minor of the same major.
    pub fn is_supported(self, supported: &[Self]) -> bool {
        supported.iter().any(|have| {
            *have == self
                || (have.major > 0 && have.major == self.major && have.minor >= self.minor)
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is not `<major>.<minor>` or `<major>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an API version; it has to be like \"0.10\"")]
pub struct ApiVersionError(String);

impl FromStr for ApiVersion {
    type Err = ApiVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ApiVersionError(text.to_owned());
        let number = |digits: &str| {
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(fail());
            }
            digits.parse().map_err(|_| fail())
        };
        let bare = text.strip_prefix('v').unwrap_or(text);
        match bare.split_once('.') {
            None => Ok(Self::new(number(bare)?, 0)),
            Some((major, "")) => Ok(Self::new(number(major)?, 0)),
            Some((major, minor)) => Ok(Self::new(number(major)?, number(minor)?)),
        }
    }
}

impl Serialize for ApiVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse_and_compare() {
        for (text, expected) in [
            ("0.10", Some((0, 10))),
            ("v0.10", Some((0, 10))),
            ("1", Some((1, 0))),
            ("1.", Some((1, 0))),
            ("", None),
            ("0.1.2", None),
            ("0.x", None),
            ("-1.0", None),
            ("+1", None),
            ("99999999999999999999.0", None),
        ] {
            let parsed = text.parse::<ApiVersion>().ok();
            assert_eq!(
                parsed,
                expected.map(|(major, minor)| ApiVersion::new(major, minor)),
                "{text:?}"
            );
        }
        assert!(ApiVersion::new(0, 10).at_least(9));
        assert!(ApiVersion::new(1, 0).at_least(12));
        assert!(!ApiVersion::new(0, 9).at_least(10));
    }

    #[test]
    fn before_one_only_the_same_version_is_supported() {
        assert!(ApiVersion::new(0, 10).is_supported(&BUILDPACK));
        assert!(!ApiVersion::new(0, 6).is_supported(&BUILDPACK));
        assert!(!ApiVersion::new(0, 13).is_supported(&BUILDPACK));
        assert!(ApiVersion::new(1, 2).is_supported(&[ApiVersion::new(1, 3)]));
        assert!(!ApiVersion::new(1, 4).is_supported(&[ApiVersion::new(1, 3)]));
    }
}

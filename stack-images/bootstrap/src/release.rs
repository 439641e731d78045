//! A suite's signed `InRelease`: who vouches for the indexes, and until when.

use std::collections::HashMap;

use oci_image::Digest;

use crate::control::Paragraph;
use crate::recipe::Suite;
use crate::signature::{CLOCK_SKEW, Keyring, SignatureError};

/// Why a Release file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The signature is missing or bad.
    #[error("refused {url}")]
    Signature {
        /// Where it came from.
        url: String,
        /// What is wrong with the signature.
        #[source]
        source: SignatureError,
    },
    /// It is not text.
    #[error("refused {url}: it is not a Release file")]
    NotText {
        /// Where it came from.
        url: String,
    },
    /// The mirror served another suite's file.
    #[error("refused {url}: it describes the suite {found:?} instead of {wanted:?}")]
    OtherSuite {
        /// Where it came from.
        url: String,
        /// The suite that was asked for.
        wanted: String,
        /// The suite it says it is.
        found: String,
    },
    /// It is past its date: the mirror is out of date or somebody replays old files.
    #[error(
        "refused {url}: it expired on {valid_until}; the mirror is out of date (use another with --mirror) or this \
         machine's clock is wrong"
    )]
    Expired {
        /// Where it came from.
        url: String,
        /// Its `Valid-Until`.
        valid_until: String,
    },
    /// It is from the future.
    #[error("refused {url}: it is dated {date}, in the future; check this machine's clock")]
    Future {
        /// Where it came from.
        url: String,
        /// Its `Date`.
        date: String,
    },
    /// A field is missing or cannot be understood.
    #[error("refused {url}: its field {field} is missing or malformed")]
    Field {
        /// Where it came from.
        url: String,
        /// The field.
        field: &'static str,
    },
    /// It doesn't have the index we need.
    #[error("{url} has no index {index}: the mirror doesn't carry this architecture or component")]
    NoIndex {
        /// Where it came from.
        url: String,
        /// The index's path in the suite.
        index: String,
    },
}

/// A verified Release file.
#[derive(Debug)]
pub(crate) struct Release {
    url: String,
    /// `Date`, in Unix seconds.
    pub(crate) date: i64,
    /// Whether indexes are also found under their digest, which never changes under a reader.
    pub(crate) by_hash: bool,
    files: HashMap<String, (Digest, u64)>,
}

impl Release {
    /// Verifies an `InRelease` file and understands it; `now` in Unix seconds.
    pub(crate) fn verify(
        url: &str,
        bytes: &[u8],
        suite: &Suite,
        keyring: &Keyring,
        now: i64,
    ) -> Result<Self, ReleaseError> {
        let url = url.to_owned();
        let Ok(message) = std::str::from_utf8(bytes) else {
            return Err(ReleaseError::NotText { url });
        };
        let text = match keyring.verify(message, now) {
            Ok(text) => text.replace("\r\n", "\n"),
            Err(source) => return Err(ReleaseError::Signature { url, source }),
        };
        let fields = Paragraph::new(&text);
        let codename = fields.get("Codename").unwrap_or_default();
        if codename != suite.name && fields.get("Suite") != Some(&suite.name) {
            return Err(ReleaseError::OtherSuite {
                url,
                wanted: suite.name.clone(),
                found: codename.to_owned(),
            });
        }
        let Some((written, date)) = fields
            .get("Date")
            .and_then(|text| Some((text, instant(text)?)))
        else {
            return Err(ReleaseError::Field { url, field: "Date" });
        };
        if date > now + CLOCK_SKEW {
            return Err(ReleaseError::Future {
                url,
                date: written.to_owned(),
            });
        }
        // Debian's released suites have none: they change so rarely that it would only do harm.
        if let Some(valid_until) = fields.get("Valid-Until") {
            let Some(end) = instant(valid_until) else {
                return Err(ReleaseError::Field {
                    url,
                    field: "Valid-Until",
                });
            };
            if end < now {
                return Err(ReleaseError::Expired {
                    url,
                    valid_until: valid_until.to_owned(),
                });
            }
        }
        let Some(files) = fields.get("SHA256").and_then(checksums) else {
            return Err(ReleaseError::Field {
                url,
                field: "SHA256",
            });
        };
        let by_hash = fields.get("Acquire-By-Hash") == Some("yes");
        Ok(Self {
            url,
            date,
            by_hash,
            files,
        })
    }

    /// Digest and size of an index, by its path in the suite's folder.
    pub(crate) fn index(&self, path: &str) -> Result<(Digest, u64), ReleaseError> {
        self.files
            .get(path)
            .copied()
            .ok_or_else(|| ReleaseError::NoIndex {
                url: self.url.clone(),
                index: path.to_owned(),
            })
    }
}

fn instant(text: &str) -> Option<i64> {
    let text = text
        .strip_suffix("UTC")
        .or_else(|| text.strip_suffix("+0000"))?;
    let time = jiff::civil::DateTime::strptime("%a, %d %b %Y %H:%M:%S", text.trim()).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_second())
}

fn checksums(field: &str) -> Option<HashMap<String, (Digest, u64)>> {
    field
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let digest = Digest::from_hex(words.next()?).ok()?;
            let size = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), (digest, size)))
        })
        .collect()
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;

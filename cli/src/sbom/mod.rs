//! What is in an image, for scanners and auditors: one SBOM of what its buildpacks say and of its Debian packages.
//!
//! ```text
//! layers/sbom/launch/<buildpack>/…   ─┐
//! var/lib/dpkg/status, copyright     ─┴─► components ─► CycloneDX 1.5 | SPDX 2.3
//! ```
//!
//! The same image gives the same bytes: identifiers are derived from the content, the only time is the image's own.

mod cyclonedx;
mod debian;
mod documents;
mod image;
mod spdx;

pub(crate) use image::{Documents, of_build, of_image, written};

use crate::failure::{Exit, Failure, OrFail};
use cnb_spec::sbom::SbomFormat;
use oci_image::{Digest, Reference};
use serde_json::Value;
use std::fmt::Write;

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// `CycloneDX` 1.5, JSON
    Cyclonedx,
    /// SPDX 2.3, JSON
    Spdx,
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Cyclonedx, Self::Spdx];

    /// The media type, which is also the kind of the artifact in a registry.
    pub(crate) fn media_type(self) -> &'static str {
        self.of_buildpacks().media_type()
    }

    /// The name of a file.
    pub(crate) fn file_name(self) -> &'static str {
        self.of_buildpacks().file_name()
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Cyclonedx => "CycloneDX",
            Self::Spdx => "SPDX",
        }
    }

    fn of_buildpacks(self) -> SbomFormat {
        match self {
            Self::Cyclonedx => SbomFormat::CycloneDx,
            Self::Spdx => SbomFormat::Spdx,
        }
    }
}

/// Everything that an SBOM tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bill {
    subject: Subject,
    components: Vec<Component>,
}

/// The image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// Its repository or its app.
    name: String,
    /// The repository in full, where the image is in a registry.
    repository: Option<Reference>,
    digest: Option<Digest>,
    /// RFC 3339.
    created: String,
}

/// What a component is, in both formats' terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Library,
    Application,
    Framework,
    Platform,
    OperatingSystem,
    File,
}

/// Something in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Component {
    kind: Kind,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    cpe: Option<String>,
    licences: Vec<Licence>,
    /// Algorithms as `CycloneDX` spells them, and digests in hexadecimal.
    hashes: Vec<(String, String)>,
    /// `slugc/python:venv`, the layer that it is in.
    layer: Option<String>,
}

/// A licence as an SBOM names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Licence {
    /// One identifier of the SPDX licence list.
    Id(String),
    /// Several of them, joined as SPDX does.
    Expression(String),
    /// What its authors call it, where that is not certainly one of the above.
    Name(String),
}

impl Bill {
    /// The document as a value.
    pub(crate) fn json(&self, format: Format) -> Value {
        match format {
            Format::Cyclonedx => cyclonedx::document(self),
            Format::Spdx => spdx::document(self),
        }
    }

    /// The document, which ends with a line break.
    pub(crate) fn document(&self, format: Format) -> Result<Vec<u8>, Failure> {
        let mut bytes = serde_json::to_vec_pretty(&self.json(format))
            .or_fail(Exit::General, || {
                format!("cannot write the SBOM as {}", format.title())
            })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Package URLs and digests of what the buildpacks brought.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = (&str, &[(String, String)])> {
        let of_buildpacks = self.components.iter().filter(|it| it.layer.is_some());
        of_buildpacks.filter_map(|it| Some((it.purl.as_deref()?, it.hashes.as_slice())))
    }

    /// A UUID of version 8 (RFC 9562), derived from the content.
    fn id(&self) -> String {
        let hex = Digest::of(format!("{self:?}").as_bytes()).hex();
        format!(
            "{}-{}-8{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[13..16],
            &hex[17..20],
            &hex[20..32]
        )
    }
}

impl Subject {
    /// The package URL (purl specification, type `oci`): the digest is what the image is, the rest where it is.
    fn purl(&self) -> Option<String> {
        let digest = self.digest?;
        let repository = self.repository.as_ref();
        let name = repository.map_or(self.name.as_str(), Reference::repository);
        let name = name.rsplit('/').next().unwrap_or(name).to_lowercase();
        let place = repository.map_or_else(String::new, |repository| {
            format!("?repository_url={}", encoded(&repository.name()))
        });
        Some(format!(
            "pkg:oci/{}@{}{place}",
            encoded(&name),
            encoded(&digest.to_string()).replace(':', "%3A")
        ))
    }
}

/// Percent-encoded, but for what package URLs leave as it is.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing into a String can't fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
#[path = "bill_tests.rs"]
mod tests;

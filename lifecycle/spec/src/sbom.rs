//! SBOM formats and the names of their files (Buildpack API, "Software-Bill-of-Materials").

/// A format that a buildpack may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SbomFormat {
    /// `CycloneDX` JSON.
    CycloneDx,
    /// SPDX JSON.
    Spdx,
    /// Syft JSON.
    Syft,
}

impl SbomFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::CycloneDx, Self::Spdx, Self::Syft];

    /// The media type that a buildpack.toml declares.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::Syft => "application/vnd.syft+json",
        }
    }

    /// The end of its files' names, and their whole name in an image's SBOM folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::CycloneDx => "sbom.cdx.json",
            Self::Spdx => "sbom.spdx.json",
            Self::Syft => "sbom.syft.json",
        }
    }

    /// Whether `declared`, a list of media types that may carry parameters, names this format.
    pub fn is_declared(self, declared: &[String]) -> bool {
        declared.iter().any(|media_type| {
            let bare = media_type.split(';').next().unwrap_or_default().trim();
            bare.eq_ignore_ascii_case(self.media_type())
        })
    }
}

/// What a file name of the form `<layer>.sbom.<ext>` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomFile<'a> {
    /// The layer, or `launch` or `build`.
    pub layer: &'a str,
    /// `None` for a format that the specification does not have.
    pub format: Option<SbomFormat>,
}

impl<'a> SbomFile<'a> {
    /// Reads a file name; `None` for names that are not of SBOM files.
    pub fn parse(file_name: &'a str) -> Option<Self> {
        let format = SbomFormat::ALL.into_iter().find_map(|format| {
            let layer = file_name
                .strip_suffix(format.file_name())?
                .strip_suffix('.')?;
            Some((layer, format))
        });
        if let Some((layer, format)) = format {
            return Some(Self {
                layer,
                format: Some(format),
            });
        }
        let (layer, rest) = file_name.split_once(".sbom.")?;
        rest.strip_suffix(".json").map(|_| Self {
            layer,
            format: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn file_names_tell_layer_and_format() {
        for (name, expected) in [
            (
                "venv.sbom.cdx.json",
                Some(("venv", Some(SbomFormat::CycloneDx))),
            ),
            (
                "launch.sbom.spdx.json",
                Some(("launch", Some(SbomFormat::Spdx))),
            ),
            ("a.b.sbom.syft.json", Some(("a.b", Some(SbomFormat::Syft)))),
            ("venv.sbom.other.json", Some(("venv", None))),
            ("venv.toml", None),
            ("sbom.cdx.json", None),
        ] {
            let parsed = SbomFile::parse(name).map(|file| (file.layer, file.format));
            assert_eq!(parsed, expected, "{name}");
        }
    }

    #[test]
    fn declared_media_types_may_have_parameters() {
        let declared = ["application/spdx+json; version=2.3".to_owned()];
        assert!(SbomFormat::Spdx.is_declared(&declared));
        assert!(!SbomFormat::Syft.is_declared(&declared));
        assert_eq!(
            SbomFile::parse("x.sbom.spdx.json")
                .unwrap()
                .format
                .unwrap()
                .media_type(),
            "application/spdx+json"
        );
    }
}

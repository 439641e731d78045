//! SBOM documents of buildpacks, ours and others', as far as the merged document needs them.

use super::{Component, Kind, Licence};
use cnb_spec::sbom::SbomFormat;
use serde::Deserialize;

/// How deep components may hold components.
const DEEPEST: usize = 16;

/// The components that a document names; `layer` is what it is about.
pub(super) fn components(
    format: SbomFormat,
    bytes: &[u8],
    layer: &str,
) -> Result<Vec<Component>, serde_json::Error> {
    let mut components = Vec::new();
    match format {
        SbomFormat::CycloneDx => {
            let document: CycloneDx = serde_json::from_slice(bytes)?;
            for component in document.components {
                component.add_to(&mut components, 0);
            }
        }
        SbomFormat::Spdx => {
            let document: Spdx = serde_json::from_slice(bytes)?;
            let names = document.extracted;
            let packages = document.packages.into_iter();
            components.extend(packages.map(|package| package.component(&names)));
        }
        SbomFormat::Syft => {
            let document: Syft = serde_json::from_slice(bytes)?;
            components.extend(document.artifacts.into_iter().map(Artifact::component));
        }
    }
    for component in &mut components {
        component.layer = Some(layer.to_owned());
    }
    Ok(components)
}

#[derive(Deserialize)]
struct CycloneDx {
    #[serde(default)]
    components: Vec<CycloneDxComponent>,
}

#[derive(Deserialize)]
struct CycloneDxComponent {
    #[serde(default, rename = "type")]
    kind: String,
    group: Option<String>,
    name: String,
    version: Option<String>,
    purl: Option<String>,
    cpe: Option<String>,
    #[serde(default)]
    licenses: Vec<LicenceChoice>,
    #[serde(default)]
    hashes: Vec<Hash>,
    #[serde(default)]
    components: Vec<CycloneDxComponent>,
}

#[derive(Deserialize)]
struct LicenceChoice {
    license: Option<NamedLicence>,
    expression: Option<String>,
}

#[derive(Deserialize)]
struct NamedLicence {
    id: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

impl CycloneDxComponent {
    fn add_to(self, components: &mut Vec<Component>, depth: usize) {
        let licences = self.licenses.into_iter().filter_map(|choice| {
            choice.expression.map(Licence::Expression).or_else(|| {
                let NamedLicence { id, name } = choice.license?;
                id.map(Licence::Id).or(name.map(Licence::Name))
            })
        });
        components.push(Component {
            kind: match self.kind.as_str() {
                "application" => Kind::Application,
                "framework" => Kind::Framework,
                "platform" => Kind::Platform,
                "operating-system" => Kind::OperatingSystem,
                "file" => Kind::File,
                _ => Kind::Library,
            },
            name: match self.group.filter(|group| !group.is_empty()) {
                Some(group) => format!("{group}/{}", self.name),
                None => self.name,
            },
            version: self.version,
            purl: self.purl,
            cpe: self.cpe,
            licences: licences.collect(),
            hashes: self
                .hashes
                .into_iter()
                .map(|hash| (hash.alg, hash.content))
                .collect(),
            layer: None,
        });
        if depth < DEEPEST {
            for component in self.components {
                component.add_to(components, depth + 1);
            }
        }
    }
}

#[derive(Deserialize)]
struct Spdx {
    #[serde(default)]
    packages: Vec<SpdxPackage>,
    #[serde(default, rename = "hasExtractedLicensingInfos")]
    extracted: Vec<ExtractedLicence>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtractedLicence {
    license_id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpdxPackage {
    name: String,
    version_info: Option<String>,
    license_declared: Option<String>,
    primary_package_purpose: Option<String>,
    #[serde(default)]
    checksums: Vec<Checksum>,
    #[serde(default)]
    external_refs: Vec<ExternalRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Checksum {
    algorithm: String,
    checksum_value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExternalRef {
    reference_type: String,
    reference_locator: String,
}

impl SpdxPackage {
    fn component(self, extracted: &[ExtractedLicence]) -> Component {
        let reference = |kind: &str| {
            let found = self
                .external_refs
                .iter()
                .find(|it| it.reference_type == kind);
            found.map(|it| it.reference_locator.clone())
        };
        let licence = self
            .license_declared
            .filter(|text| !matches!(text.as_str(), "NOASSERTION" | "NONE" | ""))
            .map(|text| spdx_licence(text, extracted));
        Component {
            kind: match self.primary_package_purpose.as_deref() {
                Some("APPLICATION") => Kind::Application,
                Some("FRAMEWORK") => Kind::Framework,
                Some("OPERATING-SYSTEM") => Kind::OperatingSystem,
                Some("FILE") => Kind::File,
                _ => Kind::Library,
            },
            purl: reference("purl"),
            cpe: reference("cpe23Type"),
            name: self.name,
            version: self.version_info,
            licences: licence.into_iter().collect(),
            hashes: self
                .checksums
                .into_iter()
                .map(|checksum| {
                    let algorithm = match checksum.algorithm.strip_prefix("SHA") {
                        Some(bits) => format!("SHA-{}", bits.trim_start_matches('-')),
                        None => checksum.algorithm,
                    };
                    (algorithm, checksum.checksum_value)
                })
                .collect(),
            layer: None,
        }
    }
}

fn spdx_licence(text: String, extracted: &[ExtractedLicence]) -> Licence {
    let own = extracted.iter().find(|it| it.license_id == text);
    if let Some(own) = own {
        return Licence::Name(own.name.clone().unwrap_or(text));
    }
    // Expressions with licences of the document's own mean nothing outside of it.
    if text.contains("LicenseRef-") {
        Licence::Name(text)
    } else if text.contains(' ') {
        Licence::Expression(text)
    } else {
        Licence::Id(text)
    }
}

#[derive(Deserialize)]
struct Syft {
    #[serde(default)]
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    name: String,
    version: Option<String>,
    purl: Option<String>,
}

impl Artifact {
    fn component(self) -> Component {
        Component {
            kind: Kind::Library,
            name: self.name,
            version: self.version,
            purl: self.purl.filter(|purl| !purl.is_empty()),
            cpe: None,
            licences: Vec::new(),
            hashes: Vec::new(),
            layer: None,
        }
    }
}

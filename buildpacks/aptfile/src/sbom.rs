//! What is in a layer, for scanners: `CycloneDX` 1.5 with a package URL for each Debian package.

use crate::apt::Chosen;
use libcnb::Target;
use libcnb::data::sbom::SbomFormat;
use libcnb::sbom::Sbom;
use serde_json::json;

/// The same packages give the same bytes.
pub(crate) fn of(packages: &[Chosen], target: &Target) -> Result<Sbom, serde_json::Error> {
    let components: Vec<_> = packages
        .iter()
        .map(|package| {
            let purl = format!(
                "pkg:deb/{distribution}/{name}@{version}?arch={architecture}&distro={distribution}-{release}",
                name = encoded(&package.name),
                version = encoded(&package.version),
                architecture = package.architecture,
                distribution = target.distro_name,
                release = target.distro_version,
            );
            json!({
                "type": "library",
                "bom-ref": purl,
                "name": package.name,
                "version": package.version,
                "purl": purl,
            })
        })
        .collect();
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "tools": { "components": [{
                "type": "application",
                "name": "slugc-aptfile",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
        },
        "components": components,
    });
    Ok(Sbom::from_bytes(
        SbomFormat::CycloneDxJson,
        serde_json::to_vec_pretty(&document)?,
    ))
}

/// Percent-encoded as package URLs want it: Debian's names and versions have nothing else that they do not allow.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B")
}

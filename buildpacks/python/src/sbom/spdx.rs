//! SPDX 2.3 as JSON.

use super::dist_info::Distribution;
use super::licence::Licence;
use super::{Bill, SbomError};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What SPDX says where nothing is known for certain.
const UNKNOWN: &str = "NOASSERTION";

/// The document; `name` is what it describes, a layer or `build`.
pub(super) fn document(bill: &Bill, name: &str) -> Result<Vec<u8>, SbomError> {
    let mut packages = Vec::new();
    if let Some(python) = bill.python {
        packages.push(json!({
            "SPDXID": "SPDXRef-Python",
            "name": "python",
            "versionInfo": python.to_string(),
            "supplier": UNKNOWN,
            "downloadLocation": UNKNOWN,
            "filesAnalyzed": false,
            "licenseConcluded": UNKNOWN,
            "licenseDeclared": "Python-2.0.1",
            "copyrightText": UNKNOWN,
            "externalRefs": [purl_reference(&format!("pkg:generic/python@{python}"))],
            "primaryPackagePurpose": "APPLICATION",
        }));
    }
    let mut extracted = BTreeMap::new();
    for (position, distribution) in bill.distributions.iter().enumerate() {
        packages.push(package(distribution, position, &mut extracted));
    }
    let relationships: Vec<Value> = packages
        .iter()
        .map(|package| {
            json!({
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": package["SPDXID"],
            })
        })
        .collect();
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": format!("urn:uuid:{}", bill.id),
        "creationInfo": {
            "created": bill.created,
            "creators": [concat!("Tool: slugc-python-", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    });
    if !extracted.is_empty() {
        document["hasExtractedLicensingInfos"] = extracted
            .into_iter()
            .map(|(id, name)| json!({ "licenseId": id, "name": name, "extractedText": name }))
            .collect();
    }
    serde_json::to_vec_pretty(&document).map_err(SbomError::Write)
}

fn package(
    distribution: &Distribution,
    position: usize,
    extracted: &mut BTreeMap<String, String>,
) -> Value {
    let mut package = json!({
        "SPDXID": format!("SPDXRef-Package-{position}-{}", idstring(&distribution.comparable_name())),
        "name": distribution.name,
        "versionInfo": distribution.version,
        "supplier": UNKNOWN,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": declared(&distribution.licences, extracted),
        "copyrightText": UNKNOWN,
        "primaryPackagePurpose": "LIBRARY",
    });
    if let Some(sha256) = &distribution.sha256 {
        package["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": sha256 }]);
    }
    if let Some(purl) = distribution.purl() {
        package["externalRefs"] = json!([purl_reference(&purl)]);
    }
    package
}

/// One licence. Several classifiers leave open whether all of them hold or one may be chosen.
fn declared(licences: &[Licence], extracted: &mut BTreeMap<String, String>) -> String {
    match licences {
        [Licence::Id(text) | Licence::Expression(text)] => text.clone(),
        [Licence::Name(name)] => {
            let id = format!("LicenseRef-{}", idstring(name));
            extracted.entry(id.clone()).or_insert_with(|| name.clone());
            id
        }
        _ => UNKNOWN.to_owned(),
    }
}

fn purl_reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    })
}

/// Letters, digits, dots and hyphens are all that SPDX has in identifiers.
fn idstring(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

//! SPDX 2.3 as JSON.

use super::{Bill, Component, Kind, Licence};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What SPDX says where nothing is known for certain.
const UNKNOWN: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";

pub(super) fn document(bill: &Bill) -> Value {
    let subject = &bill.subject;
    let mut image = json!({
        "SPDXID": IMAGE,
        "name": subject.name,
        "supplier": UNKNOWN,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": UNKNOWN,
        "copyrightText": UNKNOWN,
        "primaryPackagePurpose": "CONTAINER",
    });
    if let Some(digest) = &subject.digest {
        image["versionInfo"] = digest.to_string().into();
        image["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": digest.hex() }]);
    }
    if let Some(purl) = subject.purl() {
        image["externalRefs"] = json!([reference("PACKAGE-MANAGER", "purl", &purl)]);
    }
    let mut packages = vec![image];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    let mut extracted = BTreeMap::new();
    for (position, component) in bill.components.iter().enumerate() {
        let id = format!("SPDXRef-Package-{position}-{}", idstring(&component.name));
        relationships.push(relationship(IMAGE, "CONTAINS", &id));
        packages.push(package(component, &id, &mut extracted));
    }
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": format!("urn:uuid:{}", bill.id()),
        "creationInfo": {
            "created": subject.created,
            "creators": [concat!("Tool: slugc-", env!("CARGO_PKG_VERSION"))],
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
    document
}

fn package(component: &Component, id: &str, extracted: &mut BTreeMap<String, String>) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": component.name,
        "supplier": UNKNOWN,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": declared(component, extracted),
        "copyrightText": UNKNOWN,
        "primaryPackagePurpose": purpose(component.kind),
    });
    if let Some(version) = &component.version {
        package["versionInfo"] = version.clone().into();
    }
    if let Some(layer) = &component.layer {
        package["sourceInfo"] = format!("the buildpack layer {layer}").into();
    }
    let checksums: Vec<Value> = component
        .hashes
        .iter()
        .filter_map(|(algorithm, digest)| {
            Some(json!({ "algorithm": checksum(algorithm)?, "checksumValue": digest }))
        })
        .collect();
    if !checksums.is_empty() {
        package["checksums"] = checksums.into();
    }
    let mut references = Vec::new();
    if let Some(purl) = &component.purl {
        references.push(reference("PACKAGE-MANAGER", "purl", purl));
    }
    if let Some(cpe) = component
        .cpe
        .as_ref()
        .filter(|cpe| cpe.starts_with("cpe:2.3:"))
    {
        references.push(reference("SECURITY", "cpe23Type", cpe));
    }
    if !references.is_empty() {
        package["externalRefs"] = references.into();
    }
    package
}

/// Debian's licences each hold for some of a package's files, so all of them do for the package; several of another
/// package's leave open what holds.
fn declared(component: &Component, extracted: &mut BTreeMap<String, String>) -> String {
    let is_debian = component
        .purl
        .as_deref()
        .is_some_and(|purl| purl.starts_with("pkg:deb/"));
    let terms: Vec<String> = component
        .licences
        .iter()
        .map(|licence| match licence {
            Licence::Id(id) => id.clone(),
            Licence::Expression(text) if component.licences.len() == 1 => text.clone(),
            Licence::Expression(text) => format!("({text})"),
            Licence::Name(name) => {
                let id = format!("LicenseRef-{}", idstring(name));
                extracted.entry(id.clone()).or_insert_with(|| name.clone());
                id
            }
        })
        .collect();
    match terms.as_slice() {
        [] => UNKNOWN.to_owned(),
        [one] => one.clone(),
        several if is_debian => several.join(" AND "),
        _ => UNKNOWN.to_owned(),
    }
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn reference(category: &str, kind: &str, locator: &str) -> Value {
    json!({
        "referenceCategory": category,
        "referenceType": kind,
        "referenceLocator": locator,
    })
}

fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Library => "LIBRARY",
        Kind::Application | Kind::Platform => "APPLICATION",
        Kind::Framework => "FRAMEWORK",
        Kind::OperatingSystem => "OPERATING-SYSTEM",
        Kind::File => "FILE",
    }
}

/// `CycloneDX`'s name of an algorithm as SPDX writes it; none for those that SPDX does not have.
fn checksum(algorithm: &str) -> Option<&'static str> {
    Some(match algorithm {
        "MD5" => "MD5",
        "SHA-1" => "SHA1",
        "SHA-256" => "SHA256",
        "SHA-384" => "SHA384",
        "SHA-512" => "SHA512",
        _ => return None,
    })
}

/// Letters, digits, dots and hyphens are all that SPDX has in identifiers.
fn idstring(text: &str) -> String {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use serde_json::{Value, json};

fn of(format: SbomFormat, document: &Value) -> Vec<Component> {
    let bytes = serde_json::to_vec(document).unwrap();
    documents::components(format, &bytes, "a/b:c").unwrap()
}

fn bill(components: Vec<Component>) -> Bill {
    Bill {
        subject: Subject {
            name: "team/shop:1.4".to_owned(),
            repository: Some("registry.example/team/shop:1.4".parse().unwrap()),
            digest: Some(Digest::of(b"")),
            created: "1980-01-01T00:00:01Z".to_owned(),
        },
        components,
    }
}

fn written(bill: &Bill, format: Format) -> Value {
    serde_json::from_slice(&bill.document(format).unwrap()).unwrap()
}

#[test]
fn what_is_read_is_what_is_written() {
    let cyclonedx = json!({
        "components": [
            {
                "type": "framework", "group": "@scope", "name": "x", "version": "1",
                "purl": "pkg:npm/%40scope/x@1", "cpe": "cpe:2.3:a:x:x:1:*:*:*:*:*:*:*",
                "hashes": [{ "alg": "SHA-256", "content": "ab" }],
                "licenses": [{ "expression": "MIT OR ISC" }],
                "components": [{ "name": "inner", "licenses": [{ "license": { "id": "MIT" } }, { "license": { "name": "Own" } }] }],
            },
        ],
    });
    let components = of(SbomFormat::CycloneDx, &cyclonedx);
    assert_eq!(components.len(), 2);
    let ours = bill(components.clone());
    for (format, read) in [
        (Format::Cyclonedx, SbomFormat::CycloneDx),
        (Format::Spdx, SbomFormat::Spdx),
    ] {
        let document = written(&ours, format);
        let mut again = of(read, &document);
        if format == Format::Spdx {
            // The image is a package of its own there, and several licences leave open what holds.
            assert_eq!(again.remove(0).name, "team/shop:1.4");
            again[1].licences.clone_from(&components[1].licences);
        }
        assert_eq!(again, components);
        assert_eq!(document, written(&ours, format));
    }
    let document = written(&ours, Format::Cyclonedx);
    assert_eq!(
        document["metadata"]["component"]["purl"],
        "pkg:oci/shop@sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?repository_url=registry.example/team/shop"
    );
    assert_eq!(document["components"][1]["properties"][0]["value"], "a/b:c");
    let id = document["serialNumber"].as_str().unwrap();
    assert_ne!(
        id,
        written(&bill(Vec::new()), Format::Cyclonedx)["serialNumber"]
    );
}

#[test]
fn equal_names_get_references_of_their_own() {
    let one =
        json!({ "components": [{ "name": "x", "version": "1" }, { "name": "x", "version": "1" }] });
    let document = written(&bill(of(SbomFormat::CycloneDx, &one)), Format::Cyclonedx);
    assert_eq!(
        document["dependencies"][0]["dependsOn"],
        json!(["x@1", "x@1#2"])
    );
}

#[test]
fn other_tools_documents_are_understood() {
    let syft = json!({ "artifacts": [{ "name": "x", "version": "1", "purl": "", "type": "npm" }] });
    let found = of(SbomFormat::Syft, &syft);
    assert_eq!(
        (found[0].name.as_str(), found[0].purl.as_deref()),
        ("x", None)
    );
    let spdx = json!({
        "packages": [
            { "name": "a", "licenseDeclared": "LicenseRef-1", "checksums": [{ "algorithm": "SHA1", "checksumValue": "00" }] },
            { "name": "b", "licenseDeclared": "MIT AND LicenseRef-1" },
            { "name": "c", "licenseDeclared": "NOASSERTION" },
        ],
        "hasExtractedLicensingInfos": [{ "licenseId": "LicenseRef-1", "name": "Own" }],
    });
    let found = of(SbomFormat::Spdx, &spdx);
    assert_eq!(found[0].licences, [Licence::Name("Own".to_owned())]);
    assert_eq!(found[0].hashes, [("SHA-1".to_owned(), "00".to_owned())]);
    assert_eq!(
        found[1].licences,
        [Licence::Name("MIT AND LicenseRef-1".to_owned())]
    );
    assert_eq!(found[2].licences, []);
    documents::components(SbomFormat::CycloneDx, b"[1]", "x").unwrap_err();
}

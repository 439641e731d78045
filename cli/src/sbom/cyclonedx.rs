//! `CycloneDX` 1.5 as JSON.

use super::{Bill, Component, Kind, Licence};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn document(bill: &Bill) -> Value {
    let subject = &bill.subject;
    let mut image = json!({
        "type": "container",
        "bom-ref": "image",
        "name": subject.name,
    });
    if let Some(digest) = &subject.digest {
        image["version"] = digest.to_string().into();
    }
    if let Some(purl) = subject.purl() {
        image["purl"] = purl.into();
    }
    let mut taken = BTreeMap::from([("image".to_owned(), 1)]);
    let components: Vec<Value> = bill
        .components
        .iter()
        .map(|it| component(it, &mut taken))
        .collect();
    let references: Vec<&Value> = components.iter().map(|it| &it["bom-ref"]).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", bill.id()),
        "version": 1,
        "metadata": {
            "timestamp": subject.created,
            "tools": { "components": [{
                "type": "application",
                "name": "slugc",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
            "component": image,
        },
        "dependencies": [{ "ref": "image", "dependsOn": references }],
        "components": components,
    })
}

fn component(component: &Component, taken: &mut BTreeMap<String, usize>) -> Value {
    let wanted = component.purl.clone().unwrap_or_else(|| {
        let version = component.version.as_deref().unwrap_or_default();
        format!("{}@{version}", component.name)
    });
    let mut value = json!({
        "type": kind(component.kind),
        "bom-ref": unique(&wanted, taken),
        "name": component.name,
    });
    if let Some(version) = &component.version {
        value["version"] = version.clone().into();
    }
    if !component.hashes.is_empty() {
        let hashes = component.hashes.iter();
        value["hashes"] = hashes
            .map(|(algorithm, digest)| json!({ "alg": algorithm, "content": digest }))
            .collect();
    }
    if !component.licences.is_empty() {
        value["licenses"] = licences(&component.licences);
    }
    if let Some(cpe) = &component.cpe {
        value["cpe"] = cpe.clone().into();
    }
    if let Some(purl) = &component.purl {
        value["purl"] = purl.clone().into();
    }
    if let Some(layer) = &component.layer {
        value["properties"] = json!([{ "name": "io.buildpacks:layer", "value": layer }]);
    }
    value
}

/// The format has one expression, or any number of licences.
fn licences(licences: &[Licence]) -> Value {
    if let [Licence::Expression(expression)] = licences {
        return json!([{ "expression": expression }]);
    }
    let licences = licences.iter().map(|licence| match licence {
        Licence::Id(id) => json!({ "license": { "id": id } }),
        Licence::Expression(name) | Licence::Name(name) => json!({ "license": { "name": name } }),
    });
    licences.collect()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Library => "library",
        Kind::Application => "application",
        Kind::Framework => "framework",
        Kind::Platform => "platform",
        Kind::OperatingSystem => "operating-system",
        Kind::File => "file",
    }
}

fn unique(wanted: &str, taken: &mut BTreeMap<String, usize>) -> String {
    let mut chosen = wanted.to_owned();
    // From where the last one of this name went, so that many of them do not take for ever.
    let mut count = taken.get(wanted).copied().unwrap_or(0);
    while count > 0 && taken.contains_key(&chosen) {
        count += 1;
        chosen = format!("{wanted}#{count}");
    }
    taken.insert(wanted.to_owned(), count.max(1));
    taken.entry(chosen.clone()).or_insert(1);
    chosen
}

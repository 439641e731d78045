//! `CycloneDX` 1.5 as JSON.

use super::dist_info::Distribution;
use super::licence::Licence;
use super::{Bill, SbomError};
use serde_json::{Value, json};

pub(super) fn document(bill: &Bill) -> Result<Vec<u8>, SbomError> {
    let mut components = Vec::new();
    if let Some(python) = bill.python {
        let purl = format!("pkg:generic/python@{python}");
        components.push(json!({
            "type": "platform",
            "bom-ref": purl,
            "name": "python",
            "version": python.to_string(),
            "licenses": [{ "license": { "id": "Python-2.0.1" } }],
            "purl": purl,
        }));
    }
    components.extend(bill.distributions.iter().map(component));
    let document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", bill.id),
        "version": 1,
        "metadata": {
            "timestamp": bill.created,
            "tools": { "components": [{
                "type": "application",
                "name": "slugc-python",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
        },
        "components": components,
    });
    serde_json::to_vec_pretty(&document).map_err(SbomError::Write)
}

fn component(distribution: &Distribution) -> Value {
    let purl = distribution.purl();
    let reference = purl.clone().unwrap_or_else(|| {
        format!(
            "{}@{}",
            distribution.comparable_name(),
            distribution.version
        )
    });
    let mut component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": distribution.name,
        "version": distribution.version,
    });
    if let Some(sha256) = &distribution.sha256 {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sha256 }]);
    }
    if !distribution.licences.is_empty() {
        component["licenses"] = distribution.licences.iter().map(licence).collect();
    }
    if let Some(purl) = purl {
        component["purl"] = purl.into();
    }
    component
}

fn licence(licence: &Licence) -> Value {
    match licence {
        Licence::Id(id) => json!({ "license": { "id": id } }),
        Licence::Name(name) => json!({ "license": { "name": name } }),
        Licence::Expression(expression) => json!({ "expression": expression }),
    }
}

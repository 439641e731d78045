//! `CNB_REGISTRY_AUTH`: `{"registry.example": "Basic …"}` (buildpacks platform specification).

use std::collections::BTreeMap;

use oci_image::Reference;

use super::{Credentials, Found, KeychainError, canonical, json_problem};

const VARIABLE: &str = "CNB_REGISTRY_AUTH";

pub(super) fn find(value: &str, reference: &Reference) -> Result<Option<Found>, KeychainError> {
    if value.trim().is_empty() {
        return Ok(None);
    }
    let format = |problem: String| KeychainError::Format {
        origin: VARIABLE.to_owned(),
        problem,
    };
    let headers: BTreeMap<String, String> =
        serde_json::from_str(value).map_err(|error| format(json_problem(&error)))?;
    let wanted = canonical(reference.registry());
    let Some((_, header)) = headers
        .iter()
        .find(|(registry, _)| canonical(registry) == wanted)
    else {
        return Ok(None);
    };
    let (kind, secret) = header.trim().split_once(' ').unwrap_or_default();
    let sendable = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_graphic());
    let credentials = match kind.to_ascii_lowercase().as_str() {
        "basic" if sendable => super::decode_pair(secret),
        "bearer" if sendable => Some(Credentials::Header(format!("Bearer {secret}"))),
        // The lifecycle's own name for a refresh token.
        "x-identity" if sendable => Some(Credentials::IdentityToken(secret.to_owned())),
        _ => None,
    };
    let Some(credentials) = credentials else {
        return Err(format(format!(
            "the entry for {} is neither \"Basic BASE64\" nor \"Bearer TOKEN\" nor \"X-Identity TOKEN\"",
            reference.registry()
        )));
    };
    Ok(Some(Found {
        credentials,
        origin: VARIABLE.to_owned(),
    }))
}

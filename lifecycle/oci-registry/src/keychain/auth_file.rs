//! docker's `config.json` and podman's `auth.json`: one format, but podman's keys may also name repositories
//! (containers-auth.json(5)).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use oci_image::Reference;
use serde::Deserialize;

use super::{
    Credentials, Found, KeychainError, canonical, credential_program, decode_pair, json_problem,
};

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthFile {
    #[serde(default)]
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
    #[serde(default)]
    registrytoken: Option<String>,
}

pub(super) fn find(
    path: &Path,
    reference: &Reference,
    helper_path: &OsStr,
) -> Result<Option<Found>, KeychainError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(source) => {
            return Err(KeychainError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let origin = path.display().to_string();
    if text.trim().is_empty() {
        return Ok(None);
    }
    let format = |problem: String| KeychainError::Format {
        origin: origin.clone(),
        problem,
    };
    let file: AuthFile =
        serde_json::from_str(&text).map_err(|error| format(json_problem(&error)))?;
    let registry = canonical(reference.registry());

    let own_helper = file
        .cred_helpers
        .iter()
        .flatten()
        .find(|(key, _)| canonical(key) == registry)
        .map(|(_, name)| name.as_str());
    let store = file.creds_store.as_deref();
    for name in own_helper
        .into_iter()
        .chain(store)
        .filter(|name| !name.is_empty())
    {
        if let Some(found) =
            credential_program::ask(name, &server_url(&registry), helper_path, &origin)?
        {
            return Ok(Some(found));
        }
    }
    for key in keys(&registry, reference.repository()) {
        let entry = file
            .auths
            .iter()
            .flatten()
            .find(|(name, _)| canonical(name) == key);
        if let Some((_, entry)) = entry {
            let credentials = entry
                .credentials()
                .map_err(|problem| format(format!("the entry for {key} {problem}")))?;
            // An empty entry only says that a helper has the credentials.
            if let Some(credentials) = credentials {
                return Ok(Some(Found {
                    credentials,
                    origin,
                }));
            }
        }
    }
    Ok(None)
}

/// What docker calls a registry when it talks to helpers.
fn server_url(registry: &str) -> String {
    if registry == "docker.io" {
        "https://index.docker.io/v1/".to_owned()
    } else {
        registry.to_owned()
    }
}

/// `r/team/app`, `r/team`, `r`: the most specific first.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let mut key = format!("{registry}/{repository}");
    let mut keys = vec![key.clone()];
    while let Some((parent, _)) = key.rsplit_once('/') {
        key = parent.to_owned();
        keys.push(key.clone());
    }
    keys
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        if let Some(auth) = given(&self.auth) {
            return decode_pair(&auth)
                .map(Some)
                .ok_or("has an auth that is not user:password in base64");
        }
        match (given(&self.username), given(&self.password)) {
            (Some(username), Some(password)) => Ok(Some(Credentials::Basic { username, password })),
            _ => Ok(None),
        }
    }
}

//! Credentials for registries: given ones, `CNB_REGISTRY_AUTH`, docker's and podman's files, credential helpers.
//!
//! Nothing is looked for: the caller says which files there are and in which order they count.

mod auth_file;
mod cnb;
mod credential_program;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_image::Reference;

pub use credential_program::Helper;

/// Who one is to a registry. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password or access token.
    Basic {
        /// The user name.
        username: String,
        /// The password or access token.
        password: String,
    },
    /// A refresh token for the registry's token server (docker's `identitytoken`).
    IdentityToken(String),
    /// A token that the registry takes as it is (docker's `registrytoken`).
    RegistryToken(String),
    /// A whole `Authorization` header, as in `CNB_REGISTRY_AUTH`.
    Header(String),
}

impl Credentials {
    /// The `Authorization` header of basic authentication; `None` for tokens that are no password.
    pub(crate) fn basic(&self) -> Option<String> {
        match self {
            Self::Basic { username, password } => {
                Some(format!("Basic {}", encode_pair(username, password)))
            }
            Self::Header(header) => Some(header.clone()),
            Self::IdentityToken(_) | Self::RegistryToken(_) => None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Basic { .. } => "Basic",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
            Self::Header(_) => "Header",
        };
        write!(formatter, "{kind}(…)")
    }
}

/// Credentials and where they came from, which messages may tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The credentials.
    pub credentials: Credentials,
    /// A file, a helper, a variable, a flag.
    pub origin: String,
}

/// A place where credentials may be.
#[derive(Clone)]
pub enum Source {
    /// For one registry, as given on a command line.
    Given {
        /// The registry as references name it.
        registry: String,
        /// The credentials.
        credentials: Credentials,
        /// What to call this source in messages.
        origin: String,
    },
    /// The value of `CNB_REGISTRY_AUTH` (platform API, "Registry Authentication"): a JSON object of headers.
    CnbRegistryAuth(String),
    /// docker's `config.json` or podman's `auth.json`; it need not exist.
    File(PathBuf),
}

/// Sources in the order in which they count.
#[derive(Clone, Default)]
pub struct Keychain {
    /// Asked one after the other; the first that has something decides.
    pub sources: Vec<Source>,
    /// `PATH`, where the `docker-credential-*` programs are looked for.
    pub helper_path: OsString,
}

/// Why credentials could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// A file is there and cannot be read.
    #[error("could not read the credentials in {path}")]
    Read {
        /// The file.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A file or variable is not of its format. What is wrong is not quoted, as it may be a secret.
    #[error("could not understand the credentials in {origin}: {problem}")]
    Format {
        /// The file or variable.
        origin: String,
        /// What is wrong and where.
        problem: String,
    },
    /// A credential helper is named and not installed, or cannot be started.
    #[error("could not run the credential helper {program}, which {origin} names")]
    HelperStart {
        /// The program.
        program: String,
        /// The file that names it.
        origin: String,
        #[source]
        source: io::Error,
    },
    /// A credential helper failed.
    #[error("the credential helper {program}, which {origin} names, failed: {problem}")]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        origin: String,
        /// Its exit status or what was wrong with its answer.
        problem: String,
    },
}

impl Keychain {
    /// The credentials for an image's registry; `None` when no source has any.
    pub fn find(&self, reference: &Reference) -> Result<Option<Found>, KeychainError> {
        for source in &self.sources {
            let found = match source {
                Source::Given {
                    registry,
                    credentials,
                    origin,
                } => (canonical(registry) == canonical(reference.registry())).then(|| Found {
                    credentials: credentials.clone(),
                    origin: origin.clone(),
                }),
                Source::CnbRegistryAuth(value) => cnb::find(value, reference)?,
                Source::File(path) => auth_file::find(path, reference, &self.helper_path)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The names of Docker Hub, and addresses instead of hosts, made the same.
fn canonical(key: &str) -> String {
    let key = key.trim();
    let host = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = host.trim_end_matches('/');
    let host = host
        .strip_suffix("/v1")
        .or_else(|| host.strip_suffix("/v2"))
        .unwrap_or(host);
    match host {
        "index.docker.io" => "docker.io".to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// `user:password` in base64, as `auth` fields and basic authentication have it.
pub fn encode_pair(username: &str, password: &str) -> String {
    STANDARD.encode(format!("{username}:{password}"))
}

/// `user:password` from base64, as `auth` fields and basic authentication have it.
fn decode_pair(encoded: &str) -> Option<Credentials> {
    // Docker pads the decoded text with zeros.
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (username, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Credentials::Basic {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}

/// Where in a JSON text it is wrong, without quoting it.
fn json_problem(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a value has the wrong type",
        _ => "it is no JSON",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests;

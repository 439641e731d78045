//! What a request to a registry can end with: structured, and without secrets.

use std::fmt;
use std::time::Duration;

use oci_image::Digest;
use serde::Deserialize;
use ureq::http::StatusCode;

/// A request that failed for good: what was attempted, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("could not {operation} ({registry}{}{repository})", if .repository.is_empty() { "" } else { "/" })]
pub struct RequestError {
    /// The registry as the reference names it.
    pub registry: String,
    /// The repository inside it.
    pub repository: String,
    /// What was attempted: `upload the blob sha256:…`.
    pub operation: String,
    /// Why it failed.
    #[source]
    pub reason: Box<Reason>,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The registry refused.
    #[error("the registry answered {}{}", StatusText(*.status), Messages(.messages))]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the registry says about it.
        messages: Vec<RegistryMessage>,
        /// Where the credentials that were sent came from, if any were.
        credentials: Option<String>,
    },
    /// The registry has all that an image is made of, and refuses the tag (403).
    #[error("the registry answered {}{}", StatusText(403), Messages(.messages))]
    TagForbidden {
        /// What the registry says about it.
        messages: Vec<RegistryMessage>,
        /// Where the credentials that were sent came from, if any were.
        credentials: Option<String>,
    },
    /// There is a login, of a kind that the registry does not ask for.
    #[error(
        "the registry answered {}{}; {}", StatusText(*.status), Messages(.messages), Mismatch(.origin, *.takes_passwords)
    )]
    OtherLogin {
        /// The HTTP status.
        status: u16,
        /// What the registry says about it.
        messages: Vec<RegistryMessage>,
        /// Where the login came from.
        origin: String,
        /// Whether it asks for a user name and a password, and the login is a token.
        takes_passwords: bool,
    },
    /// The server that gives out tokens refused.
    #[error("the token server {server} answered {}{}", StatusText(*.status), Messages(.messages))]
    Token {
        /// Its address, without the query.
        server: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        messages: Vec<RegistryMessage>,
        /// Where the credentials that were sent came from, if any were.
        credentials: Option<String>,
    },
    /// Too many requests; the registry wants a longer pause than we are willing to make.
    #[error("the registry asks to wait {} seconds before the next request", .pause.as_secs())]
    RateLimited {
        /// The pause that it asked for.
        pause: Duration,
    },
    /// The server could not be reached, or the connection broke.
    #[error("no answer from {server}: {problem}")]
    Connection {
        /// Scheme, host and port.
        server: String,
        /// What happened.
        problem: String,
    },
    /// The server's certificate, or its lack of encryption, is not acceptable.
    #[error("no secure connection to {server}: {problem}")]
    Tls {
        /// Scheme, host and port.
        server: String,
        /// What happened.
        problem: String,
    },
    /// A redirection or upload address that is not followed.
    #[error("the registry sends to {to}: {why}")]
    Redirect {
        /// The address, without the query.
        to: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry does not keep to the protocol.
    #[error("the registry's answer makes no sense: {what}")]
    Protocol {
        /// What is wrong.
        what: String,
    },
    /// What was received is not what its digest says.
    #[error("the registry sent wrong content for {expected}: {problem}")]
    WrongContent {
        /// The digest asked for.
        expected: Digest,
        /// What was received instead.
        problem: String,
    },
    /// The registry says it stored something else than was sent.
    #[error("the registry stored {stored} instead of {expected}")]
    StoredOther {
        /// What was sent.
        expected: Digest,
        /// What it says it has.
        stored: String,
    },
    /// Another request of the same operation failed, so this one was given up.
    #[error("given up because another transfer failed")]
    Cancelled,
}

/// One entry of a registry's error document (distribution-spec, "Error Codes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMessage {
    /// `DENIED`, `MANIFEST_INVALID`, …; empty when the answer was no such document.
    pub code: String,
    /// Free text, cut when long.
    pub message: String,
}

impl RequestError {
    /// The HTTP status, when the registry or its token server answered with one.
    pub fn status(&self) -> Option<u16> {
        match &*self.reason {
            Reason::Status { status, .. }
            | Reason::Token { status, .. }
            | Reason::OtherLogin { status, .. } => Some(*status),
            Reason::TagForbidden { .. } => Some(403),
            _ => None,
        }
    }

    /// The same failure of the request that was to give an image its tag.
    pub(crate) fn of_a_tag(self) -> Self {
        let reason = match *self.reason {
            Reason::Status {
                status: 403,
                messages,
                credentials,
            } => Reason::TagForbidden {
                messages,
                credentials,
            },
            other => other,
        };
        Self {
            reason: Box::new(reason),
            ..self
        }
    }

    /// What the user can do about it.
    pub fn advice(&self) -> Option<String> {
        let registry = &self.registry;
        Some(match &*self.reason {
            Reason::Status { status: 401, credentials, .. } | Reason::Token { status: 400 | 401 | 403, credentials, .. } => {
                match credentials {
                    Some(origin) => format!("the credentials from {origin} were refused: log in to {registry} again"),
                    None => format!("no credentials for {registry} were found: log in: slugc login {registry}"),
                }
            }
            // Registries that guard tags say no more than this.
            Reason::TagForbidden { credentials, .. } => {
                let refused = "the registry has the layers and refused the name: where tags may not be overwritten, push under another tag; else";
                match credentials {
                    Some(origin) => format!("{refused} the account whose credentials came from {origin} may not push here"),
                    None => format!("{refused} log in: slugc login {registry}"),
                }
            }
            Reason::OtherLogin { takes_passwords: true, .. } => {
                format!("log in with a user name and a password: slugc login {registry}")
            }
            Reason::Status { status: 403, credentials, .. } => match credentials {
                Some(origin) => format!(
                    "the account whose credentials came from {origin} may not do this in {}: ask for the right, or name another repository",
                    self.repository
                ),
                None => format!("log in: slugc login {registry}"),
            },
            Reason::Status { status: 404, .. } => {
                "check the spelling of the repository and the tag; some registries need the repository made first, and some hide what one may not see".to_owned()
            }
            Reason::Status { status: 413, .. } => {
                "a proxy in front of the registry limits the size of uploads: ask for a higher limit".to_owned()
            }
            Reason::Status { status: 429, .. } | Reason::RateLimited { .. } => {
                format!("wait, or log in to {registry}: accounts mostly have higher limits")
            }
            Reason::Status { status, .. } if *status >= 500 => {
                "the registry has a problem of its own: try again later".to_owned()
            }
            Reason::Connection { .. } => "check the network, the registry's name and port, and the proxy settings".to_owned(),
            Reason::Tls { .. } => format!(
                "give this machine the registry's certificate authority (--ca-file FILE, SSL_CERT_FILE), or, if it speaks plain http in a network you trust, name it with --insecure-registry {registry}"
            ),
            Reason::WrongContent { .. } => {
                "the registry or something in between is broken: try again, and tell its operator if it stays".to_owned()
            }
            _ => return None,
        })
    }
}

struct StatusText(u16);

impl fmt::Display for StatusText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let name = StatusCode::from_u16(self.0)
            .ok()
            .and_then(|status| status.canonical_reason());
        match name {
            Some(name) => write!(formatter, " {name}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with a login from here.
struct Mismatch<'a>(&'a str, bool);

impl fmt::Display for Mismatch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(origin, takes_passwords) = self;
        if *takes_passwords {
            write!(
                formatter,
                "the credentials from {origin} are a token, and the registry takes passwords only"
            )
        } else {
            write!(
                formatter,
                "it asks for neither basic nor bearer authentication, so that the credentials from {origin} cannot be used"
            )
        }
    }
}

struct Messages<'a>(&'a [RegistryMessage]);

impl fmt::Display for Messages<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, RegistryMessage { code, message }) in self.0.iter().enumerate() {
            formatter.write_str(if position == 0 { ": " } else { "; " })?;
            match (code.is_empty(), message.is_empty()) {
                (true, _) => formatter.write_str(message)?,
                (false, true) => formatter.write_str(code)?,
                (false, false) => write!(formatter, "{code} ({message})")?,
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct ErrorDocument {
    #[serde(default)]
    errors: Vec<ErrorEntry>,
    /// Token servers and some gateways say it flat.
    #[serde(default)]
    error: Option<serde_json::Value>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    details: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

const MOST_MESSAGES: usize = 4;
const MOST_CHARACTERS: usize = 300;

/// What an error's body says: the specification's document, a flat one, a line of text; nothing of an HTML page but
/// its title.
pub(crate) fn messages(body: &[u8]) -> Vec<RegistryMessage> {
    let plain = |message: &str| {
        let message = readable(message);
        if message.is_empty() {
            Vec::new()
        } else {
            vec![RegistryMessage {
                code: String::new(),
                message,
            }]
        }
    };
    if let Ok(document) = serde_json::from_slice::<ErrorDocument>(body) {
        if !document.errors.is_empty() {
            let message = |entry: ErrorEntry| RegistryMessage {
                code: readable(&entry.code.unwrap_or_default()),
                message: readable(&entry.message.unwrap_or_default()),
            };
            return document
                .errors
                .into_iter()
                .take(MOST_MESSAGES)
                .map(message)
                .collect();
        }
        let text = |value: Option<serde_json::Value>| {
            value.and_then(|value| value.as_str().map(str::to_owned))
        };
        let flat = document
            .message
            .or_else(|| text(document.details))
            .or_else(|| text(document.error));
        return plain(&flat.unwrap_or_default());
    }
    let text = String::from_utf8_lossy(body);
    let lower = text.to_ascii_lowercase();
    if lower.contains("<html") || lower.trim_start().starts_with("<!doctype") {
        let title = lower.find("<title>").zip(lower.find("</title>"));
        return match title {
            Some((start, end)) if start + 7 <= end => {
                plain(text.get(start + 7..end).unwrap_or_default())
            }
            _ => Vec::new(),
        };
    }
    plain(&text)
}

/// One line without control characters, which a terminal would obey.
fn readable(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        Messages(&messages(body.as_bytes())).to_string()
    }

    #[test]
    fn bodies_of_errors() {
        for (body, text) in [
            (
                r#"{"errors":[{"code":"DENIED","message":"no\nway","detail":{"a":1}}]}"#,
                ": DENIED (no way)",
            ),
            (r#"{"errors":[{"code":"A"},{"message":"b"}]}"#, ": A; b"),
            (
                r#"{"details":"incorrect username or password"}"#,
                ": incorrect username or password",
            ),
            (r#"{"error":"invalid_grant"}"#, ": invalid_grant"),
            ("Too Many Requests\n", ": Too Many Requests"),
            (
                "<html><head><title>413 Request Entity Too Large</title></head>",
                ": 413 Request Entity Too Large",
            ),
            ("<!DOCTYPE html><body>long</body>", ""),
            ("", ""),
            ("\u{1b}[31mred", ": [31mred"),
        ] {
            assert_eq!(shown(body), text, "{body}");
        }
        assert_eq!(
            shown(&"x".repeat(5000)).chars().count(),
            2 + MOST_CHARACTERS + 1
        );
    }

    #[test]
    fn advice_names_where_credentials_came_from() {
        let error = RequestError {
            registry: "r.example".to_owned(),
            repository: "team/app".to_owned(),
            operation: "upload the manifest".to_owned(),
            reason: Box::new(Reason::Status {
                status: 401,
                messages: Vec::new(),
                credentials: Some("/home/me/.docker/config.json".to_owned()),
            }),
        };
        assert_eq!(
            error.to_string(),
            "could not upload the manifest (r.example/team/app)"
        );
        assert_eq!(
            error.reason.to_string(),
            "the registry answered 401 Unauthorized"
        );
        assert_eq!(
            error.advice().as_deref(),
            Some(
                "the credentials from /home/me/.docker/config.json were refused: log in to r.example again"
            )
        );
    }
}

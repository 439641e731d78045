//! Challenges of registries (RFC 9110 §11.6.1) and the tokens they ask for (distribution's `spec/auth/token.md`).

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use ureq::http::{HeaderMap, Method, header};

use crate::keychain::{Credentials, Found};
use crate::transport::error::{Reason, messages};
use crate::transport::exchange::{Body, Exchange, Failed, Wire, read_small};
use crate::transport::retry;
use crate::transport::url::{Url, encode};

/// How the registry wants requests to be authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
}

/// A registry's challenge, the credentials for it and the tokens got so far, one for each set of scopes.
pub(crate) struct Authentication {
    credentials: Option<Found>,
    challenge: Option<Challenge>,
    tokens: HashMap<Vec<String>, String>,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authentication")
            .field("credentials", &self.credentials)
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenDocument {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Authentication {
    pub(crate) fn new(credentials: Option<Found>) -> Self {
        Self {
            credentials,
            challenge: None,
            tokens: HashMap::new(),
        }
    }

    /// Where the credentials came from.
    pub(crate) fn origin(&self) -> Option<String> {
        self.credentials.as_ref().map(|found| found.origin.clone())
    }

    pub(crate) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Whether the registry asks for a user name and a password.
    pub(crate) fn takes_passwords(&self) -> bool {
        self.challenge == Some(Challenge::Basic)
    }

    pub(crate) fn set_challenge(&mut self, challenge: Challenge) {
        self.challenge = Some(challenge);
    }

    /// The `Authorization` for requests that need these scopes; nothing before the registry asked for any.
    pub(crate) fn header(
        &mut self,
        wire: &Wire,
        home: &Url,
        scopes: &[String],
    ) -> Result<Option<String>, Failed> {
        let credentials = self.credentials.as_ref().map(|found| &found.credentials);
        match (&self.challenge, credentials) {
            (Some(_), Some(Credentials::Header(value))) => Ok(Some(value.clone())),
            (Some(Challenge::Basic), Some(credentials)) => Ok(credentials.basic()),
            (None, _) | (Some(Challenge::Basic), None) => Ok(None),
            (Some(Challenge::Bearer { .. }), Some(Credentials::RegistryToken(token))) => {
                Ok(Some(format!("Bearer {token}")))
            }
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                if let Some(token) = self.tokens.get(scopes) {
                    return Ok(Some(format!("Bearer {token}")));
                }
                let origin = self.credentials.as_ref().map(|found| found.origin.clone());
                let token = fetch_token(
                    wire,
                    home,
                    realm,
                    service.as_deref(),
                    scopes,
                    credentials,
                    origin,
                )?;
                let value = format!("Bearer {token}");
                self.tokens.insert(scopes.to_vec(), token);
                Ok(Some(value))
            }
        }
    }

    /// Takes note of a 401. Returns whether another try can end differently: with a fresh token, or with credentials
    /// that the refused request did not have.
    pub(crate) fn challenged(
        &mut self,
        headers: &HeaderMap,
        scopes: &[String],
        sent: Option<&str>,
    ) -> bool {
        let Some(challenge) = strongest(headers) else {
            return false;
        };
        let usable = match challenge {
            Challenge::Basic => {
                let credentials = self.credentials.as_ref();
                sent.is_none() && credentials.is_some_and(|it| it.credentials.basic().is_some())
            }
            Challenge::Bearer { .. } => true,
        };
        self.challenge = Some(challenge);
        // Another thread may have replaced the refused token already.
        if self
            .tokens
            .get(scopes)
            .is_some_and(|token| sent == Some(&format!("Bearer {token}")))
        {
            self.tokens.remove(scopes);
        }
        usable
    }
}

fn fetch_token(
    wire: &Wire,
    home: &Url,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credentials: Option<&Credentials>,
    origin: Option<String>,
) -> Result<String, Failed> {
    let realm = home.join(realm).ok_or_else(|| {
        Failed::protocol(format!("its challenge names {realm:?} as token server"))
    })?;
    let realm = wire.destination(home, home, realm)?;
    let mut headers = vec![(header::ACCEPT, "application/json".to_owned())];
    let form;
    let (method, url, body, authorization) =
        if let Some(Credentials::IdentityToken(token)) = credentials {
            let scope = scopes.join(" ");
            form = [
                ("grant_type", "refresh_token"),
                ("client_id", "slugc"),
                ("service", service.unwrap_or_default()),
                ("scope", &scope),
                ("refresh_token", token),
            ]
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .join("&");
            headers.push((
                header::CONTENT_TYPE,
                "application/x-www-form-urlencoded".to_owned(),
            ));
            (
                Method::POST,
                realm.clone(),
                Body::Bytes(form.as_bytes()),
                None,
            )
        } else {
            let mut url = realm.clone();
            if let Some(service) = service {
                url = url.with_query("service", service);
            }
            for scope in scopes {
                url = url.with_query("scope", scope);
            }
            (
                Method::GET,
                url,
                Body::None,
                credentials.and_then(Credentials::basic),
            )
        };
    let exchange = Exchange {
        method,
        headers: &headers,
        body,
        receives: 0,
    };
    let (mut response, _) = wire.follow(home, &url, &exchange, |to| {
        authorization.clone().filter(|_| to.same_origin(&realm))
    })?;
    let status = response.status();
    let body = read_small(&mut response);
    if !status.is_success() {
        return Err(Failed {
            temporary: retry::is_temporary(status),
            after: retry::retry_after(response.headers()),
            reason: Reason::Token {
                server: realm.to_string(),
                status: status.as_u16(),
                messages: messages(&body),
                credentials: origin,
            },
        });
    }
    serde_json::from_slice::<TokenDocument>(&body)
        .ok()
        .and_then(|document| document.token.or(document.access_token))
        // What is no visible ASCII could not be sent in a header.
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| Failed::protocol(format!("the token server {realm} sent no token")))
}

/// The challenge to answer: bearer before basic, as a registry that offers both means the second for its own pages.
pub(crate) fn strongest(headers: &HeaderMap) -> Option<Challenge> {
    let mut found = None;
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        for (scheme, parameters) in parse(value.to_str().unwrap_or_default()) {
            let parameter = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = parameter("realm") {
                    return Some(Challenge::Bearer {
                        realm,
                        service: parameter("service"),
                    });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// The challenges in one header: `Bearer realm="…",service="…", Basic realm="…"`.
fn parse(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after
            .trim_start()
            .strip_prefix('=')
            .filter(|_| !challenges.is_empty())
        {
            let (value, after) = parameter_value(value.trim_start());
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_owned(), value));
            }
            rest = after;
        } else {
            challenges.push((word.to_owned(), Vec::new()));
            rest = after.trim_start_matches('=');
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    challenges
}

fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::WWW_AUTHENTICATE, value.parse().unwrap());
        }
        strongest(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read() {
        for (values, expected) in [
            (
                &[r#"Bearer realm="https://a/t",service="r, s",scope="repository:a:pull,push""#][..],
                Some(bearer("https://a/t", Some("r, s"))),
            ),
            (
                &[r#"bearer service=x , realm="a\"b""#],
                Some(bearer("a\"b", Some("x"))),
            ),
            (
                &[r#"Basic realm="x", Bearer realm="https://a/t""#],
                Some(bearer("https://a/t", None)),
            ),
            (
                &[r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#],
                Some(bearer("https://a/t", None)),
            ),
            (&[r#"Basic realm="unclosed"#], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            (&["Negotiate", "Bearer"], None),
            (&["", "=,=", "a=b"], None),
            (&[], None),
        ] {
            assert_eq!(challenge(values), expected, "{values:?}");
        }
    }
}

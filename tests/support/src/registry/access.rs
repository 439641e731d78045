//! Who may do what: basic authentication, and tokens (distribution's `spec/auth/token.md`).

use super::profile::Auth;
use super::server::{Request, Response, pairs};
use super::{BASIC, REFRESH, State, refuse};

impl State {
    pub(super) fn refuses_access(&self, request: &Request) -> Option<Response> {
        if request.path() == "/token" || request.is_elsewhere() {
            return None;
        }
        let sent = request.header("authorization");
        let challenge = match self.profile().auth {
            Auth::Open => return None,
            Auth::Basic if sent == Some(BASIC) => return None,
            Auth::Basic => r#"Basic realm="test""#.to_owned(),
            Auth::Token => {
                let repository = request.path().strip_prefix("/v2/").and_then(|path| {
                    let path = path.split("/blobs/").next()?;
                    path.split("/manifests/")
                        .next()?
                        .split("/referrers/")
                        .next()
                });
                let actions = if ["GET", "HEAD"].contains(&request.method.as_str()) {
                    "pull"
                } else {
                    "push"
                };
                let mut needed = vec![(repository.unwrap_or_default().to_owned(), actions)];
                needed.extend(request.query("from").map(|from| (from, "pull")));
                let scopes = sent
                    .and_then(|sent| sent.strip_prefix("Bearer token|"))
                    .unwrap_or_default();
                let has = |repository: &str, action: &str| {
                    scopes.split('|').any(|scope| {
                        scope
                            .strip_prefix(&format!("repository:{repository}:"))
                            .is_some_and(|actions| actions.split(',').any(|given| given == action))
                    })
                };
                if request.path() != "/v2/"
                    && needed
                        .iter()
                        .all(|(repository, action)| has(repository, action))
                {
                    return None;
                }
                format!(
                    r#"Bearer realm="http://{}/token",service="test registry",scope="whatever""#,
                    request.header("host").unwrap()
                )
            }
        };
        Some(refuse(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge))
    }
}

/// Gives anyone a token to pull, and Ann one to do what she asks for. The token is its scopes.
pub(super) fn token(request: &Request, body: &[u8]) -> Response {
    let form = pairs(std::str::from_utf8(body).unwrap());
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let refreshed = field("refresh_token").as_deref() == Some(REFRESH);
    let service = request.query("service").or_else(|| field("service"));
    let scopes = if request.method == "POST" {
        field("scope")
            .unwrap_or_default()
            .split(' ')
            .map(str::to_owned)
            .collect()
    } else {
        request.queries("scope")
    };
    match request.header("authorization") {
        Some(BASIC) => {}
        None if refreshed => {}
        None if request.method == "GET" && scopes.iter().all(|scope| scope.ends_with(":pull")) => {}
        _ => return Response::new(401).body(r#"{"details":"incorrect username or password"}"#),
    }
    if service.as_deref() != Some("test registry") {
        return Response::new(400).body("{}");
    }
    let name = if refreshed { "access_token" } else { "token" };
    Response::new(200).body(format!(r#"{{"{name}":"token|{}"}}"#, scopes.join("|")))
}

//! A registry in this process that keeps to the distribution specification except where its profile says otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oci_image::Digest;

use crate::http::{Plan, Request, Response, Server, Service, pairs};

/// base64 of `ann:pw`.
pub(crate) const BASIC: &str = "Basic YW5uOnB3";
/// The refresh token that the token server takes.
pub(crate) const REFRESH: &str = "refresh-me";

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    #[default]
    Open,
    Basic,
    Token,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    #[default]
    Mounts,
    /// Opens an upload session instead.
    Session,
    /// Docker Hub's answer to a repository of someone else.
    Refuses,
}

/// How the registry departs from a friendly one. Numbers count down: so many requests are affected.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) auth: Auth,
    pub(crate) mount: Mount,
    /// Upload addresses are relative and carry state in their query.
    pub(crate) relative_location: bool,
    /// Upload addresses are at this host instead.
    pub(crate) upload_host: Option<String>,
    /// Bodies that are longer get a proxy's 413.
    pub(crate) largest_body: Option<usize>,
    /// PUT requests get a 429 with this `Retry-After`.
    pub(crate) busy: AtomicUsize,
    pub(crate) retry_after: u64,
    /// The connection breaks in the middle of a PUT.
    pub(crate) dropped_uploads: AtomicUsize,
    /// The connection breaks in the middle of a blob's GET.
    pub(crate) cut_downloads: AtomicUsize,
    pub(crate) ignores_ranges: bool,
    /// Blobs are got at this address, with their digest appended.
    pub(crate) blobs_at: Option<String>,
    /// Blobs of this length arrive with a flipped bit.
    pub(crate) corrupts: Option<usize>,
    /// Manifests arrive with a space more than their digest says.
    pub(crate) lies_about_manifests: bool,
    /// Every request for a manifest gets this page.
    pub(crate) page: Option<(u16, &'static str)>,
    /// Knows the referrers API and gives so many entries at once.
    pub(crate) referrers: Option<usize>,
    /// GET requests of blobs get no answer for so long.
    pub(crate) stalls: Option<Duration>,
}

#[derive(Default)]
struct Content {
    blobs: HashMap<(String, Digest), Vec<u8>>,
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    uploads: HashMap<String, Vec<u8>>,
    log: Vec<Request>,
}

struct State {
    profile: Profile,
    content: Mutex<Content>,
}

/// The running registry.
pub(crate) struct Registry {
    server: Server,
    state: Arc<State>,
}

impl Registry {
    pub(crate) fn start(profile: Profile) -> Self {
        let state = Arc::new(State {
            profile,
            content: Mutex::default(),
        });
        Self {
            server: Server::start(Arc::clone(&state)),
            state,
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn host(&self) -> String {
        self.server.address.to_string()
    }

    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let mut content = self.state.content.lock().unwrap();
        content
            .blobs
            .insert((repository.to_owned(), Digest::of(bytes)), bytes.to_vec());
    }

    pub(crate) fn put_manifest(
        &self,
        repository: &str,
        name: &str,
        media_type: &str,
        bytes: &[u8],
    ) {
        let mut content = self.state.content.lock().unwrap();
        for name in [name.to_owned(), Digest::of(bytes).to_string()] {
            let manifest = (media_type.to_owned(), bytes.to_vec());
            content
                .manifests
                .insert((repository.to_owned(), name), manifest);
        }
    }

    pub(crate) fn blob(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        self.state
            .content
            .lock()
            .unwrap()
            .blobs
            .get(&(repository.to_owned(), digest))
            .cloned()
    }

    pub(crate) fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        self.state
            .content
            .lock()
            .unwrap()
            .manifests
            .get(&(repository.to_owned(), name.to_owned()))
            .cloned()
    }

    /// The tags of a repository.
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let content = self.state.content.lock().unwrap();
        let names = content.manifests.keys();
        let mut tags: Vec<String> = names
            .filter(|(of, name)| of == repository && !name.starts_with("sha256:"))
            .map(|(_, name)| name.clone())
            .collect();
        tags.sort();
        tags
    }

    /// The requests so far.
    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.content.lock().unwrap().log.clone()
    }

    /// The requests with this method whose target contains `part`.
    pub(crate) fn requests(&self, method: &str, part: &str) -> Vec<Request> {
        let matches = |request: &Request| request.method == method && request.target.contains(part);
        self.log().into_iter().filter(matches).collect()
    }

    pub(crate) fn forget_log(&self) {
        self.state.content.lock().unwrap().log.clear();
    }
}

/// Takes one off; false when there is none left.
fn take(counter: &AtomicUsize) -> bool {
    counter
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

fn refuse(status: u16, code: &str) -> Response {
    Response::new(status).body(format!(
        r#"{{"errors":[{{"code":"{code}","message":"told so"}}]}}"#
    ))
}

impl Service for State {
    fn plan(&self, request: &Request) -> Plan {
        self.content.lock().unwrap().log.push(request.clone());
        let profile = &self.profile;
        if let Some(refused) = self.refuses_access(request) {
            return Plan::Refuse(refused);
        }
        let length: usize = request
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        if profile.largest_body.is_some_and(|largest| length > largest) {
            let page = "<html><head><title>413 Request Entity Too Large</title></head></html>";
            return Plan::Refuse(Response::new(413).body(page));
        }
        if request.method == "PUT" && take(&profile.busy) {
            let busy = Response::new(429)
                .with("Retry-After", profile.retry_after)
                .body("toomanyrequests\n");
            return Plan::Refuse(busy);
        }
        if request.method == "PUT" && length > 0 && take(&profile.dropped_uploads) {
            return Plan::Drop(length / 2);
        }
        if request.method == "GET"
            && request.path().contains("/blobs/")
            && let Some(pause) = profile.stalls
        {
            return Plan::Stall(pause);
        }
        Plan::Accept
    }

    fn answer(&self, request: &Request, body: &[u8]) -> Response {
        if request.path() == "/token" {
            return token(request, body);
        }
        let Some(path) = request.path().strip_prefix("/v2/") else {
            return Response::new(404).body("<html>not here</html>");
        };
        if path.is_empty() {
            return Response::new(200).body("{}");
        }
        if let Some((repository, upload)) = path.split_once("/blobs/uploads/") {
            self.upload(request, repository, upload, body)
        } else if let Some((repository, digest)) = path.split_once("/blobs/") {
            self.blob(request, repository, digest)
        } else if let Some((repository, name)) = path.split_once("/manifests/") {
            self.manifest(request, repository, name, body)
        } else if let Some((repository, subject)) = path.split_once("/referrers/") {
            self.referrers(request, repository, subject)
        } else {
            Response::new(404)
        }
    }
}

impl State {
    fn refuses_access(&self, request: &Request) -> Option<Response> {
        if request.path() == "/token" {
            return None;
        }
        let sent = request.header("authorization");
        let challenge = match self.profile.auth {
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

    fn upload(&self, request: &Request, repository: &str, upload: &str, body: &[u8]) -> Response {
        let mut content = self.content.lock().unwrap();
        let location = |id: &str| {
            let path = format!("/v2/{repository}/blobs/uploads/{id}");
            if self.profile.relative_location {
                return format!("{path}?_state=a%2Fb");
            }
            let own = request.header("host").unwrap().to_owned();
            format!(
                "http://{}{path}",
                self.profile.upload_host.clone().unwrap_or(own)
            )
        };
        match request.method.as_str() {
            "POST" => {
                if let (Some(digest), Some(from)) = (request.query("mount"), request.query("from"))
                {
                    let digest: Digest = digest.parse().unwrap();
                    let found = content.blobs.get(&(from, digest)).cloned();
                    match (self.profile.mount, found) {
                        (Mount::Mounts, Some(bytes)) => {
                            content.blobs.insert((repository.to_owned(), digest), bytes);
                            return Response::new(201).with("Docker-Content-Digest", digest);
                        }
                        (Mount::Refuses, _) => return refuse(403, "DENIED"),
                        _ => {}
                    }
                }
                let id = format!("u{}", content.log.len());
                content.uploads.insert(id.clone(), Vec::new());
                Response::new(202).with("Location", location(&id))
            }
            "PATCH" => {
                let Some(received) = content.uploads.get_mut(upload) else {
                    return refuse(404, "BLOB_UPLOAD_UNKNOWN");
                };
                let range = request.header("content-range").unwrap();
                if range != format!("{}-{}", received.len(), received.len() + body.len() - 1) {
                    return refuse(416, "RANGE_INVALID");
                }
                received.extend_from_slice(body);
                Response::new(202)
                    .with("Location", location(upload))
                    .with("Range", "0-0")
            }
            "PUT" => {
                if self.profile.relative_location
                    && request.query("_state").as_deref() != Some("a/b")
                {
                    return refuse(400, "BLOB_UPLOAD_INVALID");
                }
                // Another host's registry sends its clients here.
                let mut bytes = content.uploads.remove(upload).unwrap_or_default();
                bytes.extend_from_slice(body);
                let digest = Digest::of(&bytes);
                if request.query("digest") != Some(digest.to_string()) {
                    return refuse(400, "DIGEST_INVALID");
                }
                content.blobs.insert((repository.to_owned(), digest), bytes);
                Response::new(201).with("Docker-Content-Digest", digest)
            }
            _ => Response::new(405),
        }
    }

    fn blob(&self, request: &Request, repository: &str, digest: &str) -> Response {
        let content = self.content.lock().unwrap();
        let Some(bytes) = content
            .blobs
            .get(&(repository.to_owned(), digest.parse().unwrap()))
        else {
            return refuse(404, "BLOB_UNKNOWN");
        };
        if let Some(elsewhere) = &self.profile.blobs_at
            && request.method == "GET"
        {
            return Response::new(307)
                .with("Location", format!("{elsewhere}{digest}?signature=s3cret"));
        }
        let mut bytes = bytes.clone();
        if self.profile.corrupts == Some(bytes.len()) {
            bytes[0] ^= 1;
        }
        let mut response = Response::new(200);
        let range = request
            .header("range")
            .filter(|_| !self.profile.ignores_ranges);
        if let Some(start) = range.and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        }) {
            let end = bytes.len();
            response = Response::new(206)
                .with("Content-Range", format!("bytes {start}-{}/{end}", end - 1));
            bytes.drain(..start);
        }
        if request.method == "GET" && take(&self.profile.cut_downloads) {
            response.cut = Some(bytes.len() / 2);
        }
        response.body(bytes)
    }

    fn manifest(&self, request: &Request, repository: &str, name: &str, body: &[u8]) -> Response {
        if let Some((status, page)) = self.profile.page {
            return Response::new(status).body(page);
        }
        let mut content = self.content.lock().unwrap();
        let digest = Digest::of(body);
        if request.method == "PUT" {
            let media_type = request.header("content-type").unwrap().to_owned();
            let manifest: serde_json::Value = serde_json::from_slice(body).unwrap();
            let named = [manifest["config"].clone()]
                .into_iter()
                .chain(manifest["layers"].as_array().cloned().unwrap_or_default());
            for blob in named.filter(|blob| !blob.is_null()) {
                let digest = blob["digest"].as_str().unwrap().parse().unwrap();
                if !content.blobs.contains_key(&(repository.to_owned(), digest)) {
                    return refuse(404, "MANIFEST_BLOB_UNKNOWN");
                }
            }
            for name in [name.to_owned(), digest.to_string()] {
                content.manifests.insert(
                    (repository.to_owned(), name),
                    (media_type.clone(), body.to_vec()),
                );
            }
            return Response::new(201).with("Docker-Content-Digest", digest);
        }
        let Some((media_type, bytes)) = content
            .manifests
            .get(&(repository.to_owned(), name.to_owned()))
        else {
            return refuse(404, "MANIFEST_UNKNOWN");
        };
        let mut sent = bytes.clone();
        if self.profile.lies_about_manifests {
            sent.push(b' ');
        }
        Response::new(200)
            .with("Content-Type", media_type)
            .with("Docker-Content-Digest", Digest::of(bytes))
            .body(sent)
    }
}

impl State {
    fn referrers(&self, request: &Request, repository: &str, subject: &str) -> Response {
        let Some(most) = self.profile.referrers else {
            return Response::new(404).body("404 page not found");
        };
        let content = self.content.lock().unwrap();
        let mut found = std::collections::BTreeMap::new();
        for ((place, _), (media_type, bytes)) in &content.manifests {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            if place == repository && manifest["subject"]["digest"] == subject {
                let digest = Digest::of(bytes).to_string();
                let entry = serde_json::json!({
                    "mediaType": media_type, "digest": digest, "size": bytes.len(),
                    "artifactType": manifest["artifactType"],
                });
                found.insert(digest, entry);
            }
        }
        let after = request.query("last").unwrap_or_default();
        let rest: Vec<_> = found
            .into_iter()
            .filter(|(digest, _)| *digest > after)
            .collect();
        let page: Vec<_> = rest.iter().take(most).map(|(_, entry)| entry).collect();
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page });
        let response = Response::new(200)
            .with("Content-Type", INDEX)
            .body(index.to_string());
        match rest.get(most.wrapping_sub(1)) {
            Some((last, _)) if rest.len() > most => response.with(
                "Link",
                format!(
                    "</v2/{repository}/referrers/{subject}?n={most}&last={last}>; rel=\"next\""
                ),
            ),
            _ => response,
        }
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Gives anyone a token to pull, and Ann one to do what she asks for. The token is its scopes.
fn token(request: &Request, body: &[u8]) -> Response {
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

//! A registry in this process that keeps to the distribution specification except where its profile says otherwise.

#![expect(
    clippy::unwrap_used,
    reason = "a registry that cannot go on is to fail the test"
)]

mod access;
mod listing;
mod profile;
mod server;
mod service;

pub use profile::{Auth, Fault, Mount, Profile};
pub use server::{Request, Response};

use oci_image::Digest;
use server::Server;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

/// base64 of `ann:pw`.
pub const BASIC: &str = "Basic YW5uOnB3";
/// The refresh token that the token server takes.
pub const REFRESH: &str = "refresh-me";

#[derive(Default)]
struct Content {
    blobs: HashMap<(String, Digest), Vec<u8>>,
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    uploads: HashMap<String, Vec<u8>>,
    /// Uploads that were ever begun: their ids.
    begun: usize,
    log: Vec<Request>,
}

struct State {
    profile: Mutex<Arc<Profile>>,
    content: Mutex<Content>,
}

/// The running registry.
pub struct Registry {
    server: Server,
    state: Arc<State>,
}

impl State {
    fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.profile.lock().unwrap())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.host())
    }
}

impl Registry {
    /// One with nothing in it.
    pub fn start(profile: Profile) -> Self {
        let state = Arc::new(State {
            profile: Mutex::new(Arc::new(profile)),
            content: Mutex::default(),
        });
        Self {
            server: Server::start(Arc::clone(&state)),
            state,
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.server.address.to_string()
    }

    /// From now on it is another one.
    pub fn becomes(&self, profile: Profile) {
        *self.state.profile.lock().unwrap() = Arc::new(profile);
    }

    /// The faults of the present profile that no request has met.
    pub fn unmet_faults(&self) -> Vec<String> {
        let profile = self.state.profile();
        let unmet = profile.faults.iter().filter(|fault| !fault.was_met());
        unmet.map(|fault| format!("{fault:?}")).collect()
    }

    /// Has it hold a blob.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let mut content = self.state.content.lock().unwrap();
        content
            .blobs
            .insert((repository.to_owned(), Digest::of(bytes)), bytes.to_vec());
    }

    /// Has it hold a manifest under this name and its digest.
    pub fn put_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) {
        let mut content = self.state.content.lock().unwrap();
        for name in [name.to_owned(), Digest::of(bytes).to_string()] {
            let manifest = (media_type.to_owned(), bytes.to_vec());
            content
                .manifests
                .insert((repository.to_owned(), name), manifest);
        }
    }

    /// The content of a blob, if it is there.
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        self.state
            .content
            .lock()
            .unwrap()
            .blobs
            .get(&(repository.to_owned(), digest))
            .cloned()
    }

    /// The type and content of a manifest, if it is there.
    pub fn manifest(&self, repository: &str, name: &str) -> Option<(String, Vec<u8>)> {
        self.state
            .content
            .lock()
            .unwrap()
            .manifests
            .get(&(repository.to_owned(), name.to_owned()))
            .cloned()
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let content = self.state.content.lock().unwrap();
        let names = content.manifests.keys();
        let mut tags: Vec<String> = names
            .filter(|(of, name)| of == repository && !name.starts_with("sha256:"))
            .map(|(_, name)| name.clone())
            .collect();
        tags.sort();
        tags
    }

    /// Every tag and the digest of what it names.
    pub fn listing(&self) -> BTreeMap<String, Digest> {
        let content = self.state.content.lock().unwrap();
        let manifests = content.manifests.iter();
        manifests
            .filter(|((_, name), _)| !name.starts_with("sha256:"))
            .map(|((repository, name), (_, bytes))| {
                (format!("{repository}:{name}"), Digest::of(bytes))
            })
            .collect()
    }

    /// Uploads that were begun and neither completed nor given up.
    pub fn open_uploads(&self) -> usize {
        self.state.content.lock().unwrap().uploads.len()
    }

    /// The requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.state.content.lock().unwrap().log.clone()
    }

    /// The requests with this method whose target contains `part`.
    pub fn requests(&self, method: &str, part: &str) -> Vec<Request> {
        let matches = |request: &Request| request.method == method && request.target.contains(part);
        self.log().into_iter().filter(matches).collect()
    }

    /// Begins the list of requests anew.
    pub fn forget_log(&self) {
        self.state.content.lock().unwrap().log.clear();
    }
}

fn refuse(status: u16, code: &str) -> Response {
    Response::new(status).body(format!(
        r#"{{"errors":[{{"code":"{code}","message":"told so"}}]}}"#
    ))
}

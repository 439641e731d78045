//! What the registry answers.

use oci_image::Digest;

use super::access::token;
use super::profile::{Does, Mount, take};
use super::server::{Plan, Request, Response, Service};
use super::{State, refuse};

impl Service for State {
    fn plan(&self, request: &Request) -> Plan {
        self.content.lock().unwrap().log.push(request.clone());
        let profile = self.profile();
        let faults = profile.faults.iter().filter(|fault| fault.fits(request));
        for fault in faults {
            match &fault.does {
                Does::Change(_) => {}
                _ if !fault.happens() => {}
                Does::Answer(answer) => return Plan::Refuse(answer.clone()),
                Does::Stall(pause) => return Plan::Stall(*pause),
                Does::Drop(bytes) => return Plan::Drop(*bytes),
            }
        }
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
        let is_upload = request.path().contains("/blobs/uploads/");
        if profile.no_whole_uploads && request.method == "PUT" && is_upload && length > 0 {
            return Plan::Refuse(Response::new(405));
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
        let mut answer = self.usual(request, body);
        let profile = self.profile();
        for fault in profile.faults.iter().filter(|fault| fault.fits(request)) {
            if let Does::Change(change) = &fault.does
                && fault.happens()
            {
                answer = change(answer);
            }
        }
        answer
    }
}

impl State {
    fn usual(&self, request: &Request, body: &[u8]) -> Response {
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

    fn upload(&self, request: &Request, repository: &str, upload: &str, body: &[u8]) -> Response {
        let profile = self.profile();
        let mut content = self.content.lock().unwrap();
        let location = |id: &str| {
            let path = format!("/v2/{repository}/blobs/uploads/{id}");
            if profile.relative_location {
                return format!("{path}?_state=a%2Fb");
            }
            let own = request.header("host").unwrap().to_owned();
            format!(
                "http://{}{path}",
                profile.upload_host.clone().unwrap_or(own)
            )
        };
        match request.method.as_str() {
            "POST" => {
                if let Some(digest) = request.query("mount") {
                    let digest: Digest = digest.parse().unwrap();
                    let from = request.query("from");
                    if from.is_none() && profile.mount == Mount::NeedsFrom {
                        return refuse(400, "INVALID_REQUEST");
                    }
                    let found = from.and_then(|from| content.blobs.get(&(from, digest)).cloned());
                    match (profile.mount, found) {
                        (Mount::Mounts | Mount::NeedsFrom, Some(bytes)) => {
                            content.blobs.insert((repository.to_owned(), digest), bytes);
                            return Response::new(201).with("Docker-Content-Digest", digest);
                        }
                        (Mount::Refuses, _) => return refuse(403, "DENIED"),
                        _ => {}
                    }
                }
                content.begun += 1;
                let id = format!("u{}", content.begun);
                content.uploads.insert(id.clone(), Vec::new());
                Response::new(202).with("Location", location(&id))
            }
            "PATCH" => {
                let Some(received) = content.uploads.get_mut(upload) else {
                    return refuse(404, "BLOB_UPLOAD_UNKNOWN");
                };
                if profile.longest_chunk.is_some_and(|most| body.len() > most) {
                    return refuse(416, "RANGE_INVALID");
                }
                let range = request.header("content-range");
                let expected = || {
                    let end = received.len() + body.len();
                    format!("{}-{}", received.len(), end.saturating_sub(1))
                };
                if range.is_some_and(|range| range != expected()) {
                    return refuse(416, "RANGE_INVALID");
                }
                received.extend_from_slice(body);
                Response::new(202)
                    .with("Location", location(upload))
                    .with("Range", "0-0")
            }
            "PUT" => {
                if profile.relative_location && request.query("_state").as_deref() != Some("a/b") {
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
            "DELETE" => match content.uploads.remove(upload) {
                Some(_) => Response::new(204),
                None => refuse(404, "BLOB_UPLOAD_UNKNOWN"),
            },
            _ => Response::new(405),
        }
    }

    fn blob(&self, request: &Request, repository: &str, digest: &str) -> Response {
        let profile = self.profile();
        let content = self.content.lock().unwrap();
        let Some(bytes) = content
            .blobs
            .get(&(repository.to_owned(), digest.parse().unwrap()))
        else {
            return refuse(404, "BLOB_UNKNOWN");
        };
        if let Some(elsewhere) = &profile.blobs_at
            && request.method == "GET"
        {
            return Response::new(307)
                .with("Location", format!("{elsewhere}{digest}?signature=s3cret"));
        }
        let mut bytes = bytes.clone();
        if profile.corrupts == Some(bytes.len()) {
            bytes[0] ^= 1;
        }
        let mut response = Response::new(200);
        let range = request.header("range").filter(|_| !profile.ignores_ranges);
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
        if request.method == "GET" && take(&profile.cut_downloads) {
            response.cut = Some(bytes.len() / 2);
        }
        response.body(bytes)
    }

    fn manifest(&self, request: &Request, repository: &str, name: &str, body: &[u8]) -> Response {
        let profile = self.profile();
        if let Some((status, page)) = profile.page {
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
        if profile.lies_about_manifests {
            sent.push(b' ');
        }
        Response::new(200)
            .with("Content-Type", media_type)
            .with("Docker-Content-Digest", Digest::of(bytes))
            .body(sent)
    }
}

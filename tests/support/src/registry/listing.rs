//! The referrers API (distribution-spec, "Listing Referrers").

use std::collections::BTreeMap;

use oci_image::Digest;

use super::State;
use super::server::{Request, Response};

impl State {
    pub(super) fn referrers(&self, request: &Request, repository: &str, subject: &str) -> Response {
        let Some(most) = self.profile().referrers else {
            return Response::new(404).body("404 page not found");
        };
        let content = self.content.lock().unwrap();
        let mut found = BTreeMap::new();
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

//! What a dyno is told about its app and its release (Dev Center, "Dyno Metadata").

use jiff::Timestamp;
use oci_image::Digest;

/// Facts that all dynos of a release share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub app_name: String,
    pub release_version: u64,
    pub release_created_at: Timestamp,
    /// What the release runs: the commit if one is known, else the image's digest.
    pub slug_commit: String,
    pub slug_description: String,
    /// The digest of the image's manifest.
    pub image: String,
}

impl Metadata {
    /// Those of a release. `description` is the release's, `Deploy 1a2b3c4d`.
    pub fn of_release(
        app_name: &str,
        version: u64,
        created_at: Timestamp,
        description: &str,
        image: &Digest,
    ) -> Self {
        let commit = description.strip_prefix("Deploy ");
        Self {
            app_name: app_name.to_owned(),
            release_version: version,
            release_created_at: created_at,
            slug_commit: commit.map_or_else(|| image.hex(), str::to_owned),
            slug_description: description.to_owned(),
            image: image.to_string(),
        }
    }

    /// The variables and their values.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("HEROKU_APP_NAME", self.app_name.clone()),
            (
                "HEROKU_RELEASE_VERSION",
                format!("v{}", self.release_version),
            ),
            (
                "HEROKU_RELEASE_CREATED_AT",
                self.release_created_at
                    .strftime("%Y-%m-%dT%H:%M:%SZ")
                    .to_string(),
            ),
            ("HEROKU_SLUG_COMMIT", self.slug_commit.clone()),
            ("HEROKU_SLUG_DESCRIPTION", self.slug_description.clone()),
        ]
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn as_on_heroku() {
        let metadata = Metadata {
            app_name: "shop".to_owned(),
            release_version: 42,
            release_created_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            slug_commit: "1a2b3c4d".to_owned(),
            slug_description: "Deploy 1a2b3c4d".to_owned(),
            image: String::new(),
        };
        assert_eq!(
            metadata.variables().map(|(_, value)| value),
            [
                "shop",
                "v42",
                "2026-01-02T03:04:05Z",
                "1a2b3c4d",
                "Deploy 1a2b3c4d"
            ]
        );
    }
}

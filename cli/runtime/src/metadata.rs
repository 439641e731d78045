//! What a dyno is told about its app and its release (Dev Center, "Dyno Metadata").

use jiff::Timestamp;

/// Facts that all dynos of a release share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub app_name: String,
    pub release_version: u64,
    pub release_created_at: Timestamp,
    /// What the release runs: the commit if one is known, else the image's digest.
    pub slug_commit: String,
    pub slug_description: String,
}

impl Metadata {
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

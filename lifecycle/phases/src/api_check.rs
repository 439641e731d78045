//! Refuses buildpacks whose API the phases do not speak.

use cnb_spec::api::{self, ApiVersion};

/// A buildpack speaks an API that the phases do not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "buildpack {buildpack} speaks Buildpack API {version}, but 0.7 to 0.12 are supported; use another version of the buildpack"
)]
pub struct UnsupportedApi {
    /// `<id>@<version>`.
    pub buildpack: String,
    /// What it asks for.
    pub version: ApiVersion,
}

pub(crate) fn check(buildpack: &str, version: ApiVersion) -> Result<(), UnsupportedApi> {
    if version.is_supported(&api::BUILDPACK) {
        return Ok(());
    }
    Err(UnsupportedApi {
        buildpack: buildpack.to_owned(),
        version,
    })
}

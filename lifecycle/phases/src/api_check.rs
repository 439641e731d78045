//! Refuses buildpacks whose API the phases do not speak.
//!
//! No version that is spoken is deprecated, in the reference lifecycle neither, so `CNB_DEPRECATION_MODE` has nothing
//! to decide.

use cnb_spec::api::{self, ApiVersion};
use cnb_spec::group::Group;

/// A buildpack speaks an API that the phases do not. Platforms know the words by the reference lifecycle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "set API for buildpack '{buildpack}': buildpack API version '{version}' is incompatible with the lifecycle, \
     which speaks 0.7 to 0.12; use another version of the buildpack"
)]
pub struct UnsupportedApi {
    /// `<id>@<version>`.
    pub buildpack: String,
    /// What it asks for.
    pub version: ApiVersion,
}

/// Refuses a group with a buildpack whose API the phases do not speak.
pub fn check_group(group: &Group) -> Result<(), UnsupportedApi> {
    let elements = group.group.iter().chain(&group.group_extensions);
    for element in elements {
        if let Some(api) = element.api {
            check(&element.to_string(), api)?;
        }
    }
    Ok(())
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

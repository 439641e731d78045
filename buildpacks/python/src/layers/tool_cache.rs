//! What Poetry, PDM and Pipenv keep of the packages that they fetched. Cache-only layer.

use crate::{BuildpackError, PythonBuildpack};
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use std::path::PathBuf;

/// Returns the cache folder.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
) -> libcnb::Result<PathBuf, BuildpackError> {
    super::cache_folder(context, &layer_name!("tool-cache"))
}

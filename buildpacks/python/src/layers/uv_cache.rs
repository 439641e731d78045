//! uv's cache: wheels unpacked, ready to be linked into the virtual environment. Cache-only layer; uv
//! itself keeps apart what must not be mixed (its buckets carry versions).

use crate::{BuildpackError, PythonBuildpack};
use libcnb::build::BuildContext;
use libcnb::data::layer_name;
use std::path::PathBuf;

/// Returns the cache folder.
pub(crate) fn provide(
    context: &BuildContext<PythonBuildpack>,
) -> libcnb::Result<PathBuf, BuildpackError> {
    super::cache_folder(context, &layer_name!("uv-cache"))
}

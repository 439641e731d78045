//! Where a build's cache is besides the store.

use clap::Args;

/// A cache that several machines share.
#[derive(Debug, Args)]
pub(crate) struct BuildCacheArgs {
    /// Share cached layers through this image in a registry: taken from it where the app was not built before, and put
    /// into it after the build
    #[arg(long, value_name = "REF")]
    pub(crate) cache_image: Option<String>,
}

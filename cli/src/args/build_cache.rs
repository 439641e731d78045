//! Where a build's cache is besides the store.

use clap::Args;

/// A cache that several machines share.
#[derive(Debug, Args)]
pub(crate) struct BuildCacheArgs {
    /// Share cached layers through this image in a registry: taken from it where the app was not built before, and put
    /// into it after the build
    #[arg(long, value_name = "REF")]
    pub(crate) cache_image: Option<String>,
    /// The same in pack's words: type=build;format=image;name=REF, or in a folder with
    /// type=build;format=bind;source=DIR, or among all apps of this user with type=build;format=volume;name=NAME
    #[arg(long = "cache", value_name = "SPEC", conflicts_with = "cache_image")]
    pub(crate) caches: Vec<String>,
}

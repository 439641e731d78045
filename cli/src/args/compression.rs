//! How layers are compressed that go elsewhere.

use clap::Args;
use std::str::FromStr;

#[derive(Debug, Args)]
pub(crate) struct CompressionArgs {
    /// Send the app's layers as zstd, with a level from 1 to 19: smaller and quicker to unpack, but
    /// not for Docker before 23 and other old engines
    #[arg(long, value_name = "zstd[:LEVEL]")]
    pub(crate) compression: Option<Zstd>,
}

/// `zstd[:LEVEL]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zstd {
    pub(crate) level: i32,
}

impl FromStr for Zstd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let level = match text.split_once(':') {
            None if text == "zstd" => Some(3),
            Some(("zstd", level)) => level.parse().ok(),
            _ => None,
        };
        level
            .filter(|level| oci_image::ZSTD_LEVELS.contains(level))
            .map(|level| Self { level })
            .ok_or_else(|| "write zstd, or zstd:LEVEL with a level from 1 to 19".to_owned())
    }
}

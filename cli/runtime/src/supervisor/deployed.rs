//! A release that dynos can be started from.

use crate::addons::InUse;
use crate::metadata::Metadata;
use crate::processes::{Processes, ProcessesError};
use jiff::Timestamp;
use oci_image::{Digest, Image};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// A release with its image unpacked. Not `Debug`: config vars are secrets.
pub struct Deployed {
    pub version: u64,
    pub created_at: Timestamp,
    /// `Deploy 1a2b3c4d`, `Set FOO config vars`
    pub description: String,
    /// The digest of the image's manifest.
    pub digest: Digest,
    pub image: Image,
    /// The image's unpacked layers, topmost first.
    pub lowers: Vec<PathBuf>,
    pub config: BTreeMap<String, String>,
    /// The add-ons that its dynos talk to, which would stop some time after nobody used them.
    pub addons: InUse,
}

/// Makes the app's current release ready, which may take a while: called by no loop.
pub type Loader =
    Arc<dyn Fn() -> Result<Deployed, Box<dyn Error + Send + Sync>> + Send + Sync + 'static>;

impl Deployed {
    /// What the image offers.
    pub fn processes(&self) -> Result<Processes, ProcessesError> {
        Processes::of(&self.image)
    }

    pub(crate) fn metadata(&self, app_name: &str) -> Metadata {
        Metadata::of_release(
            app_name,
            self.version,
            self.created_at,
            &self.description,
            &self.digest,
        )
    }
}

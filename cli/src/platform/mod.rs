//! slugc as a platform: any buildpack and any builder of the ecosystem.

pub(crate) mod builder;
mod bundled_lifecycle;
pub(crate) mod create;
pub(crate) mod image;
pub(crate) mod locator;
pub(crate) mod module;
pub(crate) mod order;
pub(crate) mod pull;
pub(crate) mod registry_index;
pub(crate) mod scaffold;
pub(crate) mod settings;
pub(crate) mod source;
pub(crate) mod surroundings;

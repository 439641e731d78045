//! Reads an OCI layout as an outsider would, and checks everything that it claims.

use oci_image::{Descriptor, Digest, ImageConfig, Index, Manifest};
use std::fs;
use std::path::Path;

/// An image of a layout, every digest and size of it checked.
#[derive(Debug)]
pub struct LayoutImage {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The image's configuration.
    pub config: ImageConfig,
}

/// Reads the one image of a layout.
///
/// # Panics
/// When the layout breaks the OCI image specification in any way that is checked here.
pub fn read_layout(folder: &Path) -> LayoutImage {
    let marker = text(&folder.join("oci-layout"));
    assert!(
        marker.contains("\"imageLayoutVersion\""),
        "oci-layout is {marker}"
    );
    let index: Index = parse(text(&folder.join("index.json")).as_bytes(), "index.json");
    assert_eq!(
        index.manifests.len(),
        1,
        "one image in {}",
        folder.display()
    );
    let descriptor = &index.manifests[0];
    let manifest: Manifest = parse(&blob(folder, descriptor), "the manifest");
    let config: ImageConfig = parse(&blob(folder, &manifest.config), "the config");
    for layer in &manifest.layers {
        blob(folder, layer);
    }
    assert_eq!(
        manifest.layers.len(),
        config.rootfs.diff_ids.len(),
        "a diffID for each layer"
    );
    LayoutImage {
        digest: descriptor.digest,
        manifest,
        config,
    }
}

fn blob(folder: &Path, descriptor: &Descriptor) -> Vec<u8> {
    let path = folder.join("blobs/sha256").join(descriptor.digest.hex());
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    };
    assert_eq!(
        content.len() as u64,
        descriptor.size,
        "size of {}",
        path.display()
    );
    assert_eq!(
        Digest::of(&content),
        descriptor.digest,
        "digest of {}",
        path.display()
    );
    content
}

fn text(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> T {
    match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => panic!("cannot understand {what}: {error}"),
    }
}

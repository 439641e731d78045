//! The few files of the host that a sandbox needs to reach the network.

use sandbox::Mount;
use std::path::{Path, PathBuf};

/// Where Debian's programs look for certificate authorities.
pub(crate) const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where distributions keep the bundle of certificate authorities; `SSL_CERT_FILE` comes first.
const CA_BUNDLES: [&str; 4] = [
    CA_BUNDLE,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The host's bundle of certificate authorities, which may hold a company's own.
pub(crate) fn ca_bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named
        .into_iter()
        .chain(CA_BUNDLES.map(PathBuf::from))
        .find(|path| path.is_file())
}

/// Name resolution and certificates, read-only, at the paths that programs expect.
pub(crate) fn network_mounts() -> Vec<Mount> {
    let mut mounts = Vec::new();
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        if Path::new(file).is_file() {
            mounts.push(Mount::read_only(file, file));
        }
    }
    if let Some(bundle) = ca_bundle() {
        mounts.push(Mount::read_only(bundle, CA_BUNDLE));
    }
    mounts
}

/// The proxy variables that the CNB specification passes to builds, both spellings.
pub(crate) fn proxy_variables() -> Vec<(String, String)> {
    let names = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
        .collect()
}

/// The proxy for an address, by this process's variables.
pub(crate) fn proxy_for(url: &str) -> Option<String> {
    oci_registry::proxy_for(url, |name| std::env::var(name).ok())
}

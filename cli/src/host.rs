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

/// The proxy for an address, by the variables that most programs obey; never for this machine itself.
pub(crate) fn proxy_for(url: &str) -> Option<String> {
    let variable = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    };
    let host = host_of(url);
    let local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    let exempt = variable(&["no_proxy", "NO_PROXY"]).is_some_and(|list| is_listed(&list, host));
    if local || exempt {
        return None;
    }
    // HTTP_PROXY in capitals may be a request's header where a web server starts programs; curl ignores it too.
    let names: &[&str] = if url.starts_with("https:") {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    };
    variable(names)
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    let server = authority
        .rsplit_once('@')
        .map_or(authority, |(_, server)| server);
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => server,
    }
}

/// Whether a list like `localhost,.corp.example` has this host or a domain that it is in.
fn is_listed(list: &str, host: &str) -> bool {
    list.split(',').map(str::trim).any(|entry| {
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        let inside = || {
            host.strip_suffix(domain)
                .is_some_and(|rest| rest.ends_with('.'))
        };
        entry == "*" || (!domain.is_empty() && (host == domain || inside()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (url, host) in [
            ("http://deb.corp/debian", "deb.corp"),
            ("https://me:pass@deb.corp:8080/debian", "deb.corp"),
            ("https://[::1]:5000/", "[::1]"),
            ("registry.corp:5000", "registry.corp"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }

    #[test]
    fn hosts_without_a_proxy() {
        for (list, listed) in [
            ("", false),
            ("*", true),
            ("corp.example", true),
            ("other, .corp.example", true),
            ("*.corp.example", true),
            ("p.example", false),
            ("r.corp.example", true),
        ] {
            assert_eq!(is_listed(list, "r.corp.example"), listed, "{list}");
        }
    }
}

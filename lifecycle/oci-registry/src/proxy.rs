//! Which proxy a request goes through.

/// The proxy for an address, by the variables that most programs obey; never for this machine itself. `variable` looks
/// one up.
pub fn proxy_for(url: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let first = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| variable(name).filter(|value| !value.is_empty()))
    };
    let host = host_of(url);
    let local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    let exempt = first(&["no_proxy", "NO_PROXY"]).is_some_and(|list| is_listed(&list, host));
    if local || exempt {
        return None;
    }
    // HTTP_PROXY in capitals may be a request's header where a web server starts programs; curl ignores it too.
    first(if url.starts_with("https:") {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    })
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

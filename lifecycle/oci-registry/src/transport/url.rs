//! The few operations on addresses that the registry protocol needs: resolving a `Location`, comparing origins.

use std::fmt;
use std::net::IpAddr;

/// An absolute http or https address. Its query may hold a signature: it is only shown without it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: Scheme,
    /// Host and port as written, without user information.
    authority: String,
    /// Begins with a slash; the query belongs to it.
    target: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Url {
    pub(crate) fn new(scheme: Scheme, authority: &str, target: &str) -> Self {
        Self {
            scheme,
            authority: authority.to_owned(),
            target: target.to_owned(),
        }
    }

    /// An absolute address; `None` for other schemes, user information and what could not be sent.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return None;
        };
        let rest = rest.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty()
            || authority.contains('@')
            || !has_brackets_around_all(authority)
            || !rest.bytes().all(|b| b.is_ascii_graphic())
        {
            return None;
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Some(Self::new(scheme, authority, &format!("{slash}{target}")))
    }

    /// What a `Location` header means after a request to this address (RFC 9110 §10.2.2).
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let location = location.trim();
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{}://{rest}", self.scheme.as_str()));
        }
        let location = location.split('#').next()?;
        if !location.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let path = self.target.split('?').next().unwrap_or("/");
        let target = if location.starts_with('/') {
            location.to_owned()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            let folder = &path[..=path.rfind('/')?];
            format!("{folder}{location}")
        };
        Some(Self::new(self.scheme, &self.authority, &target))
    }

    /// With one more parameter, the value of which is percent-encoded; what the query holds stays as it is.
    pub(crate) fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = match self.target.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        let target = format!("{}{separator}{name}={}", self.target, encode(value));
        Self::new(self.scheme, &self.authority, &target)
    }

    pub(crate) fn with_scheme(&self, scheme: Scheme) -> Self {
        Self::new(scheme, &self.authority, &self.target)
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host and port as written.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without its port and, for IPv6, without its brackets.
    pub(crate) fn host(&self) -> &str {
        split_authority(&self.authority).0
    }

    fn port(&self) -> u16 {
        split_authority(&self.authority)
            .1
            .unwrap_or(self.scheme.port())
    }

    /// Scheme, host and port are the same: what credentials are bound to.
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.host().eq_ignore_ascii_case(other.host())
            && self.port() == other.port()
    }

    /// Whether both name the same host, whatever the scheme and port.
    pub(crate) fn same_host(&self, other: &Self) -> bool {
        self.host().eq_ignore_ascii_case(other.host())
    }

    /// The whole address, to be sent; never to be shown.
    pub(crate) fn reveal(&self) -> String {
        format!(
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority,
            self.target
        )
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or("/");
        write!(
            formatter,
            "{}://{}{path}",
            self.scheme.as_str(),
            self.authority
        )
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Brackets are for an IPv6 address as a whole: anywhere else, readers differ in what the host is.
fn has_brackets_around_all(authority: &str) -> bool {
    let outside = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inside, after)) if after.is_empty() || after.starts_with(':') => [inside, after],
            _ => return false,
        },
        None => [authority, ""],
    };
    outside.iter().all(|part| !part.contains(['[', ']']))
}

/// Host and port of `host`, `host:port`, `[v6]` and `[v6]:port`.
pub(crate) fn split_authority(authority: &str) -> (&str, Option<u16>) {
    if let Some(rest) = authority.strip_prefix('[')
        && let Some((host, after)) = rest.split_once(']')
    {
        return (
            host,
            after.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (authority, None),
    }
}

/// `localhost`, names under it, and addresses of the loopback interface.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Hosts that no public registry has a reason to send a client to: loopback, private and link-local addresses.
///
/// Names are not resolved: a name of one's own network that resolves to a private address is a registry's right.
pub(crate) fn is_internal(host: &str) -> bool {
    if is_loopback(host) {
        return true;
    }
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => {
            // 100.64.0.0/10 (RFC 6598) is where some clouds have their metadata.
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            v4.is_private() || v4.is_link_local() || first == 0 || is_shared
        }
        Ok(IpAddr::V6(v6)) => {
            v6.is_unspecified()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6
                    .to_ipv4_mapped()
                    .is_some_and(|v4| is_internal(&v4.to_string()))
        }
        Err(_) => is_like_a_number(host),
    }
}

/// Resolvers take `127.1`, `2130706433` and `0x7f.1` for addresses, too (`inet_aton(3)`), and IPv6 with a zone: no name
/// of a host looks like that.
fn is_like_a_number(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next();
    let is_number = |label: &str| {
        let hexadecimal = label.strip_prefix("0x").or(label.strip_prefix("0X"));
        match hexadecimal {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
        }
    };
    host.contains(':') || last.is_some_and(is_number)
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    encoded
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/?x=1").unwrap();
        for (location, expected) in [
            (
                "/v2/a/blobs/uploads/1?_state=a%3D",
                "https://r.example:5000/v2/a/blobs/uploads/1?_state=a%3D",
            ),
            ("1?s=2", "https://r.example:5000/v2/a/blobs/uploads/1?s=2"),
            ("?s=2", "https://r.example:5000/v2/a/blobs/uploads/?s=2"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("http://cdn.example", "http://cdn.example/"),
            (
                "/x?next=http://y/",
                "https://r.example:5000/x?next=http://y/",
            ),
        ] {
            assert_eq!(
                base.join(location).unwrap().reveal(),
                expected,
                "{location}"
            );
        }
        for bad in [
            "ftp://x/",
            "http://u:p@h/",
            "http:///x",
            "/a b",
            "/a\r\nX: y",
        ] {
            assert!(base.join(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_query_is_kept_and_never_shown() {
        let url = Url::parse("https://h/u?_state=secret").unwrap();
        assert_eq!(
            url.with_query("digest", "sha256:ab").reveal(),
            "https://h/u?_state=secret&digest=sha256%3Aab"
        );
        assert_eq!(format!("{url} {url:?}"), "https://h/u https://h/u");
    }

    #[test]
    fn origins() {
        let same = |a: &str, b: &str| Url::parse(a).unwrap().same_origin(&Url::parse(b).unwrap());
        assert!(same("https://h/a", "https://H:443/b"));
        assert!(!same("https://h/", "http://h/"));
        assert!(!same("http://h/", "http://h:81/"));
        assert!(!same("https://h/", "https://h.evil/"));
    }

    #[test]
    fn brackets_are_for_whole_addresses() {
        for good in ["http://[::1]/", "http://[::1]:5000/x"] {
            assert!(Url::parse(good).is_some(), "{good}");
        }
        for bad in [
            "http://f[e80::1]:5000/x",
            "http://[::1",
            "http://[::1]a/",
            "http://a]/",
            "http://[[::1]]/",
        ] {
            assert!(Url::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn internal_hosts() {
        for host in [
            "localhost",
            "a.localhost",
            "127.1.2.3",
            "::1",
            "10.0.0.1",
            "169.254.169.254",
            "::ffff:10.0.0.1",
            "fd00::1",
            "0.0.0.0",
            "0.1.2.3",
            "100.100.100.200",
            "2130706433",
            "127.1",
            "0x7f.0.0.1",
            "10.0.0.0x1",
            "fe80::1%eth0",
        ] {
            assert!(is_internal(host), "{host}");
        }
        for host in [
            "r.example",
            "8.8.8.8",
            "100.128.0.1",
            "localhost.example",
            "2001:db8::1",
            "1.2.3.4.example",
            "0xcafe.example",
            "registry1",
        ] {
            assert!(!is_internal(host), "{host}");
        }
    }
}

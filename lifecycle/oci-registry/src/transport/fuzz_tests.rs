//! What registries send besides content, mutated. `FUZZ_SECONDS=60 cargo test -p oci-registry --lib fuzz` does it for so
//! long with each.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::bearer::{Challenge, strongest};
use super::error::messages;
use super::retry::retry_after;
use super::url::{Scheme, Url};
use test_support::{Seeds, fuzz};
use ureq::http::{HeaderMap, HeaderValue, Uri, header};

fn inputs(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Where we think that an address leads, the connection leads.
#[test]
fn addresses() {
    let inputs = inputs(&[
        "https://cdn.example:8443/blobs/x?signature=a%2Fb&y#z",
        "/v2/team/app/blobs/uploads/1?_state=x",
        "//other.example/x",
        "http://[fe80::1]:5000/x",
        "https://ann:pw@r.example/",
        "uploads/7?x=http://y",
        "?digest=sha256:1",
    ]);
    let seeds = Seeds {
        inputs: &inputs,
        words: &[
            "@",
            "\\",
            "://",
            "//",
            ":",
            "[",
            "]",
            "%40",
            "#",
            "?",
            "127.0.0.1",
            "é",
            " ",
            "..",
        ],
    };
    let home = Url::parse("https://r.example:5000/v2/team/app/blobs/uploads/").unwrap();
    fuzz("addresses", seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for url in [Url::parse(&text), home.join(&text)].into_iter().flatten() {
            assert!(!url.authority().contains('@'));
            let Ok(uri) = url.reveal().parse::<Uri>() else {
                continue;
            };
            let host = uri.host().unwrap().trim_matches(['[', ']']);
            assert!(
                host.eq_ignore_ascii_case(url.host()),
                "{host} {}",
                url.host()
            );
            let same = Url::new(url.scheme(), uri.authority().unwrap().as_str(), "/");
            assert!(same.same_origin(&url));
            let usual = if url.scheme() == Scheme::Https {
                443
            } else {
                80
            };
            let port = uri.port_u16().unwrap_or(usual);
            let by_port = Url::new(
                url.scheme(),
                &format!("{}:{port}", uri.host().unwrap()),
                "/",
            );
            assert!(by_port.same_origin(&url), "{by_port} {url}");
            assert!(
                !url.to_string().contains(['?', '#']),
                "a query may be secret"
            );
        }
    });
}

#[test]
fn challenges_and_pauses() {
    let inputs = inputs(&[
        r#"Bearer realm="https://a.example/token",service="r, s",scope="repository:a:pull,push""#,
        r#"Basic realm="a\"b", Negotiate, Bearer realm=x"#,
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "120",
    ]);
    let seeds = Seeds {
        inputs: &inputs,
        words: &["\"", "\\", ",", "=", " ", "Bearer ", "realm=", "GMT", "é"],
    };
    fuzz("challenges", seeds, |bytes| {
        let Ok(value) = HeaderValue::from_bytes(bytes) else {
            return;
        };
        let mut headers = HeaderMap::new();
        for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::DATE] {
            headers.insert(name, value.clone());
        }
        if let Some(Challenge::Bearer { realm, .. }) = strongest(&headers) {
            assert!(realm.len() <= bytes.len());
        }
        if retry_after(&headers).is_some() {
            assert!(bytes.iter().any(u8::is_ascii_digit));
        }
    });
}

/// A terminal that shows an error obeys nothing in it, and is not filled by it.
#[test]
fn messages_of_registries() {
    let inputs = inputs(&[
        r#"{"errors":[{"code":"DENIED","message":"no\nway","detail":{"a":1}},{"message":"\u001b[2J"}]}"#,
        r#"{"details":"incorrect username or password"}"#,
        "<!DOCTYPE html><html><head><title>413 Request Entity Too Large</title></head></html>",
        "Too Many Requests\n",
    ]);
    let seeds = Seeds {
        inputs: &inputs,
        words: &[
            "\u{1b}[31m",
            "\u{9b}",
            "<title>",
            "</title>",
            "\\u001b",
            "null",
            "[",
            "{",
            "İ",
            "\r",
        ],
    };
    fuzz("messages", seeds, |bytes| {
        let told = messages(bytes);
        assert!(told.len() <= 8);
        for text in told.iter().flat_map(|it| [&it.code, &it.message]) {
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() <= 400);
        }
    });
}

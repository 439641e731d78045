//! Header fields: what a proxy takes away (RFC 9110, 7.6.1) and what Heroku's router adds.

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");

/// The name in `Via` of Heroku's present router; the one before said `1.1 vegur`.
const ROUTER: HeaderValue = HeaderValue::from_static("1.1 heroku-router");

/// Removes what is meant for this connection only.
pub(super) fn remove_hop_by_hop(fields: &mut HeaderMap) {
    while let Entry::Occupied(connection) = fields.entry(CONNECTION) {
        let (_, values) = connection.remove_entry_mult();
        let named: Vec<HeaderName> = values
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .flat_map(|value| {
                value
                    .split(',')
                    .filter_map(|name| name.trim().parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect();
        for name in named {
            // These say where the message ends and for whom it is: nobody may have them dropped.
            if name != HOST
                && name != CONTENT_LENGTH
                && name != TRANSFER_ENCODING
                && name != UPGRADE
            {
                fields.remove(name);
            }
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE] {
        fields.remove(name);
    }
}

/// What is the same for every request of a client's connection.
#[derive(Debug)]
pub(super) struct Origin {
    address: HeaderValue,
    port: HeaderValue,
}

impl Origin {
    /// `port` is the router's own.
    pub(super) fn new(client: IpAddr, port: u16) -> Self {
        Self {
            address: HeaderValue::from_str(&client.to_canonical().to_string())
                .unwrap_or(HeaderValue::from_static("")),
            port: HeaderValue::from(port),
        }
    }

    pub(super) fn address(&self) -> &HeaderValue {
        &self.address
    }
}

/// What the log wants to know of a request's fields.
pub(super) struct Identity {
    pub(super) request_id: HeaderValue,
    pub(super) fwd: HeaderValue,
}

/// Makes a client's fields into those the dyno gets. `upgrade`: another protocol is asked for.
pub(super) fn forward(fields: &mut HeaderMap, origin: &Origin, upgrade: bool) -> Identity {
    let protocol = upgrade.then(|| fields.get(UPGRADE).cloned()).flatten();
    remove_hop_by_hop(fields);
    drop_disguised(fields);
    // The router itself says `100 Continue`, as soon as a dyno's connection stands.
    fields.remove(EXPECT);
    fields.remove(TRANSFER_ENCODING);
    fields.remove(TRAILER);
    fields.remove(UPGRADE);
    if let Some(protocol) = protocol {
        fields.insert(UPGRADE, protocol);
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
    let fwd = forwarded_for(fields, &origin.address);
    fields.insert(FORWARDED_FOR, fwd.clone());
    fields.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    fields.insert(FORWARDED_PORT, origin.port.clone());
    fields.insert(REQUEST_START, now());
    let request_id = match fields.get(REQUEST_ID) {
        Some(given) if is_request_id(given.as_bytes()) => given.clone(),
        _ => {
            let made = new_request_id();
            fields.insert(REQUEST_ID, made.clone());
            made
        }
    };
    fields.append(VIA, ROUTER);
    Identity { request_id, fwd }
}

/// Makes a dyno's fields into those the client gets.
pub(super) fn backward(fields: &mut HeaderMap) {
    remove_hop_by_hop(fields);
    fields.remove(TRANSFER_ENCODING);
    fields.remove(UPGRADE);
    fields.append(VIA, ROUTER);
}

fn forwarded_for(fields: &HeaderMap, address: &HeaderValue) -> HeaderValue {
    let mut given = fields.get_all(FORWARDED_FOR).iter().peekable();
    if given.peek().is_none() {
        return address.clone();
    }
    let mut chain = Vec::new();
    for value in given.chain([address]) {
        if !chain.is_empty() {
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(hyper::body::Bytes::from(chain))
        .unwrap_or_else(|_| address.clone())
}

/// A WSGI application sees `X_Request_Id` and `X-Request-Id` under one name, so what the router says
/// must not be said again with underscores.
fn drop_disguised(fields: &mut HeaderMap) {
    let disguised: Vec<HeaderName> = fields
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .filter(|name| {
            let plain = name.as_str().replace('_', "-");
            plain.starts_with("x-forwarded-")
                || plain.starts_with("x-request-")
                || ["via", "content-length", "transfer-encoding"].contains(&plain.as_str())
        })
        .cloned()
        .collect();
    for name in disguised {
        fields.remove(name);
    }
}

fn now() -> HeaderValue {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = since.map_or(0, |since| since.as_millis());
    HeaderValue::from(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

/// Dev Center, `http-request-id`: 20 to 200 characters, letters, digits and `+ / = -`.
fn is_request_id(given: &[u8]) -> bool {
    (20..=200).contains(&given.len())
        && given
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=-".contains(byte))
}

/// A random UUID (RFC 9562, version 4). It names a request in logs and guards nothing.
fn new_request_id() -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = fastrand::u128(..).to_be_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

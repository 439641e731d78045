//! First contact: does the registry speak https, and what authentication does it ask for?

use ureq::http::{Method, StatusCode};

use crate::transport::bearer::{Challenge, strongest};
use crate::transport::error::Reason;
use crate::transport::exchange::{Body, Exchange, Failed, Wire, read_small};
use crate::transport::retry;
use crate::transport::url::{Scheme, Url};

/// What `GET /v2/` told.
#[derive(Debug)]
pub(crate) struct Contact {
    pub(crate) home: Url,
    pub(crate) challenge: Option<Challenge>,
}

/// Asks `GET /v2/`, over https, and over http where that is allowed and https is not spoken there.
pub(crate) fn ping(wire: &Wire, authority: &str) -> Result<Contact, Failed> {
    let secure = match ask(wire, Url::new(Scheme::Https, authority, "/v2/")) {
        Ok(contact) => return Ok(contact),
        Err(failed) => failed,
    };
    let not_https = match &secure.reason {
        // A certificate that is not trusted is https nevertheless.
        Reason::Tls { problem, .. } => !problem.contains("certificate"),
        Reason::Connection { .. } => true,
        _ => false,
    };
    if !not_https || !wire.allows_http(authority) {
        return Err(secure);
    }
    ask(wire, Url::new(Scheme::Http, authority, "/v2/")).map_err(|plain| match &plain.reason {
        // It speaks https after all: why that failed is what matters.
        Reason::Status { status: 400, .. } => secure,
        _ => plain,
    })
}

fn ask(wire: &Wire, home: Url) -> Result<Contact, Failed> {
    let exchange = Exchange {
        method: Method::GET,
        headers: &[],
        body: Body::None,
        receives: 0,
    };
    let (mut response, _) = wire.follow(&home, &home, &exchange, |_| None)?;
    let status = response.status();
    let challenge = (status == StatusCode::UNAUTHORIZED)
        .then(|| strongest(response.headers()))
        .flatten();
    let body = read_small(&mut response);
    if retry::is_temporary(status) {
        return Err(Failed::status(&response, &body, None));
    }
    // Go's answer to plain http at a port that speaks TLS.
    if status == StatusCode::BAD_REQUEST && home.scheme() == Scheme::Http {
        return Err(Failed::status(&response, &body, None));
    }
    Ok(Contact { home, challenge })
}

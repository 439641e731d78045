//! One request and its answer: who holds the dyno, and the one line that is logged about it.

use super::answer::{Code, Line};
use super::backends::Lease;
use super::body::AnswerBody;
use super::fields::Identity;
use super::guard::Refused;
use super::strict::is_token;
use super::worker::Client;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Response};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Logs when it is over, however that comes about.
pub(super) struct Exchange {
    client: Rc<Client>,
    method: Method,
    path: Option<PathAndQuery>,
    host: Option<HeaderValue>,
    identity: Identity,
    dyno: Option<Box<str>>,
    lease: Option<Lease>,
    connect: Option<Duration>,
    begun: Option<Instant>,
    status: u16,
    bytes: u64,
    over: bool,
}

impl Exchange {
    pub(super) fn new(client: Rc<Client>, head: &Parts, identity: Identity) -> Self {
        Self {
            client,
            method: head.method.clone(),
            path: head.uri.path_and_query().cloned(),
            host: head.headers.get(HOST).cloned(),
            identity,
            dyno: None,
            lease: None,
            connect: None,
            begun: None,
            status: 0,
            bytes: 0,
            over: false,
        }
    }

    pub(super) fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// A dyno could not be reached.
    pub(super) fn missed(&mut self, lease: &Lease, connect: Duration) {
        self.dyno = Some(lease.backend().name.clone());
        self.connect = Some(connect);
    }

    /// A dyno serves this since `begun`.
    pub(super) fn held_by(&mut self, lease: Lease, connect: Duration, begun: Instant) {
        self.dyno = None;
        self.lease = Some(lease);
        self.connect = Some(connect);
        self.begun = Some(begun);
    }

    /// The dyno's answer has begun.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = status;
    }

    pub(super) fn add_bytes(&mut self, count: usize) {
        self.bytes += count as u64;
    }

    /// Ends with an answer of the router's own.
    pub(super) fn fail(mut self: Box<Self>, code: Code) -> Response<AnswerBody> {
        self.finish(Some(code));
        page(code)
    }

    /// Logs, once, and lets the dyno go.
    pub(super) fn finish(&mut self, code: Option<Code>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let dyno = match (&self.lease, &self.dyno) {
            (Some(lease), _) => &*lease.backend().name,
            (None, Some(missed)) => missed,
            (None, None) => "",
        };
        let line = Line {
            code,
            method: self.method.as_str().as_bytes(),
            path: self
                .path
                .as_ref()
                .map_or(b"/", |path| path.as_str().as_bytes()),
            host: self.host.as_ref().map_or(b"", |host| host.as_bytes()),
            request_id: self.identity.request_id.as_bytes(),
            fwd: self.identity.fwd.as_bytes(),
            dyno,
            connect: self.connect,
            service: self.begun.map(|begun| begun.elapsed()),
            status: code.map_or(self.status, |code| code.status().as_u16()),
            bytes: self.begun.map(|_| self.bytes),
        };
        (self.client.worker.log)(&line.text());
        self.lease = None;
        self.client.shared.answered();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let code = if self.client.shared.is_stalled() {
            Code::H15
        } else {
            Code::H27
        };
        self.finish(Some(code));
    }
}

/// Answers a request that the guard refused.
pub(super) fn refuse(client: &Client, refused: &Refused) -> Response<AnswerBody> {
    let code = Code::H26(refused.refusal.cause, refused.refusal.status);
    let mut words = refused.line.split(|&byte| byte == b' ');
    let method = words.next().filter(|method| is_token(method));
    (client.worker.log)(
        &Line {
            code: Some(code),
            method: method.unwrap_or_default(),
            path: method.and(words.next()).unwrap_or_default(),
            fwd: client.origin.address().as_bytes(),
            status: code.status().as_u16(),
            ..Line::default()
        }
        .text(),
    );
    client.shared.answered();
    page(code)
}

fn page(code: Code) -> Response<AnswerBody> {
    code.page()
        .map(|page| AnswerBody::Whole(Some(Bytes::from(page))))
}

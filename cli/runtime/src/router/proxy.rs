//! One request from a client to a dyno and back.

use super::answer::{Code, within_limits};
use super::backends::BackendId;
use super::body::{AnswerBody, Proxied, RequestBody};
use super::exchange::{Exchange, refuse};
use super::fields;
use super::guard::REFUSED;
use super::tunnel;
use super::upstream::{Sent, Upstream};
use super::worker::Client;
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri, Version};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Nothing can be said to this client any more; its connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the client went away")]
pub(super) struct Gone;

/// Serves one request. Every way out of it logs one line.
pub(super) async fn serve(
    client: Rc<Client>,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Gone> {
    if request.method().as_str() == REFUSED
        && let Some(refused) = client.shared.take_refused()
    {
        return Ok(refuse(&client, &refused));
    }
    let upgrade = asks_for_upgrade(&request).then(|| hyper::upgrade::on(&mut request));
    let (mut head, body) = request.into_parts();
    let expects = expectation(&head);
    let identity = fields::forward(&mut head.headers, &client.origin, upgrade.is_some());
    address(&mut head);
    let mut exchange = Box::new(Exchange::new(Rc::clone(&client), &head, identity));
    if let Err(code) = expects {
        return Ok(exchange.fail(code));
    }
    if client.worker.backends.maintenance() {
        return Ok(exchange.fail(Code::H80));
    }
    match forward(&client, &mut exchange, head, body).await {
        Ok((answer, upstream)) => Ok(give(exchange, answer, upstream, upgrade).await),
        Err(code @ (Code::H27 | Code::H28)) => {
            exchange.finish(Some(code));
            Err(Gone)
        }
        Err(code) => Ok(exchange.fail(code)),
    }
}

fn asks_for_upgrade(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && request.headers().get_all(CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|value| {
                value
                    .split(',')
                    .any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
            })
        })
}

/// Only `100-continue` can be expected (RFC 9110, 10.1.1).
fn expectation(head: &Parts) -> Result<(), Code> {
    match head.headers.get(EXPECT) {
        Some(value)
            if head.version == Version::HTTP_11
                && !value.as_bytes().eq_ignore_ascii_case(b"100-continue") =>
        {
            Err(Code::H26(
                "unsupported expect header value",
                StatusCode::EXPECTATION_FAILED,
            ))
        }
        _ => Ok(()),
    }
}

/// The form of the target that a server gets; a host in it outranks the field (RFC 9112, 3.2.2).
fn address(head: &mut Parts) {
    head.version = Version::HTTP_11;
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or(Uri::from_static("/"), Uri::from);
    }
}

/// Sends the request to one dyno after another until one takes it.
async fn forward(
    client: &Client,
    exchange: &mut Exchange,
    mut head: Parts,
    body: Incoming,
) -> Result<(Response<Incoming>, Upstream), Code> {
    let (body, upload) = RequestBody::new(body);
    if upload.is_some() && !head.headers.contains_key(CONTENT_LENGTH) {
        head.headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let replayable = upload.is_none() && head.method.is_idempotent();
    let mut waiting = Request::from_parts(head, body);
    let worker = &client.worker;
    let mut tried: Vec<BackendId> = Vec::new();
    let mut last = Code::H21;
    let mut reuse = true;
    loop {
        let lease = worker.choose(&tried, last).await?;
        let begun = Instant::now();
        let backend = lease.backend();
        let unused = if reuse {
            worker.pool.take(backend.id, replayable).await
        } else {
            None
        };
        let mut connect = Duration::ZERO;
        let mut upstream = if let Some(unused) = unused {
            unused
        } else {
            match Upstream::connect(backend, &worker.limits).await {
                Ok(upstream) => {
                    connect = begun.elapsed();
                    upstream
                }
                Err(code) => {
                    exchange.missed(&lease, begun.elapsed());
                    if code == Code::H99 {
                        return Err(code);
                    }
                    worker
                        .backends
                        .quarantine(backend, worker.limits.quarantine);
                    tried.push(backend.id);
                    last = code;
                    continue;
                }
            }
        };
        if !waiting.headers().contains_key(HOST) {
            // Of HTTP/1.0, which need not say it; HTTP/1.1 must.
            let host = HeaderValue::from_str(&backend.address.to_string());
            waiting
                .headers_mut()
                .insert(HOST, host.map_err(|_| Code::H99)?);
        }
        let begun = begun + connect;
        exchange.held_by(lease, connect, begun);
        let again = (replayable && upstream.is_reused()).then(|| copy(&waiting));
        match upstream
            .send(waiting, upload.as_deref(), client, begun)
            .await
        {
            Sent::Answer(answer) => return Ok((answer, upstream)),
            Sent::Back(request) if upstream.is_reused() => waiting = request,
            Sent::Back(_) => return Err(Code::H13),
            Sent::Failed { code, answerless } => match again {
                Some(copy) if answerless => waiting = copy,
                _ => return Err(code),
            },
        }
        reuse = false;
    }
}

fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Hands a dyno's answer to the client.
async fn give(
    mut exchange: Box<Exchange>,
    mut answer: Response<Incoming>,
    mut upstream: Upstream,
    upgrade: Option<OnUpgrade>,
) -> Response<AnswerBody> {
    let limits = &exchange.client().worker.limits;
    if let Err(code) = within_limits(&answer, limits) {
        return exchange.fail(code);
    }
    exchange.answered(answer.status().as_u16());
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(down) = upgrade else {
            return exchange.fail(Code::H17);
        };
        let up = hyper::upgrade::on(&mut answer);
        let protocol = answer.headers_mut().remove(UPGRADE);
        let (mut head, _) = answer.into_parts();
        fields::backward(&mut head.headers);
        switch(&mut head.headers, protocol);
        exchange.client().shared.open_tunnel();
        tokio::task::spawn_local(async move {
            // The connection ends where the tunnel begins.
            poll_fn(|cx| {
                if upstream.drive(cx) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            tunnel::run(up, down, exchange).await;
        });
        return Response::from_parts(head, AnswerBody::Whole(None));
    }
    let (mut head, body) = answer.into_parts();
    fields::backward(&mut head.headers);
    if upgrade.is_some() {
        // What the client sends next may be of the protocol that it did not get.
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let mut proxied = Box::new(Proxied {
        body,
        upstream: Some(upstream),
        exchange,
        last: Instant::now(),
    });
    if proxied.body.is_end_stream() {
        poll_fn(|cx| {
            proxied.complete(cx);
            Poll::Ready(())
        })
        .await;
    }
    Response::from_parts(head, AnswerBody::Proxied(proxied))
}

fn switch(fields: &mut HeaderMap, protocol: Option<HeaderValue>) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        fields.insert(UPGRADE, protocol);
    }
}

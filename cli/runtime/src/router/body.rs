//! Bodies on their way through, in both directions and never as a whole.

use super::answer::Code;
use super::exchange::Exchange;
use super::upstream::{BAD_CHUNK, Upstream};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::time::Instant;

/// How far a client is with sending its body.
#[derive(Debug)]
pub(super) struct Upload {
    last: Cell<Instant>,
    ended: Cell<bool>,
    failed: Cell<bool>,
    waiting: Cell<bool>,
}

impl Upload {
    /// When the last part came or the end.
    pub(super) fn last(&self) -> Instant {
        self.last.get()
    }

    /// Whether it is the client that the dyno waits for.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.get() && !self.ended.get()
    }

    /// The client went away or broke the rules.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.get()
    }
}

/// A request's body on its way to a dyno.
#[derive(Debug)]
pub(super) enum RequestBody {
    Empty,
    Streamed { body: Incoming, upload: Rc<Upload> },
}

impl RequestBody {
    pub(super) fn new(body: Incoming) -> (Self, Option<Rc<Upload>>) {
        if body.is_end_stream() {
            return (Self::Empty, None);
        }
        let upload = Rc::new(Upload {
            last: Cell::new(Instant::now()),
            ended: Cell::new(false),
            failed: Cell::new(false),
            waiting: Cell::new(true),
        });
        let known = Rc::clone(&upload);
        (Self::Streamed { body, upload }, Some(known))
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Self::Streamed { upload, .. } = self
            && !upload.ended.replace(true)
        {
            upload.last.set(Instant::now());
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Streamed { body, upload } = self.get_mut() else {
            return Poll::Ready(None);
        };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        upload.waiting.set(frame.is_pending());
        let frame = ready!(frame);
        upload.last.set(Instant::now());
        match frame {
            Some(Ok(frame)) if frame.is_data() => {
                upload.ended.set(body.is_end_stream());
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                upload.failed.set(true);
                Poll::Ready(Some(Err(error)))
            }
            // RFC 9110, 6.5.1 lets a proxy discard trailers; no application reads them.
            Some(Ok(_)) | None => {
                upload.ended.set(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed { body, .. } => body.size_hint(),
        }
    }
}

/// What a client gets.
pub(super) enum AnswerBody {
    Whole(Option<Bytes>),
    Proxied(Box<Proxied>),
}

/// An answer that a dyno is still sending.
pub(super) struct Proxied {
    pub(super) body: Incoming,
    pub(super) upstream: Option<Upstream>,
    pub(super) exchange: Box<Exchange>,
    pub(super) last: Instant,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Proxied {
    /// The answer is complete: it is logged and the connection may serve another request.
    pub(super) fn complete(&mut self, cx: &mut Context<'_>) {
        self.exchange.finish(None);
        if let Some(upstream) = self.upstream.take() {
            self.exchange.client().worker.pool.put(cx, upstream);
        }
    }

    fn fail(&mut self, code: Code) -> Failure {
        self.upstream = None;
        self.exchange.finish(Some(code));
        code.name().into()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if frame.is_pending()
            && let Some(upstream) = &mut self.upstream
        {
            upstream.drive(cx);
            frame = Pin::new(&mut self.body).poll_frame(cx);
        }
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.exchange.add_bytes(data.len());
                }
                self.last = Instant::now();
                if self.body.is_end_stream() {
                    self.complete(cx);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(self.fail(Code::H18)))),
            Poll::Ready(None) => {
                self.complete(cx);
                Poll::Ready(None)
            }
            Poll::Pending => {
                let client = self.exchange.client();
                if client.shared.is_bad_body() {
                    return Poll::Ready(Some(Err(self.fail(BAD_CHUNK))));
                }
                let due = self.last + client.worker.limits.idle;
                ready!(client.deadline.borrow_mut().poll(cx, due));
                Poll::Ready(Some(Err(self.fail(Code::H15))))
            }
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Proxied(proxied) => proxied.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Proxied(proxied) => proxied.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Proxied(proxied) => proxied.body.size_hint(),
        }
    }
}

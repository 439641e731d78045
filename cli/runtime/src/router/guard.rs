//! A client's socket as hyper sees it: only whole, unambiguous requests come through.
//!
//! A head is held back until it is complete and passed; a request that is refused is replaced by a
//! stand-in, so that its answer comes in turn after those of the requests before it. What follows a
//! refused request is thrown away.

use super::limits::RouterLimits;
use super::strict::{ChunkScan, Framing, Head, HeadScan, Refusal, SLOW_HEAD};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// The method of the stand-in. A client that sends it itself gets what its own refusal, if any, says.
pub(super) const REFUSED: &str = "SLUGC-REFUSED";
const STAND_IN: &[u8] = b"SLUGC-REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Bytes read ahead while it is undecided what they are, and in one go.
const READ: usize = 8 * 1024;
const MOST_HELD: usize = 64 * 1024;

/// A request that was refused, with what could be read of its first line.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) line: Vec<u8>,
}

/// What the guard and the exchanges of one client connection know of each other.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Requests whose answer is not complete.
    serving: AtomicUsize,
    /// The client takes nothing any more.
    stalled: AtomicBool,
    tunnel: AtomicBool,
    refused: Mutex<Option<Refused>>,
    bad_body: AtomicBool,
}

impl Shared {
    pub(super) fn answered(&self) {
        self.serving.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// A request body broke the rules; its rest was withheld.
    pub(super) fn is_bad_body(&self) -> bool {
        self.bad_body.load(Ordering::Relaxed)
    }

    /// From now on bytes pass unseen.
    pub(super) fn open_tunnel(&self) {
        self.tunnel.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_refused(&self) -> Option<Refused> {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    Chunked(ChunkScan),
    /// The client asked for another protocol; the dyno has not answered yet.
    Undecided,
    Tunnel,
    Refused,
}

/// One timer for many deadlines: it is set anew only when it fires too early.
#[derive(Debug)]
pub(super) struct Deadline(Pin<Box<Sleep>>);

impl Deadline {
    pub(super) fn new(first: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(first)))
    }

    /// Ready when `at` has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.0.deadline() > at {
            self.0.as_mut().reset(at);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(at);
        }
    }
}

#[derive(Debug)]
pub(super) struct Guard {
    socket: TcpStream,
    shared: Arc<Shared>,
    limits: Arc<RouterLimits>,
    held: Vec<u8>,
    /// Bytes at the start of `held` that may pass.
    passed: usize,
    state: State,
    scan: HeadScan,
    upgrade: bool,
    /// Since when the client owes a request or the rest of one.
    waiting_since: Option<Instant>,
    reading: Deadline,
    blocked_since: Option<Instant>,
    writing: Option<Deadline>,
    linger: Option<Deadline>,
}

impl Guard {
    pub(super) fn new(socket: TcpStream, limits: Arc<RouterLimits>, shared: Arc<Shared>) -> Self {
        Self {
            socket,
            shared,
            held: Vec::new(),
            passed: 0,
            state: State::Head,
            scan: HeadScan::default(),
            upgrade: false,
            waiting_since: None,
            reading: Deadline::new(limits.head_time.min(limits.client_idle)),
            blocked_since: None,
            writing: None,
            linger: None,
            limits,
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let start = self
            .held
            .iter()
            .position(|byte| !byte.is_ascii_whitespace());
        let line = self.held[start.unwrap_or(0)..]
            .iter()
            .take_while(|&&byte| byte != b'\r' && byte != b'\n')
            .take(self.limits.request_line)
            .copied()
            .collect();
        *self
            .shared
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Refused { refusal, line });
        self.shared.serving.fetch_add(1, Ordering::Relaxed);
        self.held = STAND_IN.to_vec();
        self.passed = STAND_IN.len();
        self.state = State::Refused;
    }

    /// A body goes no further; its exchange answers.
    fn withhold(&mut self) {
        self.shared.bad_body.store(true, Ordering::Relaxed);
        self.held.truncate(self.passed);
        self.state = State::Refused;
    }

    /// Lets pass what may pass of the held bytes. Whether anything may.
    fn look(&mut self) -> bool {
        while self.passed < self.held.len() {
            let rest = &self.held[self.passed..];
            match &mut self.state {
                // One head at a time: the next one's bytes must stand at the start.
                State::Head if self.passed > 0 => break,
                State::Head => match self.scan.feed(rest, &self.limits) {
                    Ok(Some(head)) => self.begin(head),
                    Ok(None) => break,
                    Err(refusal) => self.refuse(refusal),
                },
                State::Length(left) => {
                    let step =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= step as u64;
                    self.passed += step;
                    if *left == 0 {
                        self.end();
                    }
                }
                State::Chunked(scan) => match scan.feed(rest) {
                    Ok(step) => {
                        self.passed += step;
                        if scan.is_done() {
                            self.end();
                        }
                    }
                    Err(_) => self.withhold(),
                },
                State::Undecided if self.shared.tunnel.load(Ordering::Relaxed) => {
                    self.state = State::Tunnel;
                }
                State::Tunnel => self.passed = self.held.len(),
                State::Undecided | State::Refused => break,
            }
        }
        self.passed > 0
    }

    fn begin(&mut self, head: Head) {
        self.shared.serving.fetch_add(1, Ordering::Relaxed);
        self.passed = head.len;
        self.upgrade = head.upgrade;
        self.scan = HeadScan::default();
        match head.framing {
            Framing::Length(0) => self.end(),
            Framing::Length(length) => self.state = State::Length(length),
            Framing::Chunked => self.state = State::Chunked(ChunkScan::new()),
        }
    }

    fn end(&mut self) {
        self.state = if self.upgrade {
            State::Undecided
        } else {
            State::Head
        };
    }

    /// Gives up on a client that waits too long with its next request or within its head.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.state, State::Head) || self.shared.serving.load(Ordering::Relaxed) > 0 {
            self.waiting_since = None;
            return Poll::Pending;
        }
        let patience = if self.held.is_empty() {
            self.limits.client_idle
        } else {
            self.limits.head_time
        };
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        ready!(self.reading.poll(cx, since + patience));
        if !self.held.is_empty() {
            self.refuse(SLOW_HEAD);
        }
        Poll::Ready(())
    }

    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.held.len() > MOST_HELD.max(self.limits.head) {
            return Poll::Pending;
        }
        let mut bytes = [const { MaybeUninit::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        if self.held.is_empty() {
            self.waiting_since = None;
        }
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// A body or a tunnel goes straight into the reader's memory.
    fn poll_direct(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        let got = buf.filled().len() - before;
        let fresh = &buf.filled()[before..];
        let own = match &mut self.state {
            State::Length(left) => {
                let own = usize::try_from(*left).map_or(got, |left| left.min(got));
                *left -= own as u64;
                if *left == 0 {
                    self.end();
                }
                own
            }
            State::Chunked(scan) => {
                let Ok(own) = scan.feed(fresh) else {
                    self.withhold();
                    buf.set_filled(before);
                    // Nothing more will be read; the exchange must learn it now.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                };
                if scan.is_done() {
                    self.end();
                }
                own
            }
            _ => got,
        };
        self.held.extend_from_slice(&buf.filled()[before + own..]);
        buf.set_filled(before + own);
        Poll::Ready(Ok(()))
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let since = *self.blocked_since.get_or_insert_with(Instant::now);
        let idle = self.limits.idle;
        let timer = self.writing.get_or_insert_with(|| Deadline::new(idle));
        ready!(timer.poll(cx, since + idle));
        self.shared.stalled.store(true, Ordering::Relaxed);
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.look() {
                let step = this.passed.min(buf.remaining());
                buf.put_slice(&this.held[..step]);
                this.held.drain(..step);
                this.passed -= step;
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty()
                && matches!(
                    this.state,
                    State::Length(_) | State::Chunked(_) | State::Tunnel
                )
            {
                return this.poll_direct(cx, buf);
            }
            match this.poll_hold(cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) if matches!(this.state, State::Refused) => this.held.clear(),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    ready!(this.poll_patience(cx));
                    if this.passed == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.socket).poll_write(cx, buf) {
            Poll::Pending => this.poll_blocked(cx),
            done @ Poll::Ready(_) => {
                this.blocked_since = None;
                done
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.socket).poll_write_vectored(cx, bufs) {
            Poll::Pending => this.poll_blocked(cx),
            done @ Poll::Ready(_) => {
                this.blocked_since = None;
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    /// Says that nothing more comes and waits a little for the client to say so too.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            this.linger = Some(Deadline::new(this.limits.linger));
            this.waiting_since = None;
        }
        let since = *this.waiting_since.get_or_insert_with(Instant::now);
        let until = since + this.limits.linger;
        let mut bytes = [const { MaybeUninit::uninit() }; READ];
        loop {
            let mut buffer = ReadBuf::uninit(&mut bytes);
            match Pin::new(&mut this.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    if Instant::now() >= until {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let Some(timer) = &mut this.linger else {
                        return Poll::Ready(Ok(()));
                    };
                    return timer.poll(cx, until).map(Ok);
                }
            }
        }
    }
}

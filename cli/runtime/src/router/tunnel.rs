//! What follows a `101 Switching Protocols`: bytes, in both directions, whose meaning is not ours.

use super::answer::Code;
use super::exchange::Exchange;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

/// One end, which notes when bytes came out of it and how many.
struct Observed<'a> {
    io: TokioIo<Upgraded>,
    last: &'a Cell<Instant>,
    bytes: &'a Cell<usize>,
}

impl AsyncRead for Observed<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        self.last.set(Instant::now());
        self.bytes
            .set(self.bytes.get() + buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Observed<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Carries bytes until both ends are closed or nothing moved for the idle time (H15).
pub(super) async fn run(up: OnUpgrade, down: OnUpgrade, mut exchange: Box<Exchange>) {
    // A failure of either leaves `exchange` to log that the client went away.
    let (Ok(up), Ok(down)) = (up.await, down.await) else {
        return;
    };
    let last = Cell::new(Instant::now());
    let (to_client, to_dyno) = (Cell::new(0), Cell::new(0));
    let mut up = Observed {
        io: TokioIo::new(up),
        last: &last,
        bytes: &to_client,
    };
    let mut down = Observed {
        io: TokioIo::new(down),
        last: &last,
        bytes: &to_dyno,
    };
    let idle = exchange.client().worker.limits.idle;
    let idled = async {
        while last.get().elapsed() < idle {
            sleep_until(last.get() + idle).await;
        }
    };
    let code = tokio::select! {
        // Closed by a reset or in order: a tunnel has no other end.
        _ = copy_bidirectional(&mut up, &mut down) => None,
        () = idled => Some(Code::H15),
    };
    exchange.add_bytes(to_client.get());
    exchange.finish(code);
}

//! Buffers of a thread, lent to connections for as long as bytes wait in them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// How much a lent buffer holds before it grows: a head and a body of ordinary size.
pub(super) const FULL: usize = 16 * 1024;
// Buffers in use at one moment are those of connections in the middle of a request: few per thread.
const SPARE: usize = 16;

thread_local! {
    static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; FULL]);
}

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(FULL))
}

/// Takes a buffer back. One that has grown is freed: a large response must not be held for ever.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > 4 * FULL {
        return;
    }
    buffer.clear();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < SPARE {
            buffers.push(buffer);
        }
    });
}

/// Writes all of `bytes` to `io`, of which `sent` are written already. Flushes nothing.
pub(super) fn poll_write_all(
    io: &mut (impl AsyncWrite + Unpin + ?Sized),
    bytes: &[u8],
    sent: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
        let written = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *sent += written;
    }
    Poll::Ready(Ok(()))
}

/// Lends the thread's scratch, into which one read goes.
pub(super) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| read(scratch))
}

//! Reads one request head off a connection, with a deadline for all of it.
//!
//! An idle connection holds no buffer: reads go into a scratch of the thread and only what arrived is kept.
//!
//! ```text
//! idle ─first byte─▶ arriving ─empty line─▶ head
//!  │ idle_timeout, or linger once the doors are closed: gone
//!               │ head_timeout: 408
//! ```

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use pingora::protocols::Stream;
use tokio::io::ReadBuf;

use super::buffers;
use super::deadline::Deadline;
use super::head_scan::{Fault, Ordinary, Progress, Scan};
use super::worker::Worker;

/// What came next on a connection.
#[derive(Debug)]
pub(super) enum Next {
    /// A whole head, and perhaps the beginning of its body; where its parts lie, where it is an ordinary one.
    Head(BytesMut, Option<Ordinary>),
    /// The beginning of HTTP/2.
    Preface(BytesMut),
    /// The client is gone, or had nothing to say for too long.
    Gone,
    /// Something that is refused.
    Fault(Fault),
}

/// Reads heads off one connection.
#[derive(Debug)]
pub(super) struct HeadReader {
    /// Between two heads it is free for whoever serves the request.
    pub(super) deadline: Deadline,
}

impl HeadReader {
    pub(super) fn new(worker: &Worker) -> Self {
        Self { deadline: Deadline::new(worker.limits.idle_timeout) }
    }

    /// Waits for the next head.
    pub(super) async fn next(&mut self, io: &mut Stream, worker: &Worker) -> Next {
        let mut head = BytesMut::new();
        let mut scan = Scan::default();
        let mut lingering = false;
        self.deadline.set(worker.limits.idle_timeout);
        loop {
            // Cancel safety: `read` has put what it took into `head` when it returns, and nothing before.
            let first = tokio::select! {
                biased;
                read = poll_fn(|cx| poll_read(io, &mut head, cx)) => match read {
                    Ok(0) | Err(_) => return Next::Gone,
                    Ok(amount) => amount == head.len(),
                },
                () = poll_fn(|cx| self.deadline.poll(cx)) => {
                    return if head.is_empty() { Next::Gone } else { Next::Fault(Fault::Slow) };
                }
                () = worker.signals.closing.cancelled(), if !lingering => {
                    lingering = true;
                    if head.is_empty() {
                        self.deadline.set(worker.linger().min(worker.limits.idle_timeout));
                    }
                    continue;
                }
            };
            match scan.advance(&head, &worker.limits) {
                // Most heads come in one piece and need no deadline.
                Ok(Progress::Partial) if first => {
                    self.deadline.set(worker.limits.head_timeout);
                }
                Ok(Progress::Partial) => {}
                Ok(Progress::Preface) => return Next::Preface(head),
                Ok(Progress::Complete(found)) => {
                    if let Some(cut) = found.absolute {
                        head = without(&head, cut, found.slash);
                    }
                    return Next::Head(head, found.ordinary);
                }
                Err(fault) => return Next::Fault(fault),
            }
        }
    }
}

/// RFC 9112 §3.2.2: an absolute-form target, which agrees with `Host`, goes on in origin form.
fn without(head: &BytesMut, cut: std::ops::Range<usize>, instead: &str) -> BytesMut {
    let mut rest = BytesMut::with_capacity(head.len() + instead.len());
    rest.extend_from_slice(head.get(..cut.start).unwrap_or_default());
    rest.extend_from_slice(instead.as_bytes());
    rest.extend_from_slice(head.get(cut.end..).unwrap_or_default());
    rest
}

fn poll_read(io: &mut Stream, into: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    buffers::with_scratch(|scratch| {
        let mut read = ReadBuf::new(scratch);
        ready!(Pin::new(&mut **io).poll_read(cx, &mut read))?;
        into.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

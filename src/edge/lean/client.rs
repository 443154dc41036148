//! The client's side of an exchange: what it is sent, whether it is there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora::protocols::Stream;
use tokio::io::ReadBuf;

use super::failure::Failure;
use crate::edge::buffers;
use crate::edge::deadline::{Deadline, Wait};
use crate::edge::head_scan::Wish;

/// A client that waits for its response.
pub(super) struct Client<'a> {
    io: &'a mut Stream,
    /// Free between two heads: each wait of the exchange sets it anew.
    pub(super) deadline: &'a mut Deadline,
    pub(super) patience: Duration,
    /// Whether its connection ends with the response.
    pub(super) wish: Wish,
    watch: Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    On,
    /// It sent more than its request. Nothing is read any more, so its leaving is noticed by the next write.
    Off,
}

/// How a wait that is bounded went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    Done,
    InVain,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        io: &'a mut Stream,
        deadline: &'a mut Deadline,
        patience: Duration,
        wish: Wish,
    ) -> Self {
        Self { io, deadline, patience, wish, watch: Watch::On }
    }

    /// Ready once the client is gone.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.watch == Watch::Off {
            return Poll::Pending;
        }
        let mut bytes = [0; 64];
        let mut read = ReadBuf::new(&mut bytes);
        match Pin::new(&mut **self.io).poll_read(cx, &mut read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                // A request behind a request is dropped, and the connection ends with the response. std:117
                self.watch = Watch::Off;
                self.wish = Wish::Close;
                Poll::Pending
            }
            Poll::Ready(Ok(()) | Err(_)) => Poll::Ready(()),
        }
    }

    /// Writes all of `bytes`, of which `sent` are written already, and flushes; gives up for now after `at_most`.
    pub(super) async fn write(
        &mut self,
        bytes: &[u8],
        sent: &mut usize,
        at_most: Duration,
    ) -> Result<Waited, Failure> {
        let mut wait = Wait::new(at_most);
        poll_fn(|cx| match self.poll_write(bytes, sent, cx) {
            Poll::Ready(written) => {
                Poll::Ready(written.map(|()| Waited::Done).map_err(|_| Failure::ClientGone))
            }
            Poll::Pending => wait.poll(self.deadline, cx).map(|()| Ok(Waited::InVain)),
        })
        .await
    }

    fn poll_write(&mut self, bytes: &[u8], sent: &mut usize, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(buffers::poll_write_all(&mut **self.io, bytes, sent, cx))?;
        Pin::new(&mut **self.io).poll_flush(cx)
    }
}

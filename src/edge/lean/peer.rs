//! The upstream's side of an exchange.
//!
//! A connection, and what was read off it and not yet passed on.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};

use super::wire::Wire;
use crate::edge::buffers;
use crate::edge::upstream::Address;

/// A connection to an upstream. It holds a buffer only while bytes wait in it.
pub(super) struct Peer {
    wire: Wire,
    address: Address,
    pub(super) age: Age,
    read: Vec<u8>,
    /// How much of `read` was passed on.
    taken: usize,
    /// Whether anything came since the request.
    pub(super) answer: Answer,
}

/// Whether a connection has carried a request before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    Pooled,
}

/// Whether an upstream has begun to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    None,
    Begun,
}

impl Peer {
    pub(super) const fn new(wire: Wire, address: Address, age: Age) -> Self {
        Self { wire, address, age, read: Vec::new(), taken: 0, answer: Answer::None }
    }

    /// What was read and not yet passed on.
    pub(super) fn rest(&self) -> &[u8] {
        self.read.get(self.taken..).unwrap_or_default()
    }

    /// Passes on what was read up to there.
    pub(super) fn consume(&mut self, amount: usize) {
        self.taken += amount;
        if self.taken >= self.read.len() {
            self.taken = 0;
            buffers::give_back(std::mem::take(&mut self.read));
        }
    }

    /// Reads once; 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        buffers::with_scratch(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.wire).poll_read(cx, &mut read))?;
            let amount = read.filled().len();
            if amount > 0 {
                self.answer = Answer::Begun;
                if self.read.capacity() == 0 {
                    self.read = buffers::take();
                }
                self.read.extend_from_slice(read.filled());
            }
            Poll::Ready(Ok(amount))
        })
    }

    /// Writes all of `bytes`, of which `sent` are written already.
    pub(super) fn poll_write_all(
        &mut self,
        bytes: &[u8],
        sent: &mut usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        buffers::poll_write_all(&mut self.wire, bytes, sent, cx)
    }

    /// The connection, for another request.
    pub(super) fn into_parts(self) -> (Address, Wire) {
        buffers::give_back(self.read);
        (self.address, self.wire)
    }
}

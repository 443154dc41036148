//! A response's body on its way through: the upstream's framing off, ours on.
//!
//! Content goes on as it comes, none is held back. What the framing does not cover is never passed on.

use super::chunked::{Chunked, Piece};
use super::failure::Failure;
use super::peer::Peer;
use super::response::Framing;
use super::write;

/// What is still to come of a body.
pub(super) enum Body {
    Empty,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Whether a body is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Done,
}

impl Body {
    pub(super) const fn of(framing: Framing) -> Self {
        match framing {
            Framing::Empty => Self::Empty,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Moves everything at hand to `out`.
    ///
    /// # Errors
    /// Where the framing is broken.
    pub(super) fn pass(&mut self, peer: &mut Peer, out: &mut Vec<u8>) -> Result<Step, Failure> {
        match self {
            Self::Empty => Ok(Step::Done),
            Self::Length(left) => {
                let here = peer.rest();
                let here = usize::try_from(*left).ok().and_then(|left| here.get(..left)).unwrap_or(here);
                out.extend_from_slice(here);
                let amount = here.len();
                peer.consume(amount);
                // The cast widens: a `usize` has 64 bits at most.
                *left -= amount as u64;
                Ok(if *left == 0 { Step::Done } else { Step::More })
            }
            Self::Chunked(chunked) => pass_chunks(chunked, peer, out),
            Self::UntilClose => {
                write::chunk(out, peer.rest());
                peer.consume(peer.rest().len());
                Ok(Step::More)
            }
        }
    }

    /// The upstream has closed its connection.
    ///
    /// # Errors
    /// Where that is not how the body ends.
    pub(super) fn close(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::UntilClose => {
                write::last_chunk(out);
                Ok(())
            }
            Self::Empty | Self::Length(_) | Self::Chunked(_) => Err(Failure::Broken),
        }
    }
}

fn pass_chunks(chunked: &mut Chunked, peer: &mut Peer, out: &mut Vec<u8>) -> Result<Step, Failure> {
    loop {
        let here = peer.rest();
        let (amount, step) = match chunked.next(here).map_err(|_| Failure::BadResponse)? {
            Piece::Content { framing, length } => {
                let end = framing.saturating_add(length);
                write::chunk(out, here.get(framing..end).unwrap_or_default());
                (end, None)
            }
            Piece::Nothing => (here.len(), Some(Step::More)),
            Piece::End(amount) => {
                write::last_chunk(out);
                (amount, Some(Step::Done))
            }
        };
        peer.consume(amount);
        if let Some(step) = step {
            return Ok(step);
        }
    }
}

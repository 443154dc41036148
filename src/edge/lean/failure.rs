//! What can go wrong between a request and the end of its response.

use crate::edge::call::Blame;
use crate::gate::denial::Denial;
use crate::gate::stream::StreamEnd;

/// Why a response is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client closed its connection.
    ClientGone,
    /// The client does not take what it asked for.
    ClientSlow,
    /// Every endpoint has as many requests as it may have.
    Busy,
    /// The upstream's name has no address.
    Unresolved,
    /// No address of the upstream accepts a connection.
    Unreachable,
    ConnectTimeout,
    /// The request cannot be written: a field that no field can hold.
    Unwritable,
    /// The upstream's connection ended before a byte of its response.
    Died,
    /// It ended within the response.
    Broken,
    /// The response is none, or framed in two ways.
    BadResponse,
    ReadTimeout,
    WriteTimeout,
    /// It may not go on.
    MustEnd(StreamEnd),
}

impl Failure {
    /// What it means to the client; `None` where there is no client left. The same as for pingora's errors.
    pub(super) const fn denial(self) -> Option<Denial> {
        match self {
            Self::ClientGone | Self::MustEnd(_) => None,
            Self::ClientSlow => Some(Denial::BadRequest("the response was not taken in time")),
            Self::ConnectTimeout | Self::ReadTimeout | Self::WriteTimeout => Some(Denial::UpstreamTimeout),
            Self::Busy => Some(Denial::UpstreamBusy),
            Self::Unresolved
            | Self::Unreachable
            | Self::Unwritable
            | Self::Died
            | Self::Broken
            | Self::BadResponse => Some(Denial::UpstreamUnreachable),
        }
    }

    pub(super) const fn blame(self) -> Blame {
        match self {
            // Nobody's: it is told among what clients cause, and not as a fault.
            Self::ClientGone | Self::ClientSlow | Self::MustEnd(_) => Blame::Client,
            Self::Busy
            | Self::Unresolved
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::Unwritable
            | Self::Died
            | Self::Broken
            | Self::BadResponse
            | Self::ReadTimeout
            | Self::WriteTimeout => Blame::Upstream,
        }
    }

    /// Whether it speaks against the endpoint. Connections that could not be made are counted where they are tried.
    pub(super) const fn is_the_endpoints(self) -> bool {
        match self {
            Self::Died | Self::Broken | Self::ReadTimeout | Self::WriteTimeout => true,
            Self::ClientGone
            | Self::ClientSlow
            | Self::Busy
            | Self::Unresolved
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::Unwritable
            | Self::BadResponse
            | Self::MustEnd(_) => false,
        }
    }

    /// How logs call it: in pingora's words, so that one search finds both.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::ClientGone | Self::Died | Self::Broken => "ConnectionClosed",
            Self::ClientSlow | Self::WriteTimeout => "WriteTimedout",
            Self::Busy => "UpstreamBusy",
            Self::Unresolved | Self::Unreachable => "ConnectError",
            Self::ConnectTimeout => "ConnectTimedout",
            Self::Unwritable | Self::BadResponse => "InvalidHTTPHeader",
            Self::ReadTimeout => "ReadTimedout",
            Self::MustEnd(end) => end.label(),
        }
    }
}

//! Where a connection goes.

use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::Path;
use std::sync::Arc;

use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;

/// An address that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::edge) enum Address {
    Inet(SocketAddr),
    Unix(Arc<Path>),
}

impl Address {
    /// In pingora's words; `None` for a path that no socket can have.
    pub(super) fn to_pingora(&self) -> Option<PingoraAddress> {
        match self {
            Self::Inet(address) => Some(PingoraAddress::Inet(*address)),
            Self::Unix(path) => UnixAddress::from_pathname(path).ok().map(PingoraAddress::Unix),
        }
    }
}

//! Where a connection goes.

use std::net::SocketAddr;

use pingora::protocols::l4::socket::SocketAddr as PingoraAddress;

/// An address that can be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::edge) enum Address {
    Inet(SocketAddr),
}

impl Address {
    pub(super) fn to_pingora(&self) -> PingoraAddress {
        match self {
            Self::Inet(address) => PingoraAddress::Inet(*address),
        }
    }
}

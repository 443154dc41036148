//! Listening sockets: one per address and worker, joined by `SO_REUSEPORT`.
//!
//! The option hides a second process on the same port, which would silently answer part of the requests. So each
//! address is first bound without it: that fails while anyone else listens.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};

use super::EdgeError;
use super::settings::Listener;
use crate::base::tls;

/// The sockets of one address.
pub(super) struct Bound {
    /// The address, with the port that the system chose where the settings say 0.
    pub(super) address: SocketAddr,
    sockets: Vec<TcpListener>,
    acceptor: Option<Arc<Acceptor>>,
}

/// One worker's socket of one address.
pub(super) struct Listening {
    /// The socket.
    pub(super) socket: TcpListener,
    /// Speaks TLS, where the address does.
    pub(super) acceptor: Option<Arc<Acceptor>>,
}

/// Binds an address once for each worker.
///
/// # Errors
/// Where the address is taken or its certificate not usable.
pub(super) fn bind(listener: &Listener, workers: usize) -> Result<Bound, EdgeError> {
    let fail = |source| EdgeError::Listen { address: listener.address, source };
    let acceptor = match &listener.tls {
        Some(files) => {
            let config = tls::server_config(&files.cert, &files.key)
                .map_err(|source| EdgeError::Tls { address: listener.address, source })?;
            Some(Arc::new(Acceptor::from_server_config(config)))
        }
        None => None,
    };
    let mut address = listener.address;
    if address.port() != 0 {
        drop(open(address, Sharing::Alone).map_err(fail)?);
    }
    let mut sockets = Vec::new();
    for _ in 0..workers {
        let socket = open(address, Sharing::Workers).map_err(fail)?;
        address = socket.local_addr().map_err(fail)?;
        sockets.push(socket);
    }
    Ok(Bound { address, sockets, acceptor })
}

impl Bound {
    /// The next worker's socket.
    pub(super) fn take(&mut self) -> Option<Listening> {
        Some(Listening { socket: self.sockets.pop()?, acceptor: self.acceptor.clone() })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Sharing {
    Alone,
    Workers,
}

fn open(address: SocketAddr, sharing: Sharing) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // What the kernel keeps while a worker is busy; it caps this at `net.core.somaxconn` anyway.
    socket.listen(4096)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_share_one_port_and_a_taken_one_is_reported() {
        let any = Listener { address: "127.0.0.1:0".parse().unwrap(), tls: None };
        let mut bound = bind(&any, 2).unwrap();
        let addresses: Vec<_> =
            std::iter::from_fn(|| bound.take()).map(|one| one.socket.local_addr().unwrap()).collect();
        assert_eq!(addresses, vec![bound.address; 2]);
        let kept = bind(&any, 1).unwrap();
        let error = bind(&Listener { address: kept.address, tls: None }, 1).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on {}", kept.address));
    }
}

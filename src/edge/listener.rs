//! Listening sockets: one per address and worker, joined by `SO_REUSEPORT`.
//!
//! The option hides a second process on the same port, which would silently answer part of the requests. So each
//! address is first bound without it: that fails while anyone else listens.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use pingora::listeners::tls::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;

use super::EdgeError;
use super::inherited::Inherited;
use super::secured::{self, Clients};
use super::settings::{Listener, Tls};
use crate::base::tls::server::Server;

/// An address that is listened on.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// The address of the settings.
    pub(super) configured: SocketAddr,
    /// The address, with the port that the system chose where the settings say 0.
    pub(super) address: SocketAddr,
    /// How connections that come are secured.
    pub(super) security: Arc<Security>,
    /// Ends it.
    pub(super) closing: CancellationToken,
}

/// One worker's socket of one address.
pub(super) struct Listening {
    /// The socket.
    pub(super) socket: TcpListener,
    /// How connections that come are secured.
    pub(super) security: Arc<Security>,
    pub(super) queue: Queue,
    /// Nobody new is accepted any more.
    pub(super) closing: CancellationToken,
}

/// What becomes of the connections that wait when a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// They are reset: whoever closes serves them first.
    Own,
    /// Another process has the same socket and will take them.
    Shared,
}

/// How the connections of an address are secured from now on. Those that are open keep what they began with.
#[derive(Debug)]
pub(super) struct Security(ArcSwapOption<Secure>);

/// The TLS of an address.
pub(super) struct Secure {
    acceptor: Acceptor,
    /// What it was built from.
    pub(super) server: Server,
}

impl fmt::Debug for Secure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secure").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Secure {
    /// Builds the TLS of a listener; `None` where it speaks none.
    ///
    /// # Errors
    /// Where a certificate is not usable.
    pub(super) fn load(listener: &Listener) -> Result<Option<Arc<Self>>, EdgeError> {
        let Some(Tls { certificates, terms }) = &listener.tls else { return Ok(None) };
        let pairs: Vec<(&Path, &Path)> =
            certificates.iter().map(|files| (files.cert.as_path(), files.key.as_path())).collect();
        let server = Server::load(&pairs, terms)
            .map_err(|source| EdgeError::Tls { address: listener.address, source })?;
        let clients =
            if terms.client_auth.is_some() { Clients::MayShowCertificates } else { Clients::Unnamed };
        let acceptor = secured::acceptor(&server, clients)
            .map_err(|source| EdgeError::Acceptor { address: listener.address, source })?;
        Ok(Some(Arc::new(Self { acceptor, server })))
    }

    pub(super) const fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }
}

impl Security {
    /// What the next connection gets.
    pub(super) fn current(&self) -> Option<Arc<Secure>> {
        self.0.load_full()
    }

    /// The next connection gets `secure`. What is the same stays: clients may resume what they had.
    pub(super) fn replace(&self, secure: Option<Arc<Secure>>) -> Change {
        let digest = |secure: &Option<Arc<Secure>>| secure.as_ref().map(|one| *one.server.digest());
        if digest(&self.current()) == digest(&secure) {
            return Change::None;
        }
        self.0.store(secure);
        Change::Replaced
    }
}

/// What came of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Replaced,
}

/// Binds an address once for each worker, or takes the one socket of it that was inherited for all of them.
///
/// # Errors
/// Where the address is taken or its certificate not usable.
pub(super) fn bind(
    listener: &Listener,
    workers: usize,
    closing: CancellationToken,
    inherited: &mut Inherited,
) -> Result<(Bound, Vec<Listening>), EdgeError> {
    let fail = |source| EdgeError::Listen { address: listener.address, source };
    let security = Arc::new(Security(ArcSwapOption::new(Secure::load(listener)?)));
    let mut address = listener.address;
    let mut all = Vec::new();
    // A token of its own for each worker: waiting on it touches no lock of another core.
    let listening = |socket, queue| Listening {
        socket,
        security: Arc::clone(&security),
        queue,
        closing: closing.child_token(),
    };
    if let Some(socket) = inherited.claim(address) {
        for _ in 0..workers {
            all.push(listening(socket.try_clone().map_err(fail)?, Queue::Shared));
        }
        return Ok((Bound { configured: address, address, security, closing }, all));
    }
    if address.port() != 0 {
        drop(open(address, Sharing::Alone).map_err(fail)?);
    }
    for _ in 0..workers {
        let socket = open(address, Sharing::Workers).map_err(fail)?;
        address = socket.local_addr().map_err(fail)?;
        all.push(listening(socket, Queue::Own));
    }
    Ok((Bound { configured: listener.address, address, security, closing }, all))
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
        let none = &mut Inherited::default();
        let never = CancellationToken::new;
        let (bound, all) = bind(&any, 2, never(), none).unwrap();
        let addresses: Vec<_> = all.iter().map(|one| one.socket.local_addr().unwrap()).collect();
        assert_eq!(addresses, vec![bound.address; 2]);
        let (kept, _sockets) = bind(&any, 1, never(), none).unwrap();
        let error = bind(&Listener { address: kept.address, tls: None }, 1, never(), none).err().unwrap();
        assert_eq!(error.to_string(), format!("cannot listen on {}", kept.address));
    }
}

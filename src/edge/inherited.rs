//! Listening sockets that somebody else has bound.
//!
//! A service manager, or whoever hands over from one process to the next: `LISTEN_FDS`, `LISTEN_PID` and
//! `LISTEN_FDNAMES` of sd_listen_fds(3). One socket in two processes is the only way to hand over without losing a
//! connection: what waits in its queue is taken by whichever process accepts.

use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

/// The sockets of this process that were inherited and not yet claimed by a listener.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Socket>);

#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    /// What the other side calls it.
    name: String,
    listener: TcpListener,
}

/// Why what was inherited cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// It is no stream socket of TCP.
    #[error("the inherited descriptor {name} is no TCP socket")]
    Kind {
        /// Its name, or its number among those that were inherited.
        name: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// It is connected, or bound and no more.
    #[error("the inherited socket {name} does not listen")]
    Idle {
        /// Its name.
        name: String,
    },
    /// No listener has its address. Whoever connects there would wait for ever.
    #[error("the inherited socket {name} listens on {address}, and no listener of the configuration does")]
    Unclaimed {
        /// Its name.
        name: String,
        /// Its address.
        address: SocketAddr,
    },
}

impl Inherited {
    /// Takes what this process was started with. `names` is `LISTEN_FDNAMES`. To be called before there are threads: the
    /// variables are removed, so that no child takes them for its own.
    ///
    /// # Errors
    /// Where something is no listening socket of TCP.
    pub fn take(names: Option<&str>) -> Result<Self, InheritedError> {
        let mut descriptors = ListenFd::from_env();
        let mut names = names.unwrap_or_default().split(':');
        let mut all = Vec::new();
        for place in 0..descriptors.len() {
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.map_or_else(|| format!("number {}", place + 1), |name| format!("`{name}`"));
            let taken = descriptors.take_tcp_listener(place);
            let Some(listener) =
                taken.map_err(|source| InheritedError::Kind { name: name.clone(), source })?
            else {
                continue;
            };
            all.push(Socket::new(listener, name)?);
        }
        Ok(Self(all))
    }

    /// Whether each has an address among `configured`.
    ///
    /// # Errors
    /// Where one has not.
    pub fn check(&self, configured: &[SocketAddr]) -> Result<(), InheritedError> {
        match self.0.iter().find(|socket| !configured.contains(&socket.address)) {
            None => Ok(()),
            Some(Socket { address, name, .. }) => {
                Err(InheritedError::Unclaimed { name: name.clone(), address: *address })
            }
        }
    }

    /// The one that listens on `address`.
    pub(super) fn claim(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let place = self.0.iter().position(|socket| socket.address == address)?;
        Some(self.0.remove(place).listener)
    }
}

impl Socket {
    fn new(listener: TcpListener, name: String) -> Result<Self, InheritedError> {
        if !SockRef::from(&listener).is_listener().unwrap_or(false) {
            return Err(InheritedError::Idle { name });
        }
        let told = listener.local_addr().and_then(|address| listener.set_nonblocking(true).map(|()| address));
        match told {
            Ok(address) => Ok(Self { address, name, listener }),
            Err(source) => Err(InheritedError::Kind { name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(listener: TcpListener) -> Inherited {
        Inherited(vec![Socket::new(listener, "`web`".to_owned()).unwrap()])
    }

    #[test]
    fn a_socket_is_claimed_by_its_address_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut inherited = of(listener);
        let other = "127.0.0.1:1".parse().unwrap();
        assert!(inherited.check(&[other, address]).is_ok());
        assert!(inherited.claim(other).is_none());
        assert_eq!(inherited.claim(address).unwrap().local_addr().unwrap(), address);
        assert!(inherited.claim(address).is_none());
    }

    #[test]
    fn what_nobody_configured_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let error = of(listener).check(&["127.0.0.1:1".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("`web`") && error.contains(&address.to_string()), "{error}");
    }

    #[test]
    fn a_socket_that_does_not_listen_is_refused() {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let bound: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&bound.into()).unwrap();
        let error = Socket::new(socket.into(), "number 1".to_owned()).unwrap_err();
        assert!(matches!(error, InheritedError::Idle { .. }), "{error}");
    }
}

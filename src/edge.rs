//! All of pingora: listeners, the way of a request, the drain.
//!
//! The edge decides nothing: it reads heads, asks the gate, and applies the verdict. It owns its accept loops and
//! runtimes, one of each per core, and drives pingora's `HttpProxy` per request. That buys deadlines and sizes for
//! every head, an exact drain, little memory per idle connection, and a whole gateway inside a test on port 0.
//!
//! ```text
//! listener ─▶ worker ─▶ http1 | http2 ─▶ proxy ─▶ upstream
//!             accept    head_reader      request_edit, response_edit
//!                       head_scan        respond, access
//! ```

mod access;
pub mod admin;
mod buffers;
mod call;
mod conn;
mod deadline;
mod doors;
mod front;
mod head_reader;
mod head_scan;
mod hops;
mod http1;
mod http2;
pub mod inherited;
mod intake;
mod lean;
mod listener;
pub mod live;
pub mod metrics;
pub mod preview;
mod proxy;
pub mod readiness;
mod request_edit;
mod respond;
mod response_edit;
mod secured;
pub mod settings;
mod streams;
pub mod upstream;
mod websocket;
mod worker;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::time::fast_timeout::set_fast_timeout_to_tokio_threshold;

use self::doors::Doors;
use self::inherited::{Inherited, InheritedError};
use self::listener::{Bound, Change, Secure};
use self::live::{Live, Slot};
use self::settings::{Drain, Listener, Settings};
use self::upstream::Probes;
use self::worker::Worker;
use crate::base::tasks::Tasks;
use crate::base::tls::certificate::Leaf;

/// A running edge: its listeners and the threads that serve them. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Edge {
    bound: Vec<Bound>,
    doors: Arc<Doors>,
    slots: Vec<Arc<Slot>>,
    ca_file: Option<String>,
    threads: Vec<JoinHandle<()>>,
    /// What probes the endpoints of upstreams; the lock is held at a reload only.
    probes: Mutex<Probes>,
    tasks: Tasks,
}

/// Why the edge could not start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// An address could not be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Certificate or key of a listener are not usable.
    #[error("cannot serve TLS on {address}")]
    Tls {
        /// The address.
        address: SocketAddr,
        /// What is wrong.
        #[source]
        source: crate::base::tls::TlsError,
    },
    /// pingora refuses the TLS of a listener.
    #[error("cannot serve TLS on {address}")]
    Acceptor {
        /// The address.
        address: SocketAddr,
        /// What it said.
        #[source]
        source: Box<pingora::Error>,
    },
    /// See [`InheritedError`].
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// A runtime or thread could not be made.
    #[error("cannot start a worker")]
    Worker(#[source] std::io::Error),
}

/// A reload cannot change which certificates vouch for upstreams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificates that vouch for upstreams have changed: a restart is needed")]
pub struct TrustChanged;

/// Why an edge goes on with what it has; nothing of it has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// See [`TrustChanged`].
    #[error(transparent)]
    Trust(#[from] TrustChanged),
    /// A listener cannot be served as it should be.
    #[error(transparent)]
    Listener(#[from] EdgeError),
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that were cut when the limit was reached.
    pub cut: usize,
}

impl Edge {
    /// Binds every listener whose socket is not among the `inherited` and starts serving. Endpoints
    /// of upstreams are probed by `tasks`.
    ///
    /// # Errors
    /// Where an address is taken, a certificate not usable or a thread not to be had.
    pub fn start(
        settings: &Settings,
        live: &Arc<Live>,
        inherited: &mut Inherited,
        tasks: &Tasks,
    ) -> Result<Self, EdgeError> {
        // pingora's own timers are kept until they would have fired, whatever became of what they guard, behind a lock
        // that its clock thread takes 100 times a second. A worker's runtime forgets what was cancelled.
        set_fast_timeout_to_tokio_threshold(Some(Duration::ZERO));
        let workers = settings.workers.max(1);
        let (mut bound, mut sockets) = (Vec::new(), Vec::new());
        for listener in &settings.listeners {
            let (one, of_workers) = listener::bind(listener, workers, inherited)?;
            bound.push(one);
            sockets.push(of_workers.into_iter());
        }
        let doors = Arc::new(Doors::new(&settings.limits, live.metrics.connections()));
        // Names this process to itself: a request that carries it has been here (std:112).
        let pseudonym = format!("bearward-{}", hex(crate::base::secret::random::<4>()));
        let ca_file = live.upstreams.ca_file();
        let probes = Mutex::new(Probes::start(&live.upstreams, tasks));
        let tasks = tasks.clone();
        let (slots, threads) = (Vec::new(), Vec::new());
        let mut edge = Self { bound, doors, slots, ca_file, threads, probes, tasks };
        for number in 0..workers {
            let slot = Arc::new(Slot::new(Arc::clone(live)));
            edge.slots.push(Arc::clone(&slot));
            let worker = Worker::new(settings, slot, &edge.doors, &pseudonym);
            let own = sockets.iter_mut().filter_map(Iterator::next).collect();
            edge.threads.push(worker.spawn(number, own).map_err(EdgeError::Worker)?);
        }
        Ok(edge)
    }

    /// Where it listens, in the order of the settings.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.address).collect()
    }

    /// Every certificate that is presented, with the address where.
    pub fn certificates(&self) -> Vec<(SocketAddr, Leaf)> {
        let of = |bound: &Bound| {
            let secure = bound.security.current();
            let leaves = secure.iter().flat_map(|one| one.server.certificates().iter());
            leaves.map(|pair| (bound.address, pair.leaf.clone())).collect::<Vec<_>>()
        };
        self.bound.iter().flat_map(of).collect()
    }

    /// Serves every further request by `live` and secures every further connection as `listeners` say; what is under
    /// way keeps what it began with. Listeners keep their addresses. Returns those whose certificates have changed.
    ///
    /// # Errors
    /// Where the upstreams trust other certificates than before, which are loaded at start, or a listener's are not
    /// usable.
    pub fn replace(&self, listeners: &[Listener], live: &Arc<Live>) -> Result<Vec<SocketAddr>, ReplaceError> {
        if live.upstreams.ca_file() != self.ca_file {
            return Err(TrustChanged.into());
        }
        let mut secured = Vec::new();
        for bound in &self.bound {
            if let Some(listener) = listeners.iter().find(|listener| listener.address == bound.configured) {
                secured.push((bound, Secure::load(listener)?));
            }
        }
        let mut changed = Vec::new();
        for (bound, secure) in secured {
            if bound.security.replace(secure) == Change::Replaced {
                changed.push(bound.address);
            }
        }
        for slot in &self.slots {
            slot.replace(Arc::clone(live));
        }
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        // First none, then the new ones: two must not judge one endpoint.
        *probes = Probes::default();
        *probes = Probes::start(&live.upstreams, &self.tasks);
        Ok(changed)
    }

    /// Stops accepting after `drain.accept`, lets what is under way finish until `drain.limit`, cuts the rest and
    /// stops every thread. Returns at once when nothing is left.
    pub async fn drain(mut self, drain: &Drain) -> DrainReport {
        tokio::time::sleep(drain.accept).await;
        self.doors.close();
        let emptied = tokio::time::timeout(drain.limit, self.doors.emptied()).await;
        let cut = if emptied.is_ok() { 0 } else { self.doors.open() };
        // A worker's runtime goes with its thread, and with it every connection that is left.
        self.doors.leave();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(join));
        drop(joined.await);
        DrainReport { cut }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.doors.close();
        self.doors.leave();
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a worker thread panicked");
    }
}

fn hex(bytes: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;

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
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pingora::time::fast_timeout::set_fast_timeout_to_tokio_threshold;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::doors::Doors;
use self::inherited::{Inherited, InheritedError};
use self::listener::{Bound, Change, Listening, Secure};
use self::live::{Live, Slot};
use self::settings::{Drain, Settings};
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
    /// What probes the endpoints of upstreams.
    probes: Probes,
    tasks: Tasks,
    /// Each worker gets its sockets here.
    sockets: Vec<UnboundedSender<Listening>>,
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
        let doors = Arc::new(Doors::new(&settings.limits, live.metrics.connections()));
        doors.set_linger(settings.drain.linger);
        let mut listeners = Vec::new();
        for listener in &settings.listeners {
            listeners.push(listener::bind(listener, workers, doors.listener(), inherited)?);
        }
        // Names this process to itself: a request that carries it has been here (std:112).
        let pseudonym = format!("bearward-{}", hex(crate::base::secret::random::<4>()));
        let ca_file = live.upstreams.ca_file();
        let mut edge = Self {
            bound: Vec::new(),
            doors,
            slots: Vec::new(),
            ca_file,
            threads: Vec::new(),
            sockets: Vec::new(),
            probes: Probes::start(&live.upstreams, tasks),
            tasks: tasks.clone(),
        };
        for number in 0..workers {
            let slot = Arc::new(Slot::new(Arc::clone(live)));
            edge.slots.push(Arc::clone(&slot));
            let worker = Worker::new(settings, slot, &edge.doors, &pseudonym);
            let (sender, sockets) = unbounded_channel();
            edge.sockets.push(sender);
            edge.threads.push(worker.spawn(number, sockets).map_err(EdgeError::Worker)?);
        }
        for (bound, sockets) in listeners {
            edge.open(bound, sockets);
        }
        Ok(edge)
    }

    /// Where it listens.
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

    fn open(&mut self, bound: Bound, sockets: Vec<Listening>) {
        self.bound.push(bound);
        for (worker, socket) in self.sockets.iter().zip(sockets) {
            // A worker that has ended accepts nothing more, whatever it is sent.
            drop(worker.send(socket));
        }
    }

    /// Serves every further request by `live`, and listens and secures every further connection as `settings` say; what
    /// is under way keeps what it began with. Addresses that are new are listened on, those that are gone no more.
    /// Returns those whose certificates have changed.
    ///
    /// # Errors
    /// Where the upstreams trust other certificates than before, which are loaded at start, or where a listener's are not
    /// usable or its address is taken.
    pub fn replace(
        &mut self,
        settings: &Settings,
        live: &Arc<Live>,
    ) -> Result<Vec<SocketAddr>, ReplaceError> {
        if live.upstreams.ca_file() != self.ca_file {
            return Err(TrustChanged.into());
        }
        let mut left: Vec<Option<&Bound>> = self.bound.iter().map(Some).collect();
        let (mut kept, mut added) = (Vec::new(), Vec::new());
        for listener in &settings.listeners {
            let same =
                |bound: &&mut Option<&Bound>| bound.is_some_and(|bound| bound.configured == listener.address);
            match left.iter_mut().find(same).and_then(Option::take) {
                Some(bound) => kept.push((bound.clone(), Secure::load(listener)?)),
                None => {
                    let nothing = &mut Inherited::default();
                    added.push(listener::bind(listener, self.slots.len(), self.doors.listener(), nothing)?);
                }
            }
        }
        // From here on nothing can fail.
        for gone in left.into_iter().flatten() {
            gone.closing.cancel();
        }
        self.bound.clear();
        let mut changed = Vec::new();
        for (bound, secure) in kept {
            if bound.security.replace(secure) == Change::Replaced {
                changed.push(bound.address);
            }
            self.bound.push(bound);
        }
        for (bound, sockets) in added {
            self.open(bound, sockets);
        }
        self.doors.set_linger(settings.drain.linger);
        for slot in &self.slots {
            slot.replace(Arc::clone(live));
        }
        // First none, then the new ones: two must not judge one endpoint.
        self.probes = Probes::default();
        self.probes = Probes::start(&live.upstreams, &self.tasks);
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

//! One core's share: a thread, a runtime, its sockets, its `HttpProxy`.
//!
//! A pooled upstream connection stays with the runtime that opened it, so each worker has a proxy of its own.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use pingora::listeners::ALPN;
use pingora::protocols::Stream;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::conn::Conn;
use super::doors::{Doors, Seat, Signals};
use super::front::Front;
use super::head_scan::Fault;
use super::lean::pool::Pool;
use super::listener::{Listening, Queue, Secure};
use super::live::Slot;
use super::proxy::Proxy;
use super::settings::{FastPath, Limits, Settings};
use super::{hops, http1, http2, respond};

/// What every connection of a worker shares.
pub(super) struct Worker {
    /// Drives requests.
    pub(super) app: Arc<HttpProxy<Proxy>>,
    /// What clients may do.
    pub(super) limits: Limits,
    /// When to stop.
    pub(super) signals: Signals,
    /// What pingora looks at to see a shutdown. Ours is in `signals`; a dropped sender would count as one.
    pub(super) shutdown: watch::Receiver<bool>,
    _keep: watch::Sender<bool>,
    /// Who serves ordinary requests.
    pub(super) fast_path: FastPath,
    /// The fast path's idle connections to upstreams; pingora has a pool of its own.
    pub(super) pool: Pool,
    /// What it shares with the proxy.
    pub(super) front: Arc<Front>,
    doors: Arc<Doors>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(settings: &Settings, slot: Arc<Slot>, doors: &Arc<Doors>, pseudonym: &str) -> Self {
        let signals = doors.signals();
        let ca_file = slot.current().upstreams.ca_file();
        let front = Arc::new(Front::new(slot, signals.closing.clone(), pseudonym));
        let proxy = Proxy::new(Arc::clone(&front), settings);
        let conf = ServerConf {
            // The pool's size is multiplied by this number; each worker has a pool of its own.
            threads: 1,
            ca_file,
            // Idle connections to upstreams that one worker keeps.
            upstream_keepalive_pool_size: 256,
            // The upstream's own limit is the lower one.
            max_retries: MOST_ATTEMPTS,
            ..ServerConf::default()
        };
        let app = Arc::new(http_proxy(&Arc::new(conf), proxy));
        let (keep, shutdown) = watch::channel(false);
        Self {
            app,
            limits: settings.limits.clone(),
            signals,
            shutdown,
            _keep: keep,
            fast_path: settings.fast_path,
            pool: Pool::default(),
            front,
            doors: Arc::clone(doors),
        }
    }

    /// How long an idle connection may still send a request once the doors are closed.
    pub(super) fn linger(&self) -> Duration {
        self.doors.linger()
    }

    /// Counts a head that never became a request.
    pub(super) fn count_refused(&self, fault: Fault) {
        self.front.live().metrics.count(fault.status().as_u16(), fault.label());
    }

    /// Starts the thread.
    pub(super) fn spawn(
        self,
        number: usize,
        sockets: UnboundedReceiver<Listening>,
    ) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let worker = Arc::new(self);
        std::thread::Builder::new()
            .name(format!("edge-{number}"))
            .spawn(move || runtime.block_on(run(&worker, sockets)))
    }
}

/// The most attempts that an upstream may allow.
const MOST_ATTEMPTS: usize = 10;

async fn run(worker: &Arc<Worker>, mut sockets: UnboundedReceiver<Listening>) {
    let listen = async {
        while let Some(listening) = sockets.recv().await {
            spawn(accept_all(Arc::clone(worker), listening));
        }
        // The edge that sends them has left; what is under way goes on.
        std::future::pending().await
    };
    // Cancel safety: the others are losers only once, when the thread ends.
    tokio::select! {
        () = worker.signals.leaving.cancelled() => {}
        () = worker.pool.keep_swept() => {}
        () = worker.front.streams.keep_watched() => {}
        () = listen => {}
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the edge's own loops live and die with their worker's runtime"
)]
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

async fn accept_all(worker: Arc<Worker>, listening: Listening) {
    let Listening { socket, security, queue, closing } = listening;
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listening socket is not usable"),
    };
    loop {
        // Cancel safety: `accept` either has taken a connection or has not.
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => admit(&worker, tcp, peer, security.current()),
            Err(error) => {
                // No descriptor is free, most likely: the next attempt would fail at once.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    if queue == Queue::Shared {
        return;
    }
    // Closing resets what the kernel has accepted for us already; serve that too.
    while let Some(Ok((tcp, peer))) = listener.accept().now_or_never() {
        admit(&worker, tcp, peer, security.current());
    }
}

fn admit(worker: &Arc<Worker>, tcp: TcpStream, peer: SocketAddr, secure: Option<Arc<Secure>>) {
    // Behind a proxy of ours are many clients.
    let client = Some(peer.ip())
        .filter(|_| worker.doors.counts_clients())
        .filter(|client| !hops::is_trusted(*client, &worker.front.live().forwarding));
    match worker.doors.seat(client) {
        // A connection that cannot be configured is broken and ends at its first read.
        Ok(seat) => {
            drop(tcp.set_nodelay(true));
            spawn(serve(Arc::clone(worker), Conn::new(tcp, peer), secure, seat));
        }
        // There is no room to speak TLS with those whom there is no room for.
        Err(_) if secure.is_some() => {}
        Err(fault) => drop(refuse(tcp, fault)),
    }
}

fn refuse(tcp: TcpStream, fault: Fault) -> io::Result<()> {
    // Without waiting: whoever floods us must not make us keep anything.
    tcp.into_std()?.write_all(&respond::raw(fault))
}

/// Serves a connection until it ends, or is cut with the worker's runtime. Its future is what an idle connection
/// costs: phases are boxed.
pub(super) async fn serve(worker: Arc<Worker>, conn: Conn, secure: Option<Arc<Secure>>, seat: Seat) {
    speak(&worker, conn, secure).await;
    drop(seat);
}

async fn speak(worker: &Arc<Worker>, conn: Conn, secure: Option<Arc<Secure>>) {
    let Some(secure) = secure else {
        return phase(http1::serve(Arc::clone(worker), Box::new(conn))).await;
    };
    let Some(stream) = phase(handshake(worker, conn, secure)).await else { return };
    if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
        phase(http2::serve(worker, stream)).await;
    } else {
        phase(http1::serve(Arc::clone(worker), stream)).await;
    }
}

/// Boxes a phase of a connection, so that the largest one does not set the size of all.
pub(super) fn phase<'a, T>(
    phase: impl Future<Output = T> + Send + 'a,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    Box::pin(phase)
}

async fn handshake(worker: &Worker, conn: Conn, secure: Arc<Secure>) -> Option<Stream> {
    // std:186: a client that connects and never speaks TLS.
    let handshake =
        tokio::time::timeout(worker.limits.handshake_timeout, secure.acceptor().tls_handshake(conn));
    match handshake.await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

//! The listener and its connections.
//!
//! Listening can stop and resume on the same port. A port that the system chose is held meanwhile by a second
//! socket that never listens, so that nobody else gets it and connecting is refused.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::endpoints;
use crate::http_io::{Call, Content, Reply};
use crate::settings::Settings;
use crate::shared::Shared;

/// The port, and the task that accepts on it while there is one.
#[derive(Debug)]
pub(crate) struct Listening {
    address: SocketAddr,
    /// Held and never listened on.
    holder: Option<TcpSocket>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl Listening {
    /// Binds, unless that would be reachable from elsewhere.
    pub(crate) fn bind(settings: &Settings) -> io::Result<(Self, TcpListener)> {
        let refuse = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !settings.address.ip().is_loopback() {
            return refuse("the provider listens on loopback only");
        }
        if settings.host.as_deref().is_some_and(|host| !is_loopback_name(host)) {
            return refuse("the provider's host must be localhost, below it, or a loopback address");
        }
        let sharing = if settings.address.port() == 0 { Sharing::Allowed } else { Sharing::Refused };
        let socket = bound(settings.address, sharing)?;
        let address = socket.local_addr()?;
        let holder = match sharing {
            Sharing::Allowed => Some(bound(address, sharing)?),
            // Two providers on one configured port must not go unnoticed.
            Sharing::Refused => None,
        };
        let listening = Self { address, holder, accepting: Mutex::new(None) };
        Ok((listening, socket.listen(BACKLOG)?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts from now on, instead of whoever did before.
    pub(crate) async fn serve(&self, listener: TcpListener, shared: Arc<Shared>) {
        let task = tokio::spawn(accept(listener, shared));
        end(self.replace(Some(task))).await;
    }

    pub(crate) async fn stop(&self) {
        end(self.replace(None)).await;
    }

    pub(crate) async fn resume(&self, shared: Arc<Shared>) -> io::Result<()> {
        if self.is_up() {
            return Ok(());
        }
        let sharing = if self.holder.is_some() { Sharing::Allowed } else { Sharing::Refused };
        let listener = bound(self.address, sharing)?.listen(BACKLOG)?;
        self.serve(listener, shared).await;
        Ok(())
    }

    fn is_up(&self) -> bool {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn replace(&self, task: Option<JoinHandle<()>>) -> Option<JoinHandle<()>> {
        std::mem::replace(&mut *self.accepting.lock().unwrap_or_else(PoisonError::into_inner), task)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(task) = self.replace(None) {
            task.abort();
        }
    }
}

/// Aborts a task and waits until all that it owned is dropped.
async fn end(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        task.await.ok();
    }
}

#[derive(Debug, Clone, Copy)]
enum Sharing {
    Allowed,
    Refused,
}

fn bound(address: SocketAddr, sharing: Sharing) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    if matches!(sharing, Sharing::Allowed) {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    Ok(socket)
}

fn is_loopback_name(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    loop {
        // Cancel safety: `accept` and `join_next` lose nothing when the other one wins.
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(connection(stream, Arc::clone(&shared))); }
                // Out of file descriptors: some will come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    shared.seen.count(|counts| counts.connections += 1);
    // Without it answers are 40 ms late now and then; a socket that refuses is no worse than that.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { answer(&shared, request).await }
    });
    // A connection that ends badly is the client's affair, or a fault that was asked for.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

/// An error closes the connection without a byte.
async fn answer(shared: &Shared, request: Request<Incoming>) -> io::Result<Response<Content>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MOST_BODY).collect().await else {
        return Err(io::Error::other("the request's body is too long, or broke off"));
    };
    let call = Call { method: head.method, uri: head.uri, headers: head.headers, body: body.to_bytes() };
    match endpoints::answer(shared, &call).await {
        Reply::Answer(response) => Ok(response),
        Reply::Silence => match std::future::pending::<Infallible>().await {},
        Reply::Reset => Err(io::Error::other("closed on purpose")),
    }
}

/// Bursts of a thousand browsers must not meet a full queue, which would look like a provider that is down.
const BACKLOG: u32 = 4096;
/// The longest form that makes sense.
const MOST_BODY: usize = 64 * 1024;

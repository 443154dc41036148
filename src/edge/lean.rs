//! The fast path: ordinary requests, served without pingora's machinery.
//!
//! Ordinary is a `GET` or `HEAD` over HTTP/1.1 without a body, that asks for nothing but a response, for an upstream
//! that speaks HTTP/1.1 without TLS. Whether a request is one is known from its head alone, before anything was
//! decided or sent; whatever is not goes on to pingora with its bytes untouched. Verdict, edits, counters and record
//! are those of every request: only who reads and writes the bytes differs.
//!
//! ```text
//! head ─ordinary?─▶ gate ─▶ exchange ─▶ upstream     request, response: heads
//!        no: pingora         client                  chunked, body: framing
//! ```

mod body;
mod chunked;
mod client;
mod exchange;
mod failure;
mod peer;
pub(super) mod pool;
mod request;
mod response;
mod wire;
mod write;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::request::Parts;
use pingora::protocols::Stream;
use tokio::time::Instant;

use self::client::Client;
use self::exchange::{Asked, Exchange};
use super::call::Link;
use super::deadline::Deadline;
use super::head_scan::Ordinary;
use super::live::Live;
use super::secured::Secured;
use super::settings::FastPath;
use super::worker::Worker;
use crate::gate::head::{RequestHead, RequestId};

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    peer: Option<IpAddr>,
    link: Link,
    client_cert: Option<HeaderValue>,
}

impl Origin {
    pub(super) fn of(io: &Stream) -> Self {
        let peer = io.get_socket_digest().and_then(|digest| Some(digest.peer_addr()?.as_inet()?.ip()));
        let Some(digest) = io.get_ssl_digest() else {
            return Self { peer, link: Link::Plain, client_cert: None };
        };
        let client_cert = Secured::of(&digest).and_then(Secured::client_cert).cloned();
        Self { peer, link: Link::Tls, client_cert }
    }
}

/// What becomes of a connection after a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// It may carry another request.
    Keep,
    /// It was said to end.
    Close,
    /// The response is not whole, or nobody takes it.
    Cut,
}

/// A request that takes the fast path.
#[derive(Debug)]
pub(super) struct Request {
    /// The bytes that it came as; the fields of `parts` share them.
    head: Bytes,
    shape: Ordinary,
    parts: Parts,
    live: Arc<Live>,
}

/// Takes a request, where it is an ordinary one. Nothing was decided about it yet.
///
/// # Errors
/// Where it is not: its head, as it came.
pub(super) fn accept(
    worker: &Worker,
    head: BytesMut,
    shape: Option<Ordinary>,
) -> Result<Box<Request>, BytesMut> {
    let Some(shape) = shape.filter(|_| worker.fast_path == FastPath::On) else { return Err(head) };
    let head = head.freeze();
    let live = worker.front.live();
    match request::read(&head, &shape).filter(|parts| is_for_plain(&live, parts, target(&head, &shape))) {
        Some(parts) => Ok(Box::new(Request { head, shape, parts, live })),
        None => Err(BytesMut::from(head)),
    }
}

/// Serves it. The future is boxed: an idle connection must not hold the room for one.
pub(super) fn serve<'a>(
    worker: &'a Worker,
    io: &'a mut Stream,
    deadline: &'a mut Deadline,
    request: Box<Request>,
    from: &'a Origin,
) -> Pin<Box<dyn Future<Output = After> + Send + 'a>> {
    let Request { head, shape, parts, live } = *request;
    let mut call = worker.front.begin(live);
    call.meet(from.peer, &parts.headers);
    let client = Client::new(io, deadline, worker.limits.idle_timeout, shape.wish);
    let asked = Asked { head, shape, parts, from };
    Box::pin(Exchange { worker, client, call, asked, looked: Instant::now(), head_due: None }.serve())
}

/// Whether a request goes to an upstream that is spoken to in HTTP/1.1 without TLS, or to none.
fn is_for_plain(live: &Live, parts: &Parts, target: &[u8]) -> bool {
    // The usual case, in which no route need be looked up.
    live.upstreams.all_plain() || {
        let head = RequestHead { parts, target, peer: None, request_id: RequestId(0) };
        live.gate.destination(&head).is_none_or(|upstream| live.upstreams.plain(upstream).is_some())
    }
}

fn target<'a>(head: &'a [u8], shape: &Ordinary) -> &'a [u8] {
    head.get(shape.target.clone()).unwrap_or_default()
}

//! An upstream on port 0 that tells what it saw.
//!
//! `/sse` streams three events, each after a permit; `/busy` streams without a pause, `/endless` as
//! much as is taken; `/slow` answers after a permit; `/large` sends 300 KB;
//! `/set-cookie` sets cookies; `/cached` says how long it may be cached; `/ws` echoes a WebSocket; `/silent` never
//! answers; `/status/…` answers with that status, `/healthz` with the one that is wanted; everything else echoes the request as JSON.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

type Body = BoxBody<Bytes, Infallible>;

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    connections: AtomicUsize,
    requests: AtomicUsize,
    open: watch::Sender<usize>,
    pieces: AtomicUsize,
    permits: Semaphore,
    /// How probes are answered.
    health: AtomicU16,
    /// Target and host of the last probe.
    probed: Mutex<Vec<String>>,
}

/// A response that goes on; its end is told by its drop.
struct Open(Arc<State>);

impl Open {
    fn new(state: &Arc<State>) -> Self {
        state.open.send_modify(|open| *open += 1);
        Self(Arc::clone(state))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(tcp, Arc::clone(&shared)));
            }
        });
        Self { address, state }
    }

    /// The same behind a Unix socket.
    pub(crate) fn at_socket(path: &std::path::Path) -> Self {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((unix, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(unix, Arc::clone(&shared)));
            }
        });
        Self { address: ([0, 0, 0, 0], 0).into(), state }
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many requests arrived.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Waits until `count` streams and WebSockets are open; panics after 20 seconds.
    pub(crate) async fn has_open(&self, count: usize) {
        let mut open = self.state.open.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(20), open.wait_for(|open| *open == count));
        assert!(reached.await.is_ok(), "{} are open, not {count}", *self.state.open.borrow());
    }

    /// Waits until nobody takes any more of `/endless`; how much of it was taken.
    pub(crate) async fn is_stuck(&self) -> usize {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = self.state.pieces.load(Ordering::SeqCst);
            if now == before && now > 0 {
                return now * PIECE;
            }
            before = now;
        }
    }

    /// Answers probes (`/healthz`) with this status.
    pub(crate) fn be_ill(&self, status: u16) {
        self.state.health.store(status, Ordering::SeqCst);
    }

    /// Target and host of the last probe; nothing where there was none.
    pub(crate) fn probed(&self) -> Vec<String> {
        self.state.probed.lock().unwrap().clone()
    }

    pub(crate) fn forget_probes(&self) {
        self.state.probed.lock().unwrap().clear();
    }

    /// Lets one waiting answer, or one event, go.
    pub(crate) fn permit(&self) {
        self.state.permits.add_permits(1);
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            open: watch::Sender::new(0),
            pieces: AtomicUsize::new(0),
            permits: Semaphore::new(0),
            health: AtomicU16::new(200),
            probed: Mutex::default(),
        }
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
    let server = auto::Builder::new(TokioExecutor::new());
    drop(server.serve_connection_with_upgrades(TokioIo::new(io), service).await);
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/healthz" {
        let host = request.headers().get("host").map_or("", |host| host.to_str().unwrap());
        *state.probed.lock().unwrap() = vec![request.uri().to_string(), host.to_owned()];
        return Ok(status(state.health.load(Ordering::SeqCst)));
    }
    state.requests.fetch_add(1, Ordering::SeqCst);
    Ok(match request.uri().path() {
        "/sse" | "/api/sse" => sse(state),
        "/busy" | "/api/busy" => busy(state),
        "/endless" | "/api/endless" => endless(state),
        "/slow" | "/api/slow" => {
            state.permits.acquire().await.unwrap().forget();
            full("slow")
        }
        "/large" => full(vec![b'x'; 300_000]),
        "/silent" | "/api/silent" => {
            let _open = Open::new(&state);
            std::future::pending().await
        }
        "/set-cookie" | "/api/set-cookie" => {
            let mut response = full("");
            for line in ["theirs=1", "__Host-bearward=evil; Path=/", "__Host-bearward.1=evil", "more=2"] {
                response.headers_mut().append("set-cookie", HeaderValue::from_static(line));
            }
            response
        }
        "/api/cached" => {
            let mut response = full("");
            response.headers_mut().insert("cache-control", HeaderValue::from_static("private, max-age=9"));
            response
        }
        "/ws" | "/api/ws" => websocket(request, &state),
        path if path.starts_with("/status/") => status(path["/status/".len()..].parse().unwrap()),
        _ => echo(request).await,
    })
}

async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let seen = serde_json::json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "version": format!("{:?}", parts.version),
        "headers": headers,
        "length": body.len(),
    });
    full(seen.to_string())
}

fn status(code: u16) -> Response<Body> {
    let mut response = full("");
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

fn sse(state: Arc<State>) -> Response<Body> {
    let open = Open::new(&state);
    let events = futures_util::stream::unfold((0, open), |(number, open)| async move {
        if number == 3 {
            return None;
        }
        open.0.permits.acquire().await.unwrap().forget();
        let event = Frame::data(Bytes::from(format!("data: {number}\n\n")));
        Some((Ok::<_, Infallible>(event), (number + 1, open)))
    });
    events_of(Box::pin(events))
}

fn busy(state: Arc<State>) -> Response<Body> {
    let open = Open::new(&state);
    let events = futures_util::stream::unfold(open, |open| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data: busy\n\n"))), open))
    });
    events_of(Box::pin(events))
}

fn endless(state: Arc<State>) -> Response<Body> {
    let open = Open::new(&state);
    let pieces = futures_util::stream::unfold(open, |open| async move {
        open.0.pieces.fetch_add(1, Ordering::SeqCst);
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; PIECE]))), open))
    });
    events_of(Box::pin(pieces))
}

/// What `/endless` is sent in.
pub(crate) const PIECE: usize = 64 * 1024;

fn events_of(events: SyncStream) -> Response<Body> {
    let mut response = Response::new(BoxBody::new(StreamBody::new(events)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
    response
}

type SyncStream =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;

fn websocket(request: Request<Incoming>, state: &Arc<State>) -> Response<Body> {
    let key = request.headers().get("sec-websocket-key").cloned();
    let Some(key) = key else {
        let mut response = full("not a WebSocket handshake");
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let open = Open::new(state);
    tokio::spawn(async move {
        let _open = open;
        use futures_util::{SinkExt, StreamExt};
        use tokio_tungstenite::tungstenite::protocol::Role;
        let io = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let mut response = full("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", HeaderValue::from_str(&accept).unwrap());
    response
}

fn full(body: impl Into<Bytes>) -> Response<Body> {
    Response::new(BoxBody::new(Full::new(body.into())))
}

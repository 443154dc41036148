//! An upstream on port 0 that tells what it saw.
//!
//! `/sse` streams three events, each after a permit; `/slow` answers after a permit; `/large` sends 300 KB;
//! `/set-cookie` sets cookies; `/cached` says how long it may be cached; `/ws` echoes a WebSocket; `/silent` never
//! answers; everything else echoes the request as JSON.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

type Body = BoxBody<Bytes, Infallible>;

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    requests: AtomicUsize,
    permits: Semaphore,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { requests: AtomicUsize::new(0), permits: Semaphore::new(0) });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                    let server = auto::Builder::new(TokioExecutor::new());
                    drop(server.serve_connection_with_upgrades(TokioIo::new(tcp), service).await);
                });
            }
        });
        Self { address, state }
    }

    /// How many requests arrived.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// Lets one waiting answer, or one event, go.
    pub(crate) fn permit(&self) {
        self.state.permits.add_permits(1);
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::SeqCst);
    Ok(match request.uri().path() {
        "/sse" => sse(state),
        "/slow" | "/api/slow" => {
            state.permits.acquire().await.unwrap().forget();
            full("slow")
        }
        "/large" => full(vec![b'x'; 300_000]),
        "/silent" | "/api/silent" => std::future::pending().await,
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
        "/ws" | "/api/ws" => websocket(request),
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

fn sse(state: Arc<State>) -> Response<Body> {
    let events = futures_util::stream::unfold((0, state), |(number, state)| async move {
        if number == 3 {
            return None;
        }
        state.permits.acquire().await.unwrap().forget();
        let event = Frame::data(Bytes::from(format!("data: {number}\n\n")));
        Some((Ok::<_, Infallible>(event), (number + 1, state)))
    });
    let mut response = Response::new(BoxBody::new(StreamBody::new(Box::pin(events) as SyncStream)));
    response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
    response
}

type SyncStream =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + Sync>>;

fn websocket(request: Request<Incoming>) -> Response<Body> {
    let key = request.headers().get("sec-websocket-key").cloned();
    let Some(key) = key else {
        let mut response = full("not a WebSocket handshake");
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
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

//! An API that refuses expired bearers and counts them. `/api/events` goes on for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::wall_clock;

/// A running upstream.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    violations: Vec<String>,
    /// Each bearer once, in the order of first sight.
    bearers: Vec<String>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let server = tokio::spawn(serve(listener, Arc::clone(&seen)));
        Self { address, seen, server }
    }

    /// Requests to the API that came without a bearer, or with one that was not good any more.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.seen.lock().unwrap().violations.clone()
    }

    /// The access tokens that came, each once.
    pub(crate) fn bearers(&self) -> Vec<String> {
        self.seen.lock().unwrap().bearers.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _peer)) = listener.accept().await {
        let seen = Arc::clone(&seen);
        let service = service_fn(move |request: Request<Incoming>| {
            let response = answer(&request, &seen);
            async { Ok::<_, Infallible>(response) }
        });
        connections.spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn answer(request: &Request<Incoming>, seen: &Mutex<Seen>) -> Response<Body> {
    let path = request.uri().path();
    if !path.starts_with("/api/") {
        let page = format!("<!doctype html><title>{path}</title>");
        return Response::builder()
            .header("content-type", "text/html")
            .body(Full::from(page).boxed())
            .unwrap();
    }
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let mut seen = seen.lock().unwrap();
    match judge(header) {
        Ok((bearer, claims)) => {
            if !seen.bearers.contains(&bearer) {
                seen.bearers.push(bearer);
            }
            if path == "/api/events" {
                let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"data: 0\n\n")))]);
                return Response::new(BoxBody::new(StreamBody::new(
                    first.chain(futures_util::stream::pending()),
                )));
            }
            let told = json!({ "sub": claims["sub"], "jti": claims["jti"], "exp": claims["exp"] });
            Response::builder()
                .header("content-type", "application/json")
                .body(Full::from(told.to_string()).boxed())
                .unwrap()
        }
        Err(why) => {
            seen.violations.push(format!("{path}: {why}"));
            Response::builder().status(599).body(Full::from(why).boxed()).unwrap()
        }
    }
}

fn judge(header: Option<&str>) -> Result<(String, Value), String> {
    let bearer = header.and_then(|value| value.strip_prefix("Bearer ")).ok_or("no bearer")?;
    let claims = claims(bearer).ok_or("the bearer is no JSON Web Token")?;
    let left = claims["exp"].as_f64().ok_or("no exp")? - wall_clock();
    if left > 0.0 { Ok((bearer.to_owned(), claims)) } else { Err(format!("expired {:.3} s ago", -left)) }
}

/// What a token says, unverified.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let json = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(payload).ok()?;
    serde_json::from_slice(&json).ok()
}

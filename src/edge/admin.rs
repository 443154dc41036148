//! Health, metrics and what operators ask for, on an address that is never public.
//!
//! It runs beside the workers, so that it answers while they are busy or draining.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::EdgeError;
use super::inherited::Inherited;
use super::readiness::Readiness;
use crate::bff::Bff;
use crate::telemetry::metrics::{self, Metrics};

/// The running admin listener. Dropping it closes it.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    task: AbortHandle,
}

impl Admin {
    /// Listens on `address`, served by `runtime`.
    ///
    /// # Errors
    /// Where the address is taken.
    pub fn start(
        address: SocketAddr,
        runtime: &Handle,
        served: Served,
        inherited: &mut Inherited,
    ) -> Result<Self, EdgeError> {
        let fail = |source| EdgeError::Listen { address, source };
        let socket = match inherited.claim(address) {
            Some(socket) => socket,
            None => std::net::TcpListener::bind(address).map_err(fail)?,
        };
        socket.set_nonblocking(true).map_err(fail)?;
        let address = socket.local_addr().map_err(fail)?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(socket).map_err(fail)?
        };
        let task = accept(listener, served);
        #[expect(clippy::disallowed_methods, reason = "the edge's own loops spawn")]
        let task = runtime.spawn(task).abort_handle();
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the listener tells of, and whom it asks.
#[derive(Debug, Clone)]
pub struct Served {
    /// Whether requests should come.
    pub readiness: Arc<Readiness>,
    /// What was counted.
    pub metrics: Metrics,
    /// Ends sessions, where there are any.
    pub bff: Option<Arc<Bff>>,
}

async fn accept(listener: TcpListener, served: Served) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => super::worker::spawn(serve(tcp, served.clone())),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn serve(tcp: TcpStream, served: Served) {
    let service = service_fn(move |request: Request<Incoming>| {
        let served = served.clone();
        async move { Ok::<_, Infallible>(served.answer(request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(5)).max_buf_size(16 * 1024);
    // A probe that breaks off tells nobody anything.
    drop(server.serve_connection(TokioIo::new(tcp), service).await);
}

impl Served {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        match (request.uri().path(), &self.bff) {
            ("/healthz", _) if reads => response(StatusCode::OK, TEXT, "ok\n"),
            ("/readyz", _) if reads => self.ready(),
            ("/metrics", _) if reads => self.metrics(),
            ("/sessions/end", Some(bff)) if request.method() == Method::POST => {
                let (parts, body) = request.into_parts();
                match Limited::new(body, MOST_BODY).collect().await {
                    Ok(body) => bff.end_sessions(&parts.headers, &body.to_bytes()).await.map(Full::new),
                    Err(_) => response(StatusCode::PAYLOAD_TOO_LARGE, TEXT, ""),
                }
            }
            ("/healthz" | "/readyz" | "/metrics" | "/sessions/end", _) => {
                response(StatusCode::METHOD_NOT_ALLOWED, TEXT, "")
            }
            _ => response(StatusCode::NOT_FOUND, TEXT, ""),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let reasons = self.readiness.reasons();
        let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::json!({ "ready": reasons.is_empty(), "reasons": reasons });
        response(status, "application/json", body.to_string())
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        response(StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.encode())
    }
}

/// An operator's wish is a line.
const MOST_BODY: usize = 4096;

const TEXT: &str = "text/plain; charset=utf-8";

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn get(admin: &Admin, path: &str) -> String {
        let mut tcp = TcpStream::connect(admin.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_tells_its_reasons_and_health_does_not_depend_on_it() {
        let readiness = Arc::new(Readiness::new());
        let metrics = Metrics::new();
        drop(metrics.register(super::super::metrics::Metrics::register));
        let address = "127.0.0.1:0".parse().unwrap();
        let served = Served { readiness: Arc::clone(&readiness), metrics, bff: None };
        let admin = Admin::start(address, &Handle::current(), served, &mut Inherited::default()).unwrap();
        assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 200"));
        readiness.set("provider", "discovery failed");
        let unready = get(&admin, "/readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503"));
        assert!(
            unready.ends_with(r#"{"ready":false,"reasons":{"provider":"discovery failed"}}"#),
            "{unready}"
        );
        assert!(get(&admin, "/healthz").await.starts_with("HTTP/1.1 200"));
        readiness.clear("provider");
        assert!(get(&admin, "/readyz").await.starts_with("HTTP/1.1 200"));
        readiness.set_draining();
        assert!(get(&admin, "/readyz").await.contains("draining"));
        let metrics = get(&admin, "/metrics").await;
        assert!(metrics.contains("http_connections 0") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(get(&admin, "/").await.starts_with("HTTP/1.1 404"));
    }
}

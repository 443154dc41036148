//! An API behind the gateway that believes nobody: each bearer is checked against the provider on arrival.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use devidp::Provider;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

/// A request as the API saw it.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// Whether it carried a bearer that the provider holds good at this moment.
    pub(crate) bearer: Bearer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    None,
    Good,
    /// Expired, revoked or unknown: no gateway may ever forward one.
    Bad,
}

#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    provider: Provider,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

impl Api {
    pub(crate) async fn start(provider: Provider) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self { address, provider, arrivals: Arc::default() };
        let served = api.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let api = served.clone();
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let api = api.clone();
                        async move { Ok::<_, Infallible>(api.answer(request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service);
                    drop(connection.await);
                });
            }
        });
        api
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap().clone()
    }

    pub(crate) fn last(&self) -> Arrival {
        self.arrivals().pop().expect("nothing arrived")
    }

    /// How many requests came with a bearer that was not good.
    pub(crate) fn bad_bearers(&self) -> usize {
        self.arrivals().iter().filter(|arrival| arrival.bearer == Bearer::Bad).count()
    }

    async fn answer(&self, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, _) = request.into_parts();
        let token =
            parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let bearer = match token {
            None => Bearer::None,
            Some(token) if self.provider.access_token_is_live(token) => Bearer::Good,
            Some(_) => Bearer::Bad,
        };
        let subject = token.and_then(|token| self.provider.access_token_subject(token));
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        self.arrivals.lock().unwrap().push(Arrival {
            target: target.clone(),
            headers: parts.headers,
            bearer,
        });
        if target.starts_with("/api/slow") {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let status = if bearer == Bearer::Bad { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
        let body = json!({ "sub": subject, "bearer": format!("{bearer:?}"), "target": target });
        let mut response = Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        if target.starts_with("/api/sets-cookies") {
            for cookie in ["bearward=stolen", "theirs=1", "BEARWARD-login=x"] {
                response.headers_mut().append("set-cookie", cookie.parse().unwrap());
            }
        }
        if target.ends_with("/open-to-all") {
            for (name, value) in [
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", "*"),
            ] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        if target.starts_with("/api/cached") {
            for (name, value) in [
                ("cache-control", "public, max-age=31536000, immutable"),
                ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
                ("surrogate-control", "max-age=99"),
            ] {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        response
    }
}

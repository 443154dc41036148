//! One HTTP/1.1 request on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Where it came from.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        format!("{} {} {}", self.status, self.url, String::from_utf8_lossy(&self.body))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where a redirect leads to.
    pub(crate) fn location(&self) -> Option<Url> {
        let is_redirect = StatusCode::from_u16(self.status).is_ok_and(|status| status.is_redirection());
        is_redirect
            .then(|| self.url.join(self.header("location").expect("a redirect names a place")).unwrap())
    }
}

/// Sends `request` to its URI and reads the whole answer. `Err` where there is none.
pub(crate) async fn send(url: &Url, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    send_through(url.port_or_known_default().unwrap(), url, request).await
}

/// The same to whoever listens on `port`, as a balancer would.
pub(crate) async fn send_through(
    port: u16,
    url: &Url,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, String> {
    *request.uri_mut() = url[url::Position::BeforePath..url::Position::AfterQuery].parse().unwrap();
    let host = url[url::Position::BeforeHost..url::Position::AfterPort].parse().unwrap();
    request.headers_mut().insert(HOST, host);
    let exchange = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((parts, body))
        };
        let (answer, _closed) = tokio::join!(answer, connection);
        answer
    };
    let (parts, body) = timeout(LIMIT, exchange).await.map_err(|_late| "no answer in time".to_owned())??;
    Ok(Answer { url: url.clone(), status: parts.status.as_u16(), headers: parts.headers, body })
}

/// Everything here listens on 127.0.0.1, whatever its name.
pub(crate) async fn connect(url: &Url) -> std::io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", url.port_or_known_default().unwrap())).await
}

/// GET without anything a browser would add.
pub(crate) async fn get(url: &str) -> Result<Answer, String> {
    send(&url.parse().unwrap(), Request::get("/").body(Full::default()).unwrap()).await
}

/// POST of a body as it is.
pub(crate) async fn post(url: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
    send(&url.parse().unwrap(), Request::post("/").body(Full::new(body.into())).unwrap()).await
}

/// Longer than anything that is waited for on purpose.
const LIMIT: Duration = Duration::from_secs(30);

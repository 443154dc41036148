//! HTTP to the provider: one request, one connection, one answer or a reason.
//!
//! Every request travels on a connection of its own and is driven wholly by the future that asked, on whatever
//! runtime polls it. Nothing is pooled: a pooled connection that the server closed a moment ago cannot tell
//! whether the request on it was read, and a refresh token that was perhaps sent may not be sent again. TLS
//! sessions are resumed, so the price of that certainty is one round trip.
//!
//! Never follows a redirect (std:7), never asks for nor decodes a content encoding (std:185), never buffers more
//! than the caller's limit (std:183), never sends twice. Speaks HTTP/1.1 (RFC 9112). Knows nothing of OAuth.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response, Uri, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::service::Service;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::service::TowerToHyperService;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

/// How long a request may take and how much may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first look-up to the last byte of the body.
    pub total: Duration,
    /// Of that: name resolution, TCP and TLS. Nothing is sent later.
    pub connect: Duration,
    /// The largest body in bytes that is taken.
    pub body: usize,
}

impl Limits {
    /// A request that may take `total`, of which at most five seconds to connect, and return up to 1 MiB.
    pub fn within(total: Duration) -> Self {
        Self { total, connect: total.min(CONNECT), body: BODY }
    }
}

/// Sends requests. The one seam at which tests put their own network.
pub trait HttpClient: Send + Sync + fmt::Debug {
    /// Sends `request`, whose URI is absolute, at most once and returns the whole answer, whatever its status. Sends
    /// it within `limits.connect` or not at all.
    ///
    /// A wrong `NotSent` costs a session: its caller will send the same refresh token again. A wrong `NoAnswer`
    /// costs a retry that would have been safe. Where it is not known, it is `NoAnswer`.
    fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>>;
}

/// Why there is no answer, sorted by whether the request may be sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Nothing of the request left this process.
    #[error("the request was not sent: {}", why.label())]
    NotSent {
        /// How far it came.
        why: NotSent,
        /// What the system said.
        #[source]
        source: Option<Cause>,
    },
    /// Bytes of the request may have gone out; the peer may have acted on it.
    #[error("no usable answer came: {}", why.label())]
    NoAnswer {
        /// What became of the answer.
        why: NoAnswer,
        /// What the system said.
        #[source]
        source: Option<Cause>,
    },
}

impl TransportError {
    /// A short name for logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotSent { why, .. } => why.label(),
            Self::NoAnswer { why, .. } => why.label(),
        }
    }

    /// Nothing left, without a cause worth telling.
    pub const fn not_sent(why: NotSent) -> Self {
        Self::NotSent { why, source: None }
    }

    /// Something may have left, without a cause worth telling.
    pub const fn no_answer(why: NoAnswer) -> Self {
        Self::NoAnswer { why, source: None }
    }
}

/// An error of the system or of a library below; shared, as one failure may answer many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

/// How far a request came that was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// The URI is not an absolute `http` or `https` address.
    Address,
    /// Resolution, TCP or TLS failed.
    Connect,
    /// Resolution, TCP and TLS took too long.
    ConnectDeadline,
    /// The peer closed the connection before the request was written.
    Closed,
}

impl NotSent {
    /// A short name for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Address => "bad_address",
            Self::Connect => "connect_failed",
            Self::ConnectDeadline => "connect_timeout",
            Self::Closed => "closed_early",
        }
    }
}

/// What became of an answer that is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// It did not come, or not wholly, in time.
    Deadline,
    /// The connection broke, the body was cut short, or what came is not HTTP.
    Broken,
    /// The body is larger than the caller takes.
    TooLarge,
}

impl NoAnswer {
    /// A short name for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deadline => "timeout",
            Self::Broken => "connection_broken",
            Self::TooLarge => "body_too_large",
        }
    }
}

/// The client that speaks to the network.
#[derive(Clone)]
pub struct NetworkClient {
    connector: TowerToHyperService<HttpsConnector<HttpConnector>>,
}

impl NetworkClient {
    /// A client that trusts what `tls` trusts.
    pub fn new(tls: &ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared out among a name's addresses, so that one that swallows packets leaves time for the next.
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self { connector: TowerToHyperService::new(connector) }
    }

    async fn exchange(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, TransportError> {
        let end = Instant::now() + limits.total;
        let connect_end = (Instant::now() + limits.connect).min(end);
        let (request, uri) = prepare(request)?;
        let connected = timeout_at(connect_end, self.connector.call(uri)).await;
        let io = connected.map_err(|_elapsed| TransportError::not_sent(NotSent::ConnectDeadline))?.map_err(
            |source| TransportError::NotSent { why: NotSent::Connect, source: Some(Cause::new(source)) },
        )?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD).handshake(io).await.map_err(closed_early)?;
        // A process that stood still meanwhile finds a connection and a time that is over: what was right to send
        // then may be wrong now.
        if Instant::now() >= connect_end {
            return Err(TransportError::not_sent(NotSent::ConnectDeadline));
        }
        let answer = async move {
            let response = sender.try_send_request(request).await.map_err(|mut failed| {
                // Only a request that hyper hands back whole was provably never written.
                if failed.take_message().is_some() {
                    closed_early(failed.into_error())
                } else {
                    broken(failed.into_error())
                }
            })?;
            collect(response, limits.body).await
        };
        timeout_at(end, beside(connection, answer))
            .await
            .unwrap_or_else(|_elapsed| Err(TransportError::no_answer(NoAnswer::Deadline)))
    }
}

impl HttpClient for NetworkClient {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(self.exchange(request, limits))
    }
}

impl fmt::Debug for NetworkClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkClient")
    }
}

/// The request in the form that goes over the wire, and where to connect.
fn prepare(request: Request<Bytes>) -> Result<(Request<Full<Bytes>>, Uri), TransportError> {
    let bad = || TransportError::not_sent(NotSent::Address);
    let (mut head, body) = request.into_parts();
    let uri = head.uri;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad());
    }
    // Credentials never travel in a URL (std:34).
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_invalid| bad())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().map_err(|_invalid| bad())?;
    head.version = Version::HTTP_11;
    head.headers.insert(HOST, host);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok((Request::from_parts(head, Full::new(body)), uri))
}

/// Polls `connection` along with `answer` until the answer is there: the connection moves the bytes.
async fn beside<T>(connection: impl Future, answer: impl Future<Output = T>) -> T {
    let mut connection = pin!(connection);
    let mut answer = pin!(answer);
    let mut ended = false;
    poll_fn(move |context| {
        // How the connection ended reaches `answer` through its own channel.
        ended = ended || connection.as_mut().poll(context).is_ready();
        let polled = answer.as_mut().poll(context);
        if polled.is_pending() {
            // What it has just handed over leaves at once.
            ended = ended || connection.as_mut().poll(context).is_ready();
        }
        polled
    })
    .await
}

/// The whole body, unless it is or claims to be larger than `limit`.
async fn collect(response: Response<Incoming>, limit: usize) -> Result<Response<Bytes>, TransportError> {
    let too_large = || TransportError::no_answer(NoAnswer::TooLarge);
    let (head, mut body) = response.into_parts();
    let claimed = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if claimed > limit {
        return Err(too_large());
    }
    let mut whole = BytesMut::with_capacity(claimed);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if data.len() > limit.saturating_sub(whole.len()) {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(Response::from_parts(head, whole.freeze()))
}

fn closed_early(source: hyper::Error) -> TransportError {
    TransportError::NotSent { why: NotSent::Closed, source: Some(Cause::new(source)) }
}

fn broken(source: hyper::Error) -> TransportError {
    TransportError::NoAnswer { why: NoAnswer::Broken, source: Some(Cause::new(source)) }
}

/// A TCP connection that takes longer was lost twice on the way; a later attempt is the better one.
const CONNECT: Duration = Duration::from_secs(5);
/// Thousands of keys in one JWK set; any other answer is far smaller.
const BODY: usize = 1024 * 1024;
/// What proxies commonly allow for a response head.
const HEAD: usize = 64 * 1024;
const AGENT: &str = concat!("bearward/", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests;

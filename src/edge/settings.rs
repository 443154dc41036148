//! What the configuration says about listeners, upstreams and limits.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use ipnet::IpNet;
use url::Url;

use crate::base::tls::server::{MinVersion, Terms};

/// Listeners, limits and upstreams.
#[derive(Debug)]
pub struct Settings {
    /// Where browsers and API clients are served.
    pub listeners: Vec<Listener>,
    /// Health and metrics; `None` switches them off.
    pub admin: Option<SocketAddr>,
    /// How many cores serve; each has a runtime of its own.
    pub workers: usize,
    /// Upstreams, addressed by [`UpstreamId`](crate::gate::settings::UpstreamId).
    pub upstreams: Vec<Upstream>,
    /// Limits of what clients may send and how long they may take.
    pub limits: Limits,
    /// What happens at shutdown.
    pub drain: Drain,
    /// Whether ordinary requests leave pingora's machinery out.
    pub fast_path: FastPath,
    /// Whose word is taken about where a request comes from, and what upstreams are told.
    pub forwarding: Forwarding,
}

/// Whose word is taken about where a request comes from, and what upstreams are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Where our own proxies are; nobody else is believed.
    pub trusted: Vec<IpNet>,
    /// The fields that they write. The others may come from their clients.
    pub believe: Family,
    /// The fields that upstreams read.
    pub told: Told,
}

/// Fields that say where a request comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Fields in which upstreams are told where a request comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Told {
    /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// Both.
    Both,
}

/// Who serves ordinary requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FastPath {
    /// The edge itself, where both sides speak HTTP/1.1 and there is no body to send.
    On,
    /// pingora, as it serves every other request.
    Off,
}

/// One address that is listened on.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The address.
    pub address: SocketAddr,
    /// Certificates and what is asked of clients, where the listener speaks TLS.
    pub tls: Option<Tls>,
}

/// What a TLS listener presents and asks for.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates with their keys, chosen by the name that a client asks for; the first is the default.
    pub certificates: Vec<TlsFiles>,
    /// What holds for all of them.
    pub terms: Terms,
}

/// PEM files of a certificate.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Where requests are forwarded.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The name used in logs and metrics.
    pub name: String,
    /// Its servers; all of them speak the same.
    pub endpoints: Vec<Endpoint>,
    /// Which of them serves a request.
    pub balance: Balance,
    /// How its endpoints are probed; `None` where they are not.
    pub health: Option<Health>,
    /// When an endpoint is passed over because requests fail; `None` for never.
    pub eject: Option<Eject>,
    /// When a request is tried again.
    pub retries: Retries,
    /// How many connections to it there may be.
    pub pool: Pool,
    /// What it is told as `Host`.
    pub host: HostField,
    /// Certificates that vouch for the upstream, instead of the machine's roots.
    pub ca_file: Option<PathBuf>,
    /// How it is spoken to in TLS.
    pub tls: UpstreamTls,
    /// Whether the upstream is spoken to in HTTP/2 (h2 over TLS, h2c without).
    pub http2: bool,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent.
    pub read_timeout: Duration,
    /// How long the upstream may refuse to take bytes.
    pub write_timeout: Duration,
    /// How long an idle connection is kept for reuse.
    pub idle_timeout: Duration,
    /// How long the head of a response may take, from the request and over all attempts; `None` for any time. Kept on
    /// the fast path.
    pub head_timeout: Option<Duration>,
}

/// One server of an upstream.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it is.
    pub place: Place,
    /// Its share of the requests, next to the weights of the others; never 0.
    pub weight: u32,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Scheme, host and port; no path.
    Url(Url),
    /// The path of a Unix socket, over which no TLS is spoken.
    Unix(PathBuf),
}

impl Place {
    /// Whether it is spoken to in TLS.
    pub fn speaks_tls(&self) -> bool {
        match self {
            Self::Url(url) => url.scheme() == "https",
            Self::Unix(_) => false,
        }
    }
}

impl fmt::Display for Place {
    /// As it is called in logs and metrics, and by the hash that spreads sessions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&url.origin().ascii_serialization()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which endpoint of an upstream serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    RoundRobin,
    /// The one with the fewest requests under way, by its weight.
    LeastLoaded,
    /// The same one for all requests of a session, or of an address where there is no session.
    SessionHash,
}

/// How endpoints are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The path, and the query, that is asked for.
    pub path: String,
    /// The time between two probes.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Good probes in a row after which an endpoint is up.
    pub healthy: u32,
    /// Bad probes in a row after which it is down.
    pub unhealthy: u32,
    /// The statuses of a good answer.
    pub status: RangeInclusive<u16>,
    /// What is sent as `Host`; `None` for the endpoint's own.
    pub host: Option<HeaderValue>,
}

/// When an endpoint is passed over because requests fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eject {
    /// Requests that fail in a row.
    pub failures: u32,
    /// For how long, the first time.
    pub time: Duration,
    /// For how long at most.
    pub most: Duration,
    /// Statuses that count as failures.
    pub statuses: Vec<StatusCode>,
}

/// When a request is tried again; only ever where nothing can be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// The most attempts of one request; 1 for no retry.
    pub attempts: u8,
    /// Retries of 100 requests.
    pub percent: usize,
    /// Retries in 10 seconds that there may be besides.
    pub least: usize,
}

/// How many connections to an endpoint there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Idle ones that the fast path keeps, of one core and one address.
    pub idle: usize,
    /// Requests under way at once; `None` for any number.
    pub connections: Option<u64>,
}

/// How an upstream is spoken to in TLS.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The name that is sent and that the certificate must have; `None` for the host of the endpoint.
    pub server_name: Option<String>,
    /// What we show of ourselves.
    pub client: Option<TlsFiles>,
    /// The oldest version.
    pub least: MinVersion,
}

/// What an upstream is told as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostField {
    /// What the client sent.
    Keep,
    /// Host and port of the endpoint.
    Endpoint,
    /// This.
    Text(HeaderValue),
}

/// Limits of what a client may send. Each has an answer of its own when it is passed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the request line and all header fields together (431).
    pub head_bytes: usize,
    /// Header fields (431).
    pub header_count: usize,
    /// Bytes of the request target (414).
    pub uri_bytes: usize,
    /// Bytes of all `Cookie` fields together (431).
    pub cookie_bytes: usize,
    /// Cookies in all `Cookie` fields together (431).
    pub cookie_count: usize,
    /// How long a request head may take to arrive in full (408).
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// Bytes of a request's body (413), where its route has no limit of its own; `None` for any number.
    pub body_bytes: Option<u64>,
    /// Bytes per second that a request's body must bring on average (408); 0 for any.
    pub body_rate: u64,
    /// Connections open at once (503 and close).
    pub connections: usize,
    /// Connections of one client open at once (429 and close); `None` for no such limit.
    pub connections_per_client: Option<usize>,
    /// Requests that one connection may carry; it ends with the last of them.
    pub requests_per_connection: usize,
    /// Requests under way at once on one HTTP/2 connection.
    pub http2_streams: u32,
}

#[cfg(test)]
impl Limits {
    /// Small enough to be reached by what a test writes.
    pub(super) fn small() -> Self {
        let second = Duration::from_secs(1);
        Self {
            head_bytes: 400,
            header_count: 4,
            uri_bytes: 100,
            cookie_bytes: 40,
            cookie_count: 3,
            head_timeout: second,
            idle_timeout: second,
            handshake_timeout: second,
            body_bytes: None,
            body_rate: 0,
            connections: 1,
            connections_per_client: None,
            requests_per_connection: 1,
            http2_streams: 1,
        }
    }
}

/// What happens at shutdown.
#[derive(Debug, Clone)]
pub struct Drain {
    /// How long after SIGTERM new connections are still accepted while readiness already fails.
    pub accept: Duration,
    /// How long an idle connection may still send one more request.
    pub linger: Duration,
    /// When what is still in flight is cut.
    pub limit: Duration,
}

//! `listeners`, `admin`, `upstreams`, `limits`, `drain`, as typed.

use std::borrow::Cow;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::reader::{At, Read, Reader, section, words};
use crate::config::tree::{Node, Value};
use crate::config::values::{Period, Size};

section! {
    /// An address that is listened on.
    Listener
    required {
        /// IP address and port: `0.0.0.0:8443`, `[::]:8443`.
        address: String,
    }
    optional {
        /// Certificates, and what is asked of clients, where the listener speaks TLS.
        tls: Tls,
    }
}

section! {
    /// What a TLS listener presents and asks for. All files are PEM; they are read again when they change.
    Tls
    required {
        /// The certificate chain, the server's own certificate first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    }
    optional {
        /// Certificates of clients. None is asked for where it is not given.
        client_auth: ClientCertificates,
    }
    defaults {
        /// Certificates for further names. A client gets the one that names exactly what it asks for (SNI), else one that
        /// names it by a wildcard; of two that do, the earlier one.
        more_certificates: Vec<At<CertificateFiles>> = [],
        /// What a client gets that asks for a name which no certificate covers, or for none.
        unknown_name: UnknownName = "first",
        /// The oldest version that is spoken.
        min_version: TlsVersion = "1.2",
    }
}

section! {
    /// A certificate and its key.
    CertificateFiles
    required {
        /// The certificate chain, one's own certificate first.
        cert: PathBuf,
        /// The private key.
        key: PathBuf,
    }
}

section! {
    /// Certificates of clients. The upstream is told of a good one in `Client-Cert` (RFC 9440).
    ClientCertificates
    required {
        /// A PEM file of the authorities that vouch for clients.
        ca_file: PathBuf,
    }
    defaults {
        /// Whether a client must show one. What is shown must be good in either case.
        mode: ClientAuthMode = "required",
    }
}

words! {
    /// Whether a client must show a certificate.
    ClientAuthMode {
        /// It must: the handshake fails otherwise.
        Required = "required",
        /// It may.
        Optional = "optional",
    }
}

words! {
    /// What a client gets that asks for a name which no certificate covers, or for none.
    UnknownName {
        /// The certificate of `cert`.
        First = "first",
        /// A failed handshake.
        Refuse = "refuse",
    }
}

words! {
    /// A version of TLS.
    TlsVersion {
        /// TLS 1.2 and 1.3.
        V1_2 = "1.2",
        /// TLS 1.3 alone.
        V1_3 = "1.3",
    }
}

section! {
    /// Health and metrics.
    Admin
    defaults {
        /// Whether they are served.
        enabled: bool = true,
        /// IP address and port. Whoever reaches it can read the metrics.
        address: String = "127.0.0.1:9901",
    }
}

section! {
    /// Where requests are forwarded.
    Upstream
    required {
        /// Its servers: scheme, host and port of each, as in `http://10.0.0.1:8080`, or a socket, as in
        /// `unix:/run/app.sock`; at most 64. All addresses of a host's name are used.
        endpoints: Vec<At<Endpoint>>,
    }
    optional {
        /// How its endpoints are probed. They are not where it is not given.
        health: Health,
        /// A PEM file of the certificates that vouch for it, instead of the machine's roots.
        ca_file: PathBuf,
        /// What else there is to its TLS. It is spoken by `https` endpoints, with or without this.
        tls: UpstreamTls,
    }
    defaults {
        /// Which of its endpoints serves a request.
        balance: Balance = "round_robin",
        /// When an endpoint is passed over because requests fail.
        eject: Eject = {},
        /// When a request is tried again. Only where nothing can be done twice: no connection was made, or one that was
        /// used before died and the request has no body and is safe or idempotent.
        retries: Retries = {},
        /// How many connections to an endpoint there may be.
        pool: Pool = {},
        /// What it is told as `Host`: `keep` for what the client sent, `upstream` for host and port of the endpoint, or
        /// a host that stands here.
        host: String = "keep",
        /// Whether it is spoken to in HTTP/2.
        http2: bool = false,
        /// How long it may take.
        timeouts: UpstreamTimeouts = {},
    }
}

section! {
    /// What there is to the TLS of an upstream.
    UpstreamTls
    optional {
        /// The name that is sent to it, and that its certificate must have. The host of the endpoint where it is not given,
        /// which then must not be an address.
        server_name: String,
        /// The certificate that is shown to it, with its key.
        client: CertificateFiles,
    }
    defaults {
        /// The oldest version.
        min_version: TlsVersion = "1.2",
    }
}

words! {
    /// Which endpoint of an upstream serves a request.
    Balance {
        /// One after the other.
        RoundRobin = "round_robin",
        /// The one with the fewest requests under way.
        LeastLoaded = "least_loaded",
        /// The same one for all requests of a session; of a client's address where there is no session.
        SessionHash = "session_hash",
    }
}

section! {
    /// A server of an upstream.
    WeightedEndpoint
    required {
        /// Scheme, host and port, or a socket: `http://10.0.0.1:8080`, `unix:/run/app.sock`.
        url: String,
    }
    defaults {
        /// Its share of the requests, next to the weights of the others: 1 to 1000.
        weight: u32 = 1,
    }
}

/// A server of an upstream: its URL, or its URL and its weight.
pub(crate) enum Endpoint {
    /// The URL alone.
    Url(At<String>),
    /// More of it.
    Weighted(WeightedEndpoint),
}

impl Endpoint {
    /// Its URL.
    pub(crate) fn url(&self) -> Option<At<String>> {
        match self {
            Self::Url(url) => Some(url.clone()),
            Self::Weighted(endpoint) => endpoint.url.clone(),
        }
    }

    /// Its weight, where it stands there.
    pub(crate) fn weight(&self) -> Option<At<u32>> {
        match self {
            Self::Url(_) => None,
            Self::Weighted(endpoint) => endpoint.weight.clone(),
        }
    }
}

impl Read for Endpoint {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Mapping(_) => WeightedEndpoint::read(node, reader).map(Self::Weighted),
            Value::Scalar(_) | Value::List(_) => reader.at(node).map(Self::Url),
        }
    }
}

impl JsonSchema for Endpoint {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let weighted = generator.subschema_for::<WeightedEndpoint>();
        json_schema!({ "anyOf": [weighted, { "type": "string" }] })
    }
}

section! {
    /// How an upstream's endpoints are probed.
    Health
    required {
        /// The path that is asked for, by `GET`: `/healthz`.
        path: String,
    }
    optional {
        /// What is sent as `Host`. Host and port of the endpoint where it is not given.
        host: String,
    }
    defaults {
        /// The time between two probes of an endpoint.
        interval: Period = "10s",
        /// How long a probe may take.
        timeout: Period = "2s",
        /// Good probes in a row after which an endpoint is up again.
        healthy: u32 = 2,
        /// Bad probes in a row after which it is down.
        unhealthy: u32 = 3,
        /// The statuses of a good answer: `200-399`, `204`.
        status: String = "200-399",
    }
}

section! {
    /// How often a request is tried again.
    Retries
    defaults {
        /// Attempts of one request, the first one included: 1 to 10.
        attempts: u32 = 3,
        /// Retries of 100 requests of the last 10 seconds. Another address of an endpoint is none.
        percent: u32 = 20,
        /// Retries in 10 seconds that there may be besides.
        least: u32 = 10,
    }
}

section! {
    /// When an endpoint is passed over because requests fail: no connection, one that breaks, no answer in time. Never
    /// the last one.
    Eject
    defaults {
        /// Requests that fail in a row; 0 for never.
        failures: u32 = 5,
        /// For how long, the first time. Each time that follows soon is twice as long.
        time: Period = "30s",
        /// For how long at most.
        most: Period = "5m",
        /// Statuses that count as failures, such as 502, 503 and 504.
        statuses: Vec<At<u32>> = [],
    }
}

section! {
    /// How many connections to an endpoint there may be.
    Pool
    optional {
        /// Requests under way at once at one endpoint, on all cores together; over HTTP/1.1 each has a connection of its
        /// own. One more goes to another endpoint, or waits for as long as connecting may take; then it is a 503. Any
        /// number where it is not given.
        connections: u32,
    }
    defaults {
        /// Idle connections that the fast path keeps, of each core to each address.
        idle: u32 = 256,
    }
}

section! {
    /// How long an upstream may take.
    UpstreamTimeouts
    optional {
        /// For the head of a response, from the request and over all attempts. For requests on the fast path: elsewhere
        /// only `read` is kept. Any time where it is not given.
        head: Period,
    }
    defaults {
        /// To accept a connection, TLS included.
        connect: Period = "5s",
        /// Between two pieces of a response.
        read: Period = "60s",
        /// To take a piece of a request.
        write: Period = "60s",
        /// How long an idle connection is kept for reuse.
        idle: Period = "60s",
    }
}

section! {
    /// The fields that say where a request comes from.
    Forwarded
    defaults {
        /// The fields that `trusted_proxies` write. The others are dropped: a proxy passes on what its clients say in
        /// fields that it does not know.
        believe: Believed = "x_forwarded",
        /// The fields that upstreams are told in.
        send: Sent = "x_forwarded",
    }
}

words! {
    /// Fields that are believed.
    Believed {
        /// `X-Forwarded-For` and `X-Forwarded-Proto`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

words! {
    /// Fields that are sent.
    Sent {
        /// `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto`.
        XForwarded = "x_forwarded",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
        /// Both.
        Both = "both",
    }
}

section! {
    /// Limits of what clients may send and how long they may take.
    Limits
    optional {
        /// The body of a request, where its route has no `body_bytes` of its own. Any size where it is not given: a
        /// body passes through and is held by nobody.
        body_bytes: Size,
        /// Connections of one client address open at once; of IPv6, of one /64 network. No such limit where it is not
        /// given. `trusted_proxies` are not counted, so behind them it limits nothing.
        connections_per_client: u32,
    }
    defaults {
        /// Request line and header fields together.
        head_bytes: Size = "64KiB",
        /// Header fields.
        header_count: u32 = 100,
        /// The request target.
        uri_bytes: Size = "16KiB",
        /// All cookies of a request together.
        cookie_bytes: Size = "32KiB",
        /// Cookies of a request. Browsers keep at most 180 for one site.
        cookie_count: u32 = 180,
        /// What a request's body must bring per second, on average over whatever is longer than `idle_timeout`. `0` for
        /// any rate. gRPC calls are exempt.
        body_rate: Size = "256B",
        /// How long a request head may take to arrive.
        head_timeout: Period = "10s",
        /// How long a connection may be idle between requests, and a client silent in the middle of one.
        idle_timeout: Period = "75s",
        /// How long a TLS handshake may take.
        handshake_timeout: Period = "10s",
        /// Connections open at once.
        connections: u32 = 10000,
        /// Requests that one connection may carry. It ends with the last of them, and the client opens another.
        requests_per_connection: u32 = 10000,
        /// Requests under way at once on one HTTP/2 connection.
        http2_streams: u32 = 100,
    }
}

section! {
    /// What happens at shutdown.
    Drain
    defaults {
        /// How long new connections are still accepted while readiness already fails.
        accept: Period = "0s",
        /// How long an idle connection may still send one more request.
        linger: Period = "1s",
        /// When what is still in flight is cut.
        limit: Period = "25s",
    }
}

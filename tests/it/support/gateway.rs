//! A gateway inside the test, on port 0.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bearward::base::tasks::Tasks;
use bearward::base::time::{Clock, SystemClock};
use bearward::base::tls;
use bearward::base::tls::server::{MinVersion, Terms};
use bearward::bff::{Bff, settings as bff};
use bearward::edge::inherited::Inherited;
use bearward::edge::live::Live;
use bearward::edge::metrics::Metrics;
use bearward::edge::settings::{
    Balance, Drain, Endpoint, FastPath, Forwarding, HostField, Limits, Listener, Place, Pool, Retries,
    Settings, Tls, TlsFiles, Upstream, UpstreamTls,
};
use bearward::edge::upstream::Upstreams;
use bearward::edge::{DrainReport, Edge, ReplaceError};
use bearward::gate::Gate;
use bearward::gate::policy::csrf::Origins;
use bearward::gate::route::table::Table;
use bearward::gate::settings::{Auth, PathPattern, RefreshOn, Rewrite, Route, StreamRules, UpstreamId};
use bearward::session::cookie::jar::Jar;
use bearward::session::refresh::record::EndCause;
use bearward::session::sessions::Sessions;
use bearward::telemetry::metrics as telemetry;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;
use url::Url;

use super::session::{session_cookie, sessions};

/// What a test wants of a gateway.
pub(crate) struct Wanted {
    pub(crate) upstream: Upstream,
    pub(crate) limits: Limits,
    pub(crate) drain: Drain,
    pub(crate) tls: Option<TlsFiles>,
    /// Further certificates, and what is asked of clients.
    pub(crate) more_certificates: Vec<TlsFiles>,
    pub(crate) terms: Terms,
    pub(crate) workers: usize,
    pub(crate) fast_path: FastPath,
    pub(crate) forwarding: Forwarding,
    pub(crate) stream: StreamRules,
    /// Of the paths under `/api`.
    pub(crate) rewrite: Option<Rewrite>,
}

/// A running gateway: `/api/*` needs a session, everything else does not.
pub(crate) struct Gateway {
    edge: Option<Edge>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: telemetry::Metrics,
    sessions: Sessions,
    counts: Arc<Metrics>,
    drain: Drain,
}

impl Wanted {
    pub(crate) fn before(upstream: SocketAddr) -> Self {
        Self {
            upstream: Upstream {
                name: "echo".to_owned(),
                endpoints: vec![endpoint(&format!("http://{upstream}"))],
                balance: Balance::RoundRobin,
                health: None,
                eject: None,
                pool: Pool { idle: 256, connections: None },
                retries: Retries { attempts: 3, percent: 20, least: 100 },
                host: HostField::Keep,
                ca_file: None,
                tls: UpstreamTls { server_name: None, client: None, least: MinVersion::V1_2 },
                http2: false,
                connect_timeout: Duration::from_secs(2),
                read_timeout: Duration::from_secs(10),
                write_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                head_timeout: None,
            },
            limits: Limits {
                head_bytes: 20_000,
                header_count: 60,
                uri_bytes: 4_000,
                cookie_bytes: 16_000,
                cookie_count: 50,
                head_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(10),
                handshake_timeout: Duration::from_secs(10),
                body_bytes: None,
                body_rate: 256,
                connections: 1_000,
                connections_per_client: None,
                requests_per_connection: 100_000,
                http2_streams: 100,
            },
            drain: Drain { accept: Duration::ZERO, linger: Duration::ZERO, limit: Duration::from_secs(5) },
            tls: None,
            more_certificates: Vec::new(),
            terms: Terms::default(),
            workers: 1,
            fast_path: FastPath::On,
            forwarding: Forwarding::default(),
            stream: StreamRules::default(),
            rewrite: None,
        }
    }

    async fn live(&self, metrics: &telemetry::Metrics, counts: Arc<Metrics>) -> (Live, Sessions) {
        tls::install_provider();
        let public_url: Url = "https://app.example".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (sessions, provider) = sessions(&clock, metrics).await;
        let routes = [("/api/*", Auth::Session), ("/*", Auth::None)];
        let [mut api, rest] = routes.map(|(path, auth)| route(path, auth, self.stream));
        api.rewrite = self.rewrite.clone();
        let routes = [api, rest].map(Arc::new);
        let table = Table::new("app.example", "/oauth2", routes.to_vec()).unwrap();
        let bff = bff::Settings {
            public_url: public_url.clone(),
            base_path: "/oauth2".to_owned(),
            default_return_to: "/".to_owned(),
            login_params: Vec::new(),
        };
        let bff = Bff::new(bff, sessions.clone(), provider, clock, metrics.clone()).unwrap();
        let live = Live {
            gate: Arc::new(Gate::new(table, Origins::new(&public_url, &[]), None, sessions.clone())),
            bff: Arc::new(bff),
            upstreams: Upstreams::new(std::slice::from_ref(&self.upstream), counts.standings()).unwrap(),
            metrics: counts,
            public_url,
            forwarding: self.forwarding.clone(),
        };
        (live, sessions)
    }

    fn listener(&self) -> Listener {
        let tls = self.tls.iter().map(|first| {
            let certificates = std::iter::once(first).chain(&self.more_certificates).cloned().collect();
            Tls { certificates, terms: self.terms.clone() }
        });
        Listener { address: "127.0.0.1:0".parse().unwrap(), tls: tls.into_iter().next() }
    }

    fn settings(&self) -> Settings {
        Settings {
            listeners: vec![self.listener()],
            admin: None,
            workers: self.workers,
            upstreams: vec![self.upstream.clone()],
            limits: self.limits.clone(),
            drain: self.drain.clone(),
            fast_path: self.fast_path,
            forwarding: self.forwarding.clone(),
        }
    }

    pub(crate) async fn start(self) -> Gateway {
        let metrics = telemetry::Metrics::new();
        let counts = Arc::new(metrics.register(Metrics::register));
        let (live, sessions) = self.live(&metrics, Arc::clone(&counts)).await;
        let edge = Edge::start(
            &self.settings(),
            &Arc::new(live),
            &mut Inherited::default(),
            &Tasks::new(Handle::current()),
        )
        .unwrap();
        let address = edge.addresses()[0];
        Gateway { edge: Some(edge), address, metrics, sessions, counts, drain: self.drain }
    }
}

impl Gateway {
    /// Replaces what is served by, while connections stay.
    pub(crate) async fn reload(&mut self, wanted: &Wanted) -> Result<Vec<SocketAddr>, ReplaceError> {
        let metrics = telemetry::Metrics::new();
        let counts = Arc::new(metrics.register(Metrics::register));
        let (live, _) = wanted.live(&metrics, counts).await;
        self.edge.as_mut().unwrap().replace(&wanted.settings(), &Arc::new(live))
    }

    /// The same, and what was known of endpoints is known still.
    pub(crate) async fn reload_known(&mut self, wanted: &Wanted) -> Result<Vec<SocketAddr>, ReplaceError> {
        let (live, _) = wanted.live(&telemetry::Metrics::new(), Arc::clone(&self.counts)).await;
        self.edge.as_mut().unwrap().replace(&wanted.settings(), &Arc::new(live))
    }

    /// Ends the session of [`session_cookie`].
    pub(crate) fn end_session(&self) {
        let cookie = HeaderValue::from_str(&session_cookie()).unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, cookie)]);
        let ended = self.sessions.end(&Jar::read(&headers, self.sessions.names()), EndCause::Logout);
        assert!(ended.is_some(), "the session had ended before");
    }

    pub(crate) async fn drain(&mut self) -> DrainReport {
        self.edge.take().unwrap().drain(&self.drain).await
    }

    /// What was counted in all. A request is counted after its response, so the end is waited for.
    pub(crate) async fn metrics(mut self) -> String {
        self.drain().await;
        self.metrics.encode()
    }
}

fn route(path: &str, auth: Auth, stream: StreamRules) -> Route {
    Route {
        name: path.to_owned(),
        host: None,
        path: PathPattern::Below(path.strip_suffix("/*").unwrap().to_owned()),
        methods: Vec::new(),
        upstream: UpstreamId(0),
        rewrite: None,
        auth,
        refresh: RefreshOn::Requests,
        body_bytes: None,
        set_headers: Vec::new(),
        cors: None,
        stream,
    }
}

/// A server of an upstream.
pub(crate) fn endpoint(url: &str) -> Endpoint {
    Endpoint { place: Place::Url(url.parse().unwrap()), weight: 1 }
}

/// A certificate for `localhost`, its key, and the directory that keeps them.
pub(crate) fn certificate() -> (tempfile::TempDir, PathBuf, PathBuf) {
    certificate_for("localhost")
}

/// The same for another name.
pub(crate) fn certificate_for(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    tls::install_provider();
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    (folder, cert, key)
}

//! Builds a running gateway from settings.
//!
//! Everything is constructed here, once, in the order of the rooms; nothing else in the program makes what another
//! room needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use url::Url;

use super::fleet;
use super::reload::Reloads;
use super::serving::{self, Lasting, ServingError};
use super::watch::Watch;
use crate::base::http_client::NetworkClient;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, SharedClock};
use crate::base::tls::{self, TlsError};
use crate::bff::Bff;
use crate::config::Settings;
use crate::edge::admin::{Admin, Served};
use crate::edge::inherited::Inherited;
use crate::edge::metrics::Metrics as EdgeMetrics;
use crate::edge::readiness::Readiness;
use crate::edge::settings::Drain;
use crate::edge::{Edge, EdgeError};
use crate::oidc::Provider;
use crate::session::cookie::seal::KeyRefused;
use crate::session::sessions::{Sessions, Surroundings};
use crate::store::OpenError;
use crate::telemetry::metrics::Metrics;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A runtime could not be made.
    #[error("no runtime for background work")]
    Runtime(#[source] std::io::Error),
    /// The provider's certificates cannot be checked.
    #[error("the provider could not be verified")]
    Tls(#[from] TlsError),
    /// The session keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyRefused),
    /// There is no store, and will be none.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Routes or upstreams cannot be served.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// A listener or worker could not be started.
    #[error(transparent)]
    Edge(#[from] EdgeError),
}

/// The signals that are caught.
#[derive(Debug)]
pub struct Signals {
    terminate: SignalStream,
    interrupt: SignalStream,
    hang_up: SignalStream,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT: come to rest.
    Stop,
    /// SIGHUP, or files that have changed: read the configuration again.
    Reload,
}

/// A running gateway.
#[derive(Debug)]
pub struct App {
    pub(super) edge: Option<Edge>,
    admin: Option<Admin>,
    readiness: Arc<Readiness>,
    sessions: Sessions,
    pub(super) drain: Drain,
    /// What stays, whatever is served by.
    pub(super) lasting: Lasting,
    pub(super) reloads: Reloads,
    /// Flights, revocations, the admin listener: what must not depend on a worker's life.
    background: Option<Runtime>,
}

impl App {
    /// Starts everything; returns when all addresses listen.
    ///
    /// # Errors
    /// Where something cannot be built or bound; nothing is left running then.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_with(settings, clock, Inherited::default())
    }

    /// The same with sockets that somebody else has bound.
    ///
    /// # Errors
    /// Where one of them has the address of no listener, besides.
    pub fn start_with(
        settings: Settings,
        clock: Arc<dyn Clock>,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        inherited.check(&addresses(&settings)).map_err(EdgeError::from)?;
        let metrics = Metrics::new();
        let reloads = Reloads::new(&settings, &metrics, &clock);
        let Settings { edge, gate, bff, session, oidc, store, .. } = settings;
        let background = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("background")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let tasks = Tasks::new(background.handle().clone());
        let fleet = fleet::open(store, &clock, &tasks)?;
        // All replicas go by one clock, where there is one.
        let clock = fleet.as_ref().map_or(clock, |fleet| Arc::<SharedClock>::clone(&fleet.clock) as _);
        // The machine's roots are looked up only where a certificate is to be verified.
        let trust = match Url::parse(&oidc.issuer) {
            Ok(issuer) if issuer.scheme() == "http" => tls::trusting_nobody(),
            _ => tls::client_config(oidc.ca_file.as_deref())?,
        };
        let http = NetworkClient::new(&trust);
        let provider = Arc::new(Provider::new(oidc, Arc::new(http), Arc::clone(&clock)));
        let sessions = Sessions::new(
            session,
            Arc::clone(&provider),
            Surroundings { clock: Arc::clone(&clock), tasks: tasks.clone(), metrics: metrics.clone(), fleet },
        )?;
        let lasting = Lasting {
            sessions: sessions.clone(),
            bff: Arc::new(Bff::new(bff, sessions.clone(), Arc::clone(&provider), clock, metrics.clone())?),
            metrics: Arc::new(metrics.register(EdgeMetrics::register)),
            public_url: gate.public_url.clone(),
            base_path: gate.base_path.clone(),
        };
        let live = Arc::new(serving::live(gate, &edge, &lasting)?);
        let readiness = Arc::new(Readiness::new());
        warm_up(&tasks, provider, &readiness);
        fleet::wait_for_denials(&tasks, sessions.following(), &readiness);
        let admin = edge
            .admin
            .map(|address| {
                let bff = Some(Arc::clone(&live.bff));
                let served = Served { readiness: Arc::clone(&readiness), metrics, bff };
                Admin::start(address, background.handle(), served, &mut inherited)
            })
            .transpose()?;
        let drain = edge.drain.clone();
        let edge = Edge::start(&edge, &live, &mut inherited, &tasks)?;
        reloads.watch_over(&tasks, &edge);
        let (edge, background) = (Some(edge), Some(background));
        Ok(Self { edge, admin, readiness, sessions, drain, lasting, reloads, background })
    }
}

impl App {
    /// Where it serves.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.edge.as_ref().map(Edge::addresses).unwrap_or_default()
    }

    /// Where health and metrics are.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Catches the signals that are for this process from now on.
    ///
    /// # Errors
    /// Where the system lets no signal be awaited.
    pub fn signals(&self) -> std::io::Result<Signals> {
        let _inside = self.background.as_ref().map(Runtime::enter);
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one, or for files that have changed; none that came since the last is missed. What is watched
    /// is read on this thread: a file system that hangs holds up nothing else.
    pub fn wait_for(&self, signals: &mut Signals, watch: Option<&mut Watch>) -> Signal {
        let Some(background) = &self.background else { return Signal::Stop };
        let changed = async {
            match watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        background.block_on(async {
            // Cancel safety: signals only wait, and so does `changed`, by its own word.
            tokio::select! {
                biased;
                _ = signals.terminate.recv() => Signal::Stop,
                _ = signals.interrupt.recv() => Signal::Stop,
                _ = signals.hang_up.recv() => Signal::Reload,
                () = changed => Signal::Reload,
            }
        })
    }

    /// Comes to rest: readiness fails, no new connection is accepted, what is under way is finished up to the
    /// drain's limit, and every refresh in flight is finished and kept (rule 10). Must not be called on a runtime.
    pub fn stop(mut self) {
        self.readiness.set_draining();
        self.sessions.drain();
        let (Some(edge), Some(background)) = (self.edge.take(), self.background.take()) else { return };
        background.block_on(async {
            let report = edge.drain(&self.drain).await;
            let finished = self.sessions.finish(self.drain.limit.max(FLIGHT_LIMIT)).await;
            tracing::info!(cut = report.cut, refreshes_finished = finished, "stopped");
        });
        // What is left waits for things that never come. When this returns, nothing holds the store any more.
        drop(self);
        background.shutdown_timeout(LETTING_GO);
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(background) = self.background.take() {
            // Waiting here would panic where the app is dropped on a runtime.
            background.shutdown_background();
        }
    }
}

/// Where a configuration has the gateway listen.
fn addresses(settings: &Settings) -> Vec<SocketAddr> {
    let edge = &settings.edge;
    edge.listeners.iter().map(|listener| listener.address).chain(edge.admin).collect()
}

/// Fetches the provider's metadata until it has them. A provider that is down keeps nobody from starting; the
/// replica says why it is not ready. Once it was, it stays so: a provider's outage is no reason to take it out.
fn warm_up(tasks: &Tasks, provider: Arc<Provider>, readiness: &Arc<Readiness>) {
    readiness.set(CONDITION, "its metadata were not fetched yet");
    let readiness = Arc::clone(readiness);
    tasks.spawn_endless(async move {
        while let Err(error) = provider.metadata().await {
            readiness.set(CONDITION, error.label());
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        readiness.clear(CONDITION);
    });
}

/// The name of the provider's condition in `/readyz`.
const CONDITION: &str = "provider";

/// Tasks end at their next wait.
const LETTING_GO: Duration = Duration::from_secs(1);

/// A refresh in flight gets at least this long at shutdown: its result must not be lost.
const FLIGHT_LIMIT: Duration = Duration::from_secs(15);

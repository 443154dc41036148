//! A new configuration for a gateway that runs.
//!
//! Routes, upstreams, listeners, session keys and certificates are swapped at once; connections, sessions and flights
//! outlive it. What was built from anything else cannot change under them, and is said to need a restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::build::App;
use super::serving::{self, ServingError};
use crate::base::secret::Secret;
use crate::base::tasks::Tasks;
use crate::base::time::Clock;
use crate::base::tls::certificate::Leaf;
use crate::config::Settings;
use crate::edge::{Edge, ReplaceError};
use crate::oidc::settings::ClientAuth;
use crate::session::cookie::seal::KeyRefused;
use crate::session::settings::Key;
use crate::store::settings::{Kind, Login, Topology};
use crate::telemetry::metrics::certificates::{Certificate, Certificates};
use crate::telemetry::metrics::{Metrics, ReloadResult};

/// Why a configuration was not taken; the one before goes on then, whole.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The session keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyRefused),
    /// Routes or upstreams cannot be served.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// Upstreams or listeners cannot be served as they should be.
    #[error(transparent)]
    Edge(#[from] ReplaceError),
    /// The gateway is coming to rest.
    #[error("the gateway is shutting down")]
    Stopping,
}

/// What came of a configuration that was taken: parts of the file by name.
#[derive(Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// What is another than before, and in use.
    pub changed: Vec<&'static str>,
    /// What is another than at the start, and needs a restart.
    pub waiting: Vec<&'static str>,
}

/// A part of the configuration by name, as it prints. Secrets do not print; they stand beside it.
#[derive(Debug)]
struct Part {
    name: &'static str,
    printed: String,
    secrets: Vec<Secret<String>>,
}

impl Part {
    fn new(name: &'static str, printed: String) -> Self {
        Self { name, printed, secrets: Vec::new() }
    }

    fn with(mut self, secrets: impl IntoIterator<Item = Secret<String>>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    fn is_same(&self, other: &Self) -> bool {
        let pairs = || self.secrets.iter().zip(&other.secrets);
        self.printed == other.printed
            && self.secrets.len() == other.secrets.len()
            && pairs().all(|(ours, theirs)| ours.is_same(theirs))
    }
}

fn differing(ours: &[Part], theirs: &[Part]) -> Vec<&'static str> {
    let pairs = ours.iter().zip(theirs);
    pairs.filter(|(ours, theirs)| !ours.is_same(theirs)).map(|(ours, _)| ours.name).collect()
}

/// What a running gateway was built from and keeps.
#[derive(Debug)]
struct Fixed(Vec<Part>);

impl Fixed {
    fn of(settings: &Settings) -> Self {
        let Settings { edge, gate, bff, session, oidc, telemetry, store, .. } = settings;
        let limits = (&session.lifetime, &session.idle_timeout, &session.grace, &session.rollback);
        let kept = (&session.claims, &session.keep_id_token, &session.capacity, &session.cookie);
        let refresh = (&session.after_unknown, &session.refresh_wait);
        let client_secret = match &oidc.client_auth {
            ClientAuth::Basic(secret) | ClientAuth::Post(secret) => secret.duplicate(),
        };
        Self(vec![
            Part::new("public_url", gate.public_url.to_string()),
            Part::new("workers", format!("{:?}", edge.workers)),
            Part::new("admin", format!("{:?}", edge.admin)),
            Part::new("limits", format!("{:?}", edge.limits)),
            Part::new("fast_path", format!("{:?}", edge.fast_path)),
            Part::new("endpoints", format!("{:?} {bff:?}", gate.base_path)),
            Part::new("provider", format!("{oidc:?}")).with([client_secret]),
            Part::new("session", format!("{limits:?} {kept:?}")),
            Part::new("refresh", format!("{refresh:?}")),
            Part::new("store", format!("{store:?}")).with(passwords(&store.kind)),
            Part::new("log", format!("{telemetry:?}")),
        ])
    }
}

fn passwords(kind: &Kind) -> Vec<Secret<String>> {
    let Kind::Redis(redis) = kind else { return Vec::new() };
    let of = |login: &Login| login.password.as_ref().map(Secret::duplicate);
    let sentinels = match &redis.topology {
        Topology::Sentinel { login, .. } => of(login),
        Topology::Single(_) | Topology::Cluster { .. } => None,
    };
    of(&redis.login).into_iter().chain(sentinels).collect()
}

/// What a reload swaps.
#[derive(Debug)]
struct Swapped {
    parts: Vec<Part>,
    keys: Vec<Key>,
}

impl Swapped {
    fn of(settings: &Settings) -> Self {
        let Settings { edge, gate, session, watching, .. } = settings;
        let keys = session.keys.iter();
        let addresses: Vec<_> = edge.listeners.iter().map(|listener| listener.address).collect();
        let terms: Vec<_> = edge.listeners.iter().map(|listener| &listener.tls).collect();
        Self {
            parts: vec![
                Part::new("routes", format!("{:?}", gate.routes)),
                Part::new("upstreams", format!("{:?}", edge.upstreams)),
                Part::new("trusted_origins", format!("{:?}", gate.trusted_origins)),
                Part::new("cors", format!("{:?}", gate.cors)),
                Part::new("forwarded", format!("{:?}", edge.forwarding)),
                Part::new("listeners", format!("{addresses:?}")),
                Part::new("drain", format!("{:?}", edge.drain)),
                Part::new("listeners.tls", format!("{terms:?}")),
                Part::new("reload", format!("{watching:?}")),
            ],
            keys: keys.map(|key| Key { id: key.id.clone(), bytes: key.bytes.duplicate() }).collect(),
        }
    }

    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let mut names = differing(&self.parts, &other.parts);
        let same = |(ours, theirs): (&Key, &Key)| ours.id == theirs.id && ours.bytes.is_same(&theirs.bytes);
        if self.keys.len() != other.keys.len() || !self.keys.iter().zip(&other.keys).all(same) {
            names.push("session.keys");
        }
        names
    }
}

/// What is remembered from one configuration to the next, and told of it.
#[derive(Debug)]
pub(super) struct Reloads {
    fixed: Fixed,
    swapped: Swapped,
    metrics: Metrics,
    certificates: Certificates,
    clock: Arc<dyn Clock>,
}

impl Reloads {
    pub(super) fn new(settings: &Settings, metrics: &Metrics, clock: &Arc<dyn Clock>) -> Self {
        let certificates = Certificates::new(Arc::clone(clock));
        metrics.collect(certificates.clone());
        metrics.configured(clock.now());
        Self {
            fixed: Fixed::of(settings),
            swapped: Swapped::of(settings),
            metrics: metrics.clone(),
            certificates,
            clock: Arc::clone(clock),
        }
    }

    /// Warns of certificates that are about to expire, for as long as the gateway runs.
    pub(super) fn watch_over(&self, tasks: &Tasks, edge: &Edge) {
        self.certificates.replace(presented(edge));
        let certificates = self.certificates.clone();
        tasks.spawn_endless(async move {
            loop {
                certificates.warn();
                tokio::time::sleep(BETWEEN_WARNINGS).await;
            }
        });
    }
}

/// What an edge presents.
fn presented(edge: &Edge) -> Vec<Certificate> {
    let told = |(address, leaf): (SocketAddr, Leaf)| Certificate {
        listener: address.to_string(),
        name: leaf.names.into_iter().next().unwrap_or_default(),
        not_before: leaf.not_before,
        not_after: leaf.not_after,
    };
    edge.certificates().into_iter().map(told).collect()
}

/// A certificate of a few days is told of before it is over.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(6 * 3600);

impl App {
    /// Goes on with `settings`.
    ///
    /// # Errors
    /// Where something cannot be built; nothing is changed then.
    pub fn reload(&mut self, settings: Settings) -> Result<Reloaded, ReloadError> {
        let taken = self.take(settings);
        match &taken {
            Ok(_) => {
                self.reloads.metrics.reload(ReloadResult::Applied);
                self.reloads.metrics.configured(self.reloads.clock.now());
            }
            Err(_) => self.count_refused(),
        }
        taken
    }

    /// Counts a configuration that could not even be read.
    pub fn count_refused(&self) {
        self.reloads.metrics.reload(ReloadResult::Refused);
    }

    fn take(&mut self, settings: Settings) -> Result<Reloaded, ReloadError> {
        let edge = self.edge.as_mut().ok_or(ReloadError::Stopping)?;
        let waiting = differing(&self.reloads.fixed.0, &Fixed::of(&settings).0);
        let swapped = Swapped::of(&settings);
        let live = Arc::new(serving::live(settings.gate, &settings.edge, &self.lasting)?);
        // Each refuses before it changes anything; cryptography takes every key that was checked, so that nothing is
        // swapped by halves.
        let renewed = edge.replace(&settings.edge, &live)?;
        self.lasting.bff.replace_keys(&settings.session.keys)?;
        self.reloads.certificates.replace(presented(edge));
        self.reloads.certificates.warn();
        let mut changed = self.reloads.swapped.differing(&swapped);
        if !renewed.is_empty() {
            changed.push("certificates");
        }
        self.reloads.swapped = swapped;
        self.drain = settings.edge.drain;
        Ok(Reloaded { changed, waiting })
    }
}

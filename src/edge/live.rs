//! What the edge serves by, replaceable while it runs.

use std::sync::{Arc, PoisonError, RwLock};

use url::Url;

use super::metrics::Metrics;
use super::settings::Forwarding;
use super::upstream::Upstreams;
use crate::bff::Bff;
use crate::gate::admit::Gate;

/// Everything a request needs besides its connection.
#[derive(Debug)]
pub struct Live {
    /// Decides.
    pub gate: Arc<Gate>,
    /// Answers what is not forwarded.
    pub bff: Arc<Bff>,
    /// Where requests go.
    pub upstreams: Upstreams,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The origin that browsers see. Its scheme is what upstreams are told, since TLS may end before us.
    pub public_url: Url,
    /// Whose word is taken about where a request comes from, and what upstreams are told.
    pub forwarding: Forwarding,
}

/// One worker's place for the current [`Live`]. The lock is the worker's own and held for one clone.
#[derive(Debug)]
pub(super) struct Slot(RwLock<Arc<Live>>);

impl Slot {
    pub(super) fn new(live: Arc<Live>) -> Self {
        Self(RwLock::new(live))
    }

    pub(super) fn current(&self) -> Arc<Live> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, live: Arc<Live>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = live;
    }
}

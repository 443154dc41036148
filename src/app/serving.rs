//! What requests are served by: put together at the start and at every reload.

use std::sync::Arc;

use url::Url;

use crate::bff::Bff;
use crate::edge::live::Live;
use crate::edge::metrics::Metrics;
use crate::edge::settings::Settings as EdgeSettings;
use crate::edge::upstream::{UpstreamError, Upstreams};
use crate::gate::Gate;
use crate::gate::forward::guard_headers;
use crate::gate::policy::csrf::Origins;
use crate::gate::route::table::{Table, TableError};
use crate::gate::settings::Settings;
use crate::session::sessions::Sessions;

/// Why routes and upstreams cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The routes contradict each other.
    #[error(transparent)]
    Routes(#[from] TableError),
    /// An upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// What a reload leaves as it is.
#[derive(Debug, Clone)]
pub(super) struct Lasting {
    pub(super) sessions: Sessions,
    pub(super) bff: Arc<Bff>,
    pub(super) metrics: Arc<Metrics>,
    /// Origins and endpoints belong to it.
    pub(super) public_url: Url,
    pub(super) base_path: String,
}

/// Puts it together.
pub(super) fn live(gate: Settings, edge: &EdgeSettings, lasting: &Lasting) -> Result<Live, ServingError> {
    let Lasting { sessions, bff, metrics, public_url, base_path } = lasting;
    let origins = Origins::new(public_url, &gate.trusted_origins);
    let table = Table::new(public_url.host_str().unwrap_or_default(), base_path, guard_headers(gate.routes))?;
    Ok(Live {
        gate: Arc::new(Gate::new(table, origins, gate.cors, sessions.clone())),
        bff: Arc::clone(bff),
        upstreams: Upstreams::new(&edge.upstreams, metrics.standings())?,
        metrics: Arc::clone(metrics),
        public_url: public_url.clone(),
        forwarding: edge.forwarding.clone(),
    })
}

//! A gateway that is built and not started: for questions about a configuration.
//!
//! It has no sessions, listens nowhere, opens no store and sends nothing to the provider, whatever it is asked.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use tokio::runtime::{Builder, Runtime};

use super::build::StartError;
use super::serving::{self, Lasting};
use crate::base::http_client::{HttpClient, Limits as HttpLimits, NotSent, TransportError};
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, SystemClock};
use crate::bff::Bff;
use crate::config::Settings;
use crate::edge::live::Live;
use crate::edge::metrics::Metrics as EdgeMetrics;
use crate::edge::preview::{self, Imagined, Preview};
use crate::edge::settings::{Limits, Upstream};
use crate::gate::settings::UpstreamId;
use crate::oidc::Provider;
use crate::session::sessions::{Sessions, Surroundings};
use crate::telemetry::metrics::Metrics;

/// What a gateway would do.
#[derive(Debug)]
pub struct Imaginary {
    live: Arc<Live>,
    limits: Limits,
    upstreams: Vec<Upstream>,
    runtime: Runtime,
}

impl Imaginary {
    /// Builds one.
    ///
    /// # Errors
    /// Where one could not be started.
    pub fn new(settings: Settings) -> Result<Self, StartError> {
        let Settings { edge, gate, bff, session, oidc, .. } = settings;
        let runtime = Builder::new_current_thread().enable_time().build().map_err(StartError::Runtime)?;
        let tasks = Tasks::new(runtime.handle().clone());
        let (metrics, clock) = (Metrics::new(), Arc::new(SystemClock) as Arc<dyn Clock>);
        let provider = Arc::new(Provider::new(oidc, Arc::new(Silent), Arc::clone(&clock)));
        let around = Surroundings { clock: Arc::clone(&clock), tasks, metrics: metrics.clone(), fleet: None };
        let sessions = Sessions::new(session, Arc::clone(&provider), around)?;
        let lasting = Lasting {
            sessions: sessions.clone(),
            bff: Arc::new(Bff::new(bff, sessions, provider, clock, metrics.clone())?),
            metrics: Arc::new(metrics.register(EdgeMetrics::register)),
            public_url: gate.public_url.clone(),
            base_path: gate.base_path.clone(),
        };
        let live = Arc::new(serving::live(gate, &edge, &lasting)?);
        Ok(Self { live, limits: edge.limits, upstreams: edge.upstreams, runtime })
    }

    /// What it would do with a request.
    pub fn ask(&self, request: &Imagined) -> Preview<'_> {
        self.runtime.block_on(preview::preview(&self.live, &self.limits, request))
    }

    /// What is configured of an upstream.
    pub fn upstream(&self, id: UpstreamId) -> Option<&Upstream> {
        self.upstreams.get(id.0)
    }
}

/// Reaches nobody. A cookie that somebody asks with is authentic; its refresh token must not be spent.
#[derive(Debug)]
struct Silent;

impl HttpClient for Silent {
    fn send(
        &self,
        _: Request<Bytes>,
        _: HttpLimits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        Box::pin(std::future::ready(Err(TransportError::not_sent(NotSent::Connect))))
    }
}

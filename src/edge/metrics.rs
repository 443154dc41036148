//! What the edge counts.
//!
//! Labels are statuses and reason codes, never anything that a client sends.
//!
//! The counters of every day are plain atomics that were looked up once: a family's map is behind a lock that all
//! cores would share.

mod endpoints;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use self::endpoints::Endpoints;
use super::upstream::Standings;

/// Counters of the edge. Made once and kept across reloads.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    forwarded: [Counter; CLASSES.len()],
    fast_path: Counter,
    connections: Gauge,
    duration: Arc<Durations>,
    standings: Standings,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    class: &'static str,
    outcome: &'static str,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<Labels, Counter>::default();
        let forwarded =
            CLASSES.map(|class| requests.get_or_create_owned(&Labels { class, outcome: FORWARDED }));
        let fast_path = Counter::default();
        let connections = Gauge::default();
        let duration = Arc::new(Durations::default());
        registry.register(
            "http_requests",
            "Requests by class of status and by what became of them",
            requests.clone(),
        );
        registry.register(
            "http_fast_path_requests",
            "Requests that took the short way through the gateway",
            fast_path.clone(),
        );
        registry.register("http_connections", "Client connections that are open", connections.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from a request's head to the end of its response",
            Shared(Arc::clone(&duration)),
        );
        let standings = Standings::default();
        registry.register_collector(Box::new(Endpoints(standings.clone())));
        Self { requests, forwarded, fast_path, connections, duration, standings }
    }

    /// What is known of endpoints of upstreams.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    /// The number of open client connections.
    pub(super) fn connections(&self) -> Gauge {
        self.connections.clone()
    }

    /// Counts a request that takes the fast path.
    pub(super) fn count_fast_path(&self) {
        self.fast_path.inc();
    }

    /// Counts a request that never reached the gate.
    pub(super) fn count(&self, status: u16, outcome: &'static str) {
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        if outcome == FORWARDED {
            if let Some(counter) = self.forwarded.get(class) {
                counter.inc();
            }
            return;
        }
        let class = CLASSES.get(class).copied().unwrap_or_default();
        self.requests.get_or_create(&Labels { class, outcome }).inc();
    }

    /// Counts a request and how long it took.
    pub(super) fn observe(&self, status: u16, outcome: &'static str, took: Duration) {
        self.count(status, outcome);
        self.duration.observe(took);
    }
}

/// The outcome of a request that an upstream answered.
pub(super) const FORWARDED: &str = "forwarded";

const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

// Milliseconds: from what the gateway itself takes to the usual patience of a client.
const BOUNDS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// A histogram without a lock.
#[derive(Debug, Default)]
struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Durations {
    fn observe(&self, took: Duration) {
        let millis = took.as_micros().div_ceil(1000);
        let at = BOUNDS.iter().position(|&bound| millis <= u128::from(bound)).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Shared(Arc<Durations>);

impl TypedMetric for Shared {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Shared {
    #[expect(clippy::cast_precision_loss, reason = "seconds are told as floating point by the format")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS.iter().map(|&bound| bound as f64 / 1e3).chain([f64::INFINITY]);
        let buckets: Vec<_> =
            bounds.zip(self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|&(_, amount)| amount).sum();
        let sum = self.0.micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.observe(200, FORWARDED, Duration::from_micros(1500));
        metrics.observe(401, "no_session", Duration::from_secs(60));
        metrics.connections().inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "http_requests_total{class=\"2xx\",outcome=\"forwarded\"} 1",
            "http_requests_total{class=\"4xx\",outcome=\"no_session\"} 1",
            "http_connections 1",
            "http_request_duration_seconds_sum 60.0015",
            "http_request_duration_seconds_bucket{le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{le=\"0.002\"} 1",
            "http_request_duration_seconds_bucket{le=\"+Inf\"} 2",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}

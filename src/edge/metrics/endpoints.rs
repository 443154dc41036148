//! The standing of each endpoint, read at each scrape.
//!
//! The labels are names that the configuration holds, and nothing that a client sends.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::edge::upstream::{Standing, Standings};

/// Tells what is known of endpoints.
#[derive(Debug)]
pub(super) struct Endpoints(pub(super) Standings);

impl Collector for Endpoints {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let all = self.0.all();
        let mut tell = |name, help, kind, value: &dyn Fn(&Standing) -> u64| {
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for standing in &all {
                let (upstream, endpoint) = standing.names();
                let labels = [("upstream", upstream), ("endpoint", endpoint)];
                let metric = family.encode_family(&labels)?;
                let value = value(standing);
                if matches!(kind, MetricType::Counter) {
                    ConstCounter::new(value).encode(metric)?;
                } else {
                    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
                }
            }
            Ok(())
        };
        let up = |standing: &Standing| u64::from(standing.is_good());
        tell("upstream_endpoint_up", "Whether requests go to an endpoint", MetricType::Gauge, &up)?;
        let help = "Requests under way at an endpoint";
        tell("upstream_endpoint_requests", help, MetricType::Gauge, &Standing::in_flight)?;
        let help = "How often an endpoint was passed over for a while because requests failed";
        tell("upstream_endpoint_ejections", help, MetricType::Counter, &Standing::ejections)
    }
}

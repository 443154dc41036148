//! How long the certificates of listeners still hold, worked out at each scrape.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::base::time::{Clock, Timestamp};

/// A certificate that is presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The address where.
    pub listener: String,
    /// The first name that it is for.
    pub name: String,
    /// When it begins to hold.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Certificate {
    /// How long it still holds: less than zero where it has run out.
    pub fn seconds_left(&self, now: Timestamp) -> i64 {
        self.not_after.as_secs().saturating_sub(now.as_secs())
    }

    /// Whether somebody should look after it: a fifth of its life is left, or two weeks. Whoever renews by machine does
    /// it at a third.
    pub fn is_near_its_end(&self, now: Timestamp) -> bool {
        let life = self.not_after.as_secs().saturating_sub(self.not_before.as_secs());
        self.seconds_left(now) < (life / 5).min(TWO_WEEKS)
    }
}

const TWO_WEEKS: i64 = 14 * 24 * 3600;

/// What is presented at the moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Certificates {
    all: Arc<ArcSwap<Vec<Certificate>>>,
    clock: Arc<dyn Clock>,
}

impl Certificates {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { all: Arc::default(), clock }
    }

    /// From now on these are presented.
    pub fn replace(&self, certificates: Vec<Certificate>) {
        self.all.store(Arc::new(certificates));
    }

    /// Tells of each that is near its end.
    pub fn warn(&self) {
        let now = self.clock.now();
        for certificate in self.all.load().iter().filter(|one| one.is_near_its_end(now)) {
            let Certificate { listener, name, .. } = certificate;
            match certificate.seconds_left(now) {
                left if left > 0 => {
                    tracing::warn!(%listener, %name, hours = left / 3600, "a certificate is about to expire");
                }
                _ => tracing::error!(%listener, %name, "a certificate has expired"),
            }
        }
    }
}

impl Collector for Certificates {
    #[expect(clippy::cast_precision_loss, reason = "seconds are told as floating point by the format")]
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.all.load();
        if all.is_empty() {
            return Ok(());
        }
        let about = "How long a listener's certificate still holds";
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor("tls_certificate_left", about, unit, MetricType::Gauge)?;
        let now = self.clock.now();
        for certificate in all.iter() {
            let labels = [("listener", certificate.listener.as_str()), ("name", certificate.name.as_str())];
            let left = ConstGauge::new(certificate.seconds_left(now) as f64);
            left.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    const DAY: i64 = 24 * 3600;

    #[derive(Debug)]
    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn certificate(life: i64) -> Certificate {
        Certificate {
            listener: "0.0.0.0:8443".to_owned(),
            name: "app.example.com".to_owned(),
            not_before: Timestamp::from_secs(0),
            not_after: Timestamp::from_secs(life * DAY),
        }
    }

    #[test]
    fn the_end_is_near_in_the_last_fifth_or_the_last_two_weeks() {
        for (life, day, near) in [
            (90, 75, false),
            (90, 77, true),
            (6, 4, false),
            (6, 5, true),
            (3650, 3635, false),
            (90, 91, true),
        ] {
            let now = Timestamp::from_secs(day * DAY);
            assert_eq!(certificate(life).is_near_its_end(now), near, "{life} days, on day {day}");
        }
    }

    #[test]
    fn the_seconds_that_are_left_are_told() {
        let metrics = Metrics::new();
        let certificates = Certificates::new(Arc::new(At(Timestamp::from_secs(89 * DAY))));
        metrics.collect(certificates.clone());
        assert!(!metrics.encode().contains("certificate"));
        certificates.replace(vec![certificate(90)]);
        let text = metrics.encode();
        let line = "bearward_tls_certificate_left_seconds{listener=\"0.0.0.0:8443\",name=\"app.example.com\"} 86400.0";
        assert!(text.contains(line), "{text}");
    }
}

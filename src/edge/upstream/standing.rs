//! What is known of an endpoint: how loaded it is, and whether it is good.
//!
//! ```text
//! probes:    up ──`unhealthy` bad in a row──▶ down ──`healthy` good in a row──▶ up
//! requests:  in ──`failures` in a row──▶ ejected ──its time is over──▶ in
//! ```
//!
//! An endpoint is out where either says so. Both paths write here and all choices read here; a reload keeps it.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::time::Duration;

use super::moment::Moment;
use crate::edge::settings::Eject;

/// The standing of one endpoint.
#[derive(Debug)]
pub(in crate::edge) struct Standing {
    upstream: String,
    endpoint: String,
    in_flight: AtomicU64,
    /// Whether probes hold it for down.
    down: AtomicBool,
    /// Requests that failed in a row.
    failures: AtomicU32,
    /// When an ejection ends.
    ejected: AtomicU64,
    ejections: AtomicU64,
    last: Mutex<Ejection>,
}

/// The last ejection.
#[derive(Debug, Clone, Copy)]
struct Ejection {
    until: Moment,
    lasted: Duration,
}

/// Whether others could serve in an endpoint's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    Some,
    None,
}

impl Standing {
    fn new(upstream: &str, endpoint: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            endpoint: endpoint.to_owned(),
            in_flight: AtomicU64::new(0),
            down: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            ejected: AtomicU64::new(Moment::NEVER.to_bits()),
            ejections: AtomicU64::new(0),
            last: Mutex::new(Ejection { until: Moment::NEVER, lasted: Duration::ZERO }),
        }
    }

    /// Whose it is.
    pub(in crate::edge) fn names(&self) -> (&str, &str) {
        (&self.upstream, &self.endpoint)
    }

    /// Requests under way.
    pub(in crate::edge) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    pub(in crate::edge) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Whether requests should come.
    pub(in crate::edge) fn is_good(&self) -> bool {
        !self.is_down() && self.ejected_for().is_none()
    }

    /// Counts one more request, unless there are as many as there may be.
    pub(super) fn enter(&self, most: Option<u64>) -> bool {
        let Some(most) = most else {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        let more = |under_way| (under_way < most).then_some(under_way + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Counts one less.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether probes hold it for down.
    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// How much longer it is ejected. The clock is asked only where it ever was.
    pub(super) fn ejected_for(&self) -> Option<Duration> {
        let until = Moment::from_bits(self.ejected.load(Ordering::Relaxed));
        if until == Moment::NEVER {
            return None;
        }
        Some(until.since(Moment::now())).filter(|left| !left.is_zero())
    }

    /// Probes hold it for down.
    pub(super) fn set_down(&self, why: &'static str) {
        if !self.down.swap(true, Ordering::Relaxed) {
            let (upstream, endpoint) = self.names();
            tracing::warn!(upstream, endpoint, why, "an endpoint is down");
        }
    }

    /// Probes hold it for up.
    pub(super) fn set_up(&self) {
        if self.down.swap(false, Ordering::Relaxed) {
            let (upstream, endpoint) = self.names();
            tracing::info!(upstream, endpoint, "an endpoint is up");
        }
    }

    /// A request was answered.
    pub(super) fn succeeded(&self, eject: &Eject) {
        // Nearly always there is nothing to write.
        if self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        if self.failures.swap(0, Ordering::Relaxed) >= eject.failures {
            let (upstream, endpoint) = self.names();
            tracing::info!(upstream, endpoint, "an endpoint answers again");
        }
    }

    /// A request failed. Where that was one too many, the endpoint is out for a while, but never the last one. When it
    /// comes back, one more failure is enough until a request was answered.
    pub(super) fn failed(&self, eject: &Eject, others: impl FnOnce() -> Others) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < eject.failures || self.ejected_for().is_some() {
            return;
        }
        let mut last = self.last();
        if self.ejected_for().is_some() || others() == Others::None {
            return;
        }
        let now = Moment::now();
        *last = last.next(now, eject);
        self.ejected.store(last.until.to_bits(), Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        let (upstream, endpoint) = self.names();
        let seconds = last.lasted.as_secs_f64();
        drop(last);
        tracing::warn!(upstream, endpoint, failures, seconds, "an endpoint is ejected");
    }

    fn last(&self) -> MutexGuard<'_, Ejection> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ejection {
    /// The one that begins now: twice as long as the last one, unless it has been good for as long as it was out.
    fn next(self, now: Moment, eject: &Eject) -> Self {
        let again = self.until != Moment::NEVER && now.since(self.until) < self.lasted;
        let lasted = if again { self.lasted.saturating_mul(2) } else { eject.time }.min(eject.most);
        Self { until: now.plus(lasted), lasted }
    }
}

/// The standings of all endpoints that are in use. Made once and kept across reloads.
#[derive(Debug, Default, Clone)]
pub struct Standings(Arc<Mutex<Vec<Weak<Standing>>>>);

impl Standings {
    /// The standing of an endpoint, with what was known of it.
    pub(super) fn of(&self, upstream: &str, endpoint: &str) -> Arc<Standing> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|standing| standing.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade).find(|known| known.names() == (upstream, endpoint));
        known.unwrap_or_else(|| {
            let new = Arc::new(Standing::new(upstream, endpoint));
            all.push(Arc::downgrade(&new));
            new
        })
    }

    /// Those that are in use.
    pub(in crate::edge) fn all(&self) -> Vec<Arc<Standing>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn eject() -> Eject {
        Eject { failures: 3, time: SECOND * 10, most: SECOND * 30, statuses: Vec::new() }
    }

    fn fail(standing: &Standing, times: usize) {
        for _ in 0..times {
            standing.failed(&eject(), || Others::Some);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_eject_for_a_while_that_doubles() {
        let standing = Standing::new("a", "b");
        fail(&standing, 2);
        standing.succeeded(&eject());
        fail(&standing, 2);
        assert!(standing.is_good(), "they were not in a row");
        for length in [10, 20, 30, 30] {
            fail(&standing, 1);
            assert_eq!(standing.ejected_for(), Some(SECOND * length));
            // What fails meanwhile prolongs nothing.
            fail(&standing, 5);
            tokio::time::advance(SECOND * length - Duration::from_millis(1)).await;
            assert!(!standing.is_good());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(standing.is_good());
        }
        assert_eq!(standing.ejections(), 4);
        // After one success it takes as many as at first; after good times it is short again.
        standing.succeeded(&eject());
        fail(&standing, 2);
        assert!(standing.is_good());
        tokio::time::advance(SECOND * 30).await;
        fail(&standing, 1);
        assert_eq!(standing.ejected_for(), Some(SECOND * 10));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_one_stays() {
        let standing = Standing::new("a", "b");
        for _ in 0..10 {
            standing.failed(&eject(), || Others::None);
        }
        assert!(standing.is_good());
        assert_eq!(standing.ejections(), 0);
        fail(&standing, 1);
        assert!(!standing.is_good(), "another came back");
    }

    #[test]
    fn a_standing_is_kept_for_as_long_as_anyone_uses_it() {
        let standings = Standings::default();
        let first = standings.of("a", "b");
        first.enter(None);
        assert_eq!(standings.of("a", "b").in_flight(), 1);
        assert_eq!(standings.of("a", "c").in_flight(), 0);
        assert_eq!(standings.all().len(), 1);
        drop(first);
        assert!(standings.all().is_empty());
        assert_eq!(standings.of("a", "b").in_flight(), 0);
    }

    #[test]
    fn a_limit_is_a_limit() {
        let standing = Standing::new("a", "b");
        assert!(standing.enter(Some(2)) && standing.enter(Some(2)) && !standing.enter(Some(2)));
        standing.leave();
        assert!(standing.enter(Some(2)));
    }
}

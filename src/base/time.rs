//! Wall time as a value, and the clock that tells it.
//!
//! Deciding code takes a [`Timestamp`]; only shells hold a [`Clock`]. Expiry is wall time; timeouts are the
//! runtime's business and never pass through here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// An instant of wall time, in milliseconds since the Unix epoch. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The end of time as far as this type can tell it.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the Unix epoch, the unit of JWT's `NumericDate` (RFC 7519 §2).
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The instant `later` after this one.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }

    /// The instant `earlier` before this one.
    #[must_use]
    pub fn minus(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(millis(earlier)))
    }

    /// How long ago `earlier` was; zero where it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0.div_euclid(1000), self.0.rem_euclid(1000))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Tells the wall time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(millis(since_epoch))
    }
}

/// A clock that all replicas go by: this machine's, put right by what they share.
///
/// Times in cookies and leases are written by one replica and judged by another. Clocks that differ by a minute would
/// have one forward what the other knows to be expired.
#[derive(Debug)]
pub struct SharedClock {
    own: Arc<dyn Clock>,
    /// Milliseconds by which the shared time is ahead of our own.
    ahead: AtomicI64,
}

impl SharedClock {
    /// Goes by `own` until it is told better.
    pub const fn new(own: Arc<dyn Clock>) -> Self {
        Self { own, ahead: AtomicI64::new(0) }
    }

    /// What this machine's own clock says.
    pub fn own_now(&self) -> Timestamp {
        self.own.now()
    }

    /// The shared clock said `shared` at some moment between `asked` and `answered` of our own. Says by how much
    /// ours was put right, where that is worth mentioning.
    pub fn observe(&self, shared: Timestamp, asked: Timestamp, answered: Timestamp) -> Option<Duration> {
        // However long the way: what lies further off than that is wrong for certain, and less wrong afterwards.
        let way = answered.since(asked);
        let ahead = shared.0.saturating_sub(asked.plus(way / 2).0);
        let before = self.ahead.load(Ordering::Relaxed);
        let moved = Duration::from_millis(ahead.abs_diff(before));
        // What is as small as the way is not known any better.
        let wrong = moved > way + JITTER;
        if wrong {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        (wrong && moved > NOTABLE).then_some(moved)
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.own.now().0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }
}

const JITTER: Duration = Duration::from_millis(5);
const NOTABLE: Duration = Duration::from_secs(1);

/// A clock that stands still until it is moved, for tests.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that stands at `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_never_goes_negative() {
        let early = Timestamp::from_secs(10);
        let late = early.plus(Duration::from_millis(2500));
        assert_eq!(late.as_secs(), 12);
        assert_eq!(late.since(early), Duration::from_millis(2500));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::from_secs(i64::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_shared_clock_follows_what_is_shared_as_far_as_the_way_lets_it_know() {
        let own = Arc::new(ManualClock::new(Timestamp::from_secs(1000)));
        let clock = SharedClock::new(Arc::<ManualClock>::clone(&own));
        let (asked, answered) = (own.now(), own.now().plus(Duration::from_millis(10)));
        let shared = Timestamp::from_millis(1_060_005);
        assert_eq!(clock.observe(shared, asked, answered), Some(Duration::from_secs(60)));
        assert_eq!(clock.now(), Timestamp::from_secs(1060));
        assert_eq!(clock.observe(shared.plus(Duration::from_millis(8)), asked, answered), None);
        assert_eq!(clock.now(), Timestamp::from_secs(1060), "within what the way leaves open");
        // An answer that took long tells little, but more than a clock that is wrong by more.
        let late = asked.plus(Duration::from_secs(2));
        assert_eq!(clock.observe(Timestamp::from_millis(1_062_900), asked, late), None);
        let beyond = clock.observe(Timestamp::from_secs(1071), asked, late);
        assert_eq!((beyond, clock.now()), (Some(Duration::from_secs(10)), Timestamp::from_secs(1070)));
        assert_eq!(clock.observe(shared, asked, answered), Some(Duration::from_secs(10)));
        own.advance(Duration::from_secs(1));
        assert_eq!(clock.now(), Timestamp::from_secs(1061));
        assert_eq!(clock.own_now(), Timestamp::from_secs(1001));
    }
}

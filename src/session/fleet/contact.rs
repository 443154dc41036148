//! The contact with the store: away since when, back since when, how far heard.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What the last operations say of the store.
#[derive(Debug)]
pub(super) struct Contact {
    spells: Mutex<Spells>,
    /// When the log of denials was last read to its end: milliseconds since `born`, and one; 0 for never. Requests look
    /// at it, so it has no lock.
    followed: AtomicU64,
    born: Instant,
    /// Questions whether the store is back follow each other within this.
    pace: Duration,
    /// Told whenever the store answers again.
    pub(super) came_back: Arc<Notify>,
    /// Told whenever it begins not to.
    pub(super) went_away: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Spells {
    /// Since when no operation succeeded.
    away_since: Option<Instant>,
    /// When the last one failed.
    failed_at: Option<Instant>,
    /// When the last such time was over.
    back_at: Option<Instant>,
}

impl Contact {
    /// With a store whose operations may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            spells: Mutex::default(),
            followed: AtomicU64::new(0),
            born: Instant::now(),
            pace: timeout + MOMENT,
            came_back: Arc::default(),
            went_away: Arc::default(),
        }
    }

    /// An operation succeeded. For how long none had, where this is the first.
    pub(super) fn succeeded(&self) -> Option<Duration> {
        let since = {
            let mut spells = self.spells();
            let since = spells.away_since.take()?;
            spells.back_at = Some(Instant::now());
            since
        };
        self.came_back.notify_one();
        Some(since.elapsed())
    }

    /// An operation failed.
    pub(super) fn failed(&self) -> Failure {
        let now = Instant::now();
        let mut spells = self.spells();
        let before = spells.failed_at.replace(now);
        // While it is away it is asked all the time: who did not ask for long stood still, and knows nothing of then.
        let goes_on = before.is_some_and(|at| now.duration_since(at) < self.pace);
        if spells.away_since.is_some() && goes_on {
            return Failure::Another;
        }
        spells.away_since = Some(now);
        drop(spells);
        self.went_away.notify_one();
        Failure::First
    }

    /// For how long no operation has succeeded; `None` where the last one did.
    pub(super) fn away_for(&self) -> Option<Duration> {
        self.spells().away_since.map(|since| since.elapsed())
    }

    /// For how long the store is back, where it was away.
    pub(super) fn back_for(&self) -> Option<Duration> {
        self.spells().back_at.map(|at| at.elapsed())
    }

    /// The log of denials was read to its end by a look that began at `asked`: an answer may have waited for long in a
    /// process that stood still.
    pub(super) fn has_followed(&self, asked: Instant) {
        let at = millis(asked.duration_since(self.born)).saturating_add(1);
        self.followed.store(at, Ordering::Relaxed);
    }

    /// Whether it was read to its end within the last `time`.
    pub(super) fn followed_within(&self, time: Duration) -> bool {
        let at = self.followed.load(Ordering::Relaxed).checked_sub(1);
        at.is_some_and(|at| millis(self.born.elapsed()).saturating_sub(at) <= millis(time))
    }

    fn spells(&self) -> MutexGuard<'_, Spells> {
        self.spells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a failure is the first after a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    First,
    Another,
}

/// What passes besides between two questions whether the store is back, at most.
const MOMENT: Duration = Duration::from_secs(2);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_a_beginning_a_length_and_an_end() {
        let contact = Contact::new(Duration::from_secs(1));
        assert_eq!((contact.away_for(), contact.back_for(), contact.succeeded()), (None, None, None));
        assert_eq!((contact.failed(), contact.failed()), (Failure::First, Failure::Another));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(contact.away_for(), Some(Duration::from_secs(3)));
        assert_eq!(contact.succeeded(), Some(Duration::from_secs(3)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((contact.away_for(), contact.back_for()), (None, Some(Duration::from_secs(1))));
        assert_eq!(contact.failed(), Failure::First);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asked_is_no_outage() {
        let contact = Contact::new(Duration::from_secs(1));
        assert_eq!(contact.failed(), Failure::First);
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(2)).await;
            assert_eq!(contact.failed(), Failure::Another);
        }
        assert_eq!(contact.away_for(), Some(Duration::from_secs(8)));
        // The process stood still.
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(contact.failed(), Failure::First);
        assert_eq!(contact.away_for(), Some(Duration::ZERO));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((contact.failed(), contact.away_for()), (Failure::Another, Some(Duration::from_secs(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_heard_was_not_heard_of_late() {
        let contact = Contact::new(Duration::from_secs(1));
        assert!(!contact.followed_within(Duration::from_secs(60)));
        let asked = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        contact.has_followed(asked);
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(contact.followed_within(Duration::from_secs(7)));
        assert!(!contact.followed_within(Duration::from_secs(6)));
    }
}

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
    /// Told whenever the store answers again.
    pub(super) came_back: Arc<Notify>,
    /// Told whenever it begins not to.
    pub(super) went_away: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Spells {
    /// Since when no operation succeeded.
    away_since: Option<Instant>,
    /// When the last such time was over.
    back_at: Option<Instant>,
}

impl Contact {
    pub(super) fn new() -> Self {
        Self {
            spells: Mutex::default(),
            followed: AtomicU64::new(0),
            born: Instant::now(),
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
        let mut spells = self.spells();
        if spells.away_since.is_some() {
            return Failure::Another;
        }
        spells.away_since = Some(Instant::now());
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

    /// The log of denials was read to its end just now.
    pub(super) fn has_followed(&self) {
        self.followed.store(millis(self.born.elapsed()).saturating_add(1), Ordering::Relaxed);
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_has_a_beginning_a_length_and_an_end() {
        let contact = Contact::new();
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
    async fn what_was_never_heard_was_not_heard_of_late() {
        let contact = Contact::new();
        assert!(!contact.followed_within(Duration::from_secs(60)));
        contact.has_followed();
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(contact.followed_within(Duration::from_secs(7)));
        assert!(!contact.followed_within(Duration::from_secs(6)));
    }
}

//! How the provider was at its last answers.
//!
//! A recovery must reach everyone at once.
//!
//! Each session backs off on its own after a failure, up to 10 s. With that alone a provider's fault would last up
//! to 10 s longer for some users. So while the provider is unwell, one attempt per second is let through for the
//! whole replica, whichever session asks first; as soon as one succeeds, every session may try again.

use std::time::Duration;

use crate::base::time::Timestamp;

/// The least pause between two attempts of one session, and between two scouts of a replica.
pub const PAUSE: Duration = Duration::from_secs(1);

/// The furthest that a scout is put off: a provider may ask for ten seconds.
const FURTHEST: Duration = Duration::from_secs(10);

/// The provider's last answers to refreshes.
#[derive(Debug, Default)]
pub struct ProviderHealth {
    last_success: Option<Timestamp>,
    next_scout: Option<Timestamp>,
}

impl ProviderHealth {
    /// The provider answered a refresh as it should.
    pub fn succeeded(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        self.next_scout = None;
    }

    /// The provider could not be reached, or was unwell and asked for `wait`.
    pub fn failed(&mut self, now: Timestamp, wait: Duration) {
        let next = now.plus(wait.clamp(PAUSE, FURTHEST));
        self.next_scout = Some(self.next_scout.map_or(next, |planned| planned.max(next)));
    }

    /// Whether a session that failed at `failed_at` may try before its own pause is over. Yes at most once per
    /// [`PAUSE`] while the provider is unwell, and freely once it is well.
    pub fn lets_through(&mut self, failed_at: Timestamp, now: Timestamp) -> bool {
        if now < failed_at.plus(PAUSE) {
            return false;
        }
        if self.last_success.is_some_and(|success| success > failed_at) {
            return true;
        }
        match self.next_scout {
            // A plan further ahead than any was made is from a clock that was set back.
            Some(next) if now < next && next.since(now) <= FURTHEST => false,
            _ => {
                self.next_scout = Some(now.plus(PAUSE));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1000);

    fn at(millis: u64) -> Timestamp {
        START.plus(Duration::from_millis(millis))
    }

    #[test]
    fn one_scout_a_second_while_the_provider_is_unwell() {
        let mut health = ProviderHealth::default();
        health.failed(START, Duration::ZERO);
        assert!(!health.lets_through(START, at(900)));
        assert!(health.lets_through(START, at(1000)));
        assert!(!health.lets_through(START, at(1001)), "another session in the same second");
        assert!(!health.lets_through(START, at(1999)));
        assert!(health.lets_through(START, at(2000)));
    }

    #[test]
    fn a_success_frees_everyone() {
        let mut health = ProviderHealth::default();
        health.failed(START, Duration::ZERO);
        health.succeeded(at(1500));
        for _ in 0..100 {
            assert!(health.lets_through(START, at(1501)));
        }
        assert!(!health.lets_through(at(1400), at(1501)), "but nobody more than once a second");
    }

    #[test]
    fn a_provider_that_asks_for_time_gets_it() {
        let mut health = ProviderHealth::default();
        health.failed(START, Duration::from_secs(5));
        assert!(!health.lets_through(START, at(4999)));
        assert!(health.lets_through(START, at(5000)));
    }
}

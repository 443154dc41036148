//! How often a request may be tried again.
//!
//! Retries mend single faults. When all of an upstream fails they would multiply its load, so that there may only be
//! as many as a share of the requests of the last seconds, and a few.

use std::sync::{Mutex, PoisonError};

use tokio::time::{Duration, Instant};

use crate::edge::settings::Retries;

/// What is left to one upstream. The lock is taken for retries, never for a request that goes well.
#[derive(Debug)]
pub(super) struct Budget {
    settings: Retries,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    /// How many requests there had been then.
    before: usize,
    /// Retries since.
    spent: usize,
}

impl Budget {
    pub(super) fn new(settings: &Retries) -> Self {
        let window = Window { begun: Instant::now(), before: 0, spent: 0 };
        Self { settings: settings.clone(), window: Mutex::new(window) }
    }

    /// The most attempts of one request.
    pub(super) const fn attempts(&self) -> u8 {
        self.settings.attempts
    }

    /// Takes one retry, where one is left. `requests` is how many there have been in all.
    pub(super) fn take(&self, requests: usize) -> Option<()> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begun.elapsed() >= WINDOW {
            *window = Window { begun: Instant::now(), before: requests, spent: 0 };
        }
        let share = requests.wrapping_sub(window.before).saturating_mul(self.settings.percent) / 100;
        if window.spent >= share.saturating_add(self.settings.least) {
            return None;
        }
        window.spent += 1;
        Some(())
    }
}

// Long enough for a share of few requests to be a number, short enough to be over soon after an outage.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn take(budget: &Budget, requests: usize, wanted: usize) -> usize {
        (0..wanted).filter(|_| budget.take(requests).is_some()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_the_requests_and_a_few() {
        let budget = Budget::new(&Retries { attempts: 3, percent: 20, least: 3 });
        assert_eq!(take(&budget, 1, 10), 3);
        assert_eq!(take(&budget, 100, 100), 20);
        assert_eq!(take(&budget, 1_000, 1_000), 180);
        tokio::time::advance(WINDOW).await;
        // What was not spent is not saved up, and what was is forgotten.
        assert_eq!(take(&budget, 5_000, 10), 3);
        assert_eq!(take(&budget, 5_100, 100), 20);
        let none = Budget::new(&Retries { attempts: 3, percent: 0, least: 0 });
        assert_eq!(take(&none, 1_000, 10), 0);
    }
}

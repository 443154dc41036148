//! Pauses between attempts to connect: longer each time, alike on no two replicas.

use std::time::Duration;

use tokio::time::Instant;

use crate::base::secret::random;

/// How long to wait before the next attempt.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause: half of it by the count of failures, half by chance, so that replicas that lost a server at one
    /// moment do not come back at one moment.
    pub(super) fn pause(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(f64::from(u16::from_le_bytes(random())) / f64::from(u16::MAX))
    }

    /// A connection was open since `since`. Where it has held, the next failure is a first one.
    pub(super) fn after(&mut self, since: Instant) {
        if since.elapsed() > HELD {
            self.reset();
        }
    }

    const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A connection that held so long was a good one.
const HELD: Duration = Duration::from_secs(2);

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = std::iter::repeat_with(|| backoff.pause()).take(40).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST, "{pauses:?}");
        assert!(pauses.iter().skip(8).all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST), "{pauses:?}");
        assert!(pauses.iter().skip(8).any(|pause| *pause != pauses[8]), "{pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}

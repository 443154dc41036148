//! How a session's refresh stands, and for how long it pauses after a failure.

use std::time::Duration;

use super::terms::Repeat;
use crate::base::time::Timestamp;

/// How a session's refresh stands on this replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refresh {
    Idle,
    InFlight { failures: u32, repeat: Repeat },
    Failed { pause: Pause, failures: u32, repeat: Repeat, whose: Whose },
    Unknown { pause: Pause },
    Spent,
    Refused { code: String, pause: Pause },
}

/// A time of waiting. Bounded by its own length, so that a clock that is set back does not prolong it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) from: Timestamp,
    pub(super) length: Duration,
}

impl Pause {
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        if now < self.from { Duration::ZERO } else { self.length.saturating_sub(now.since(self.from)) }
    }

    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        self.left(now).is_zero()
    }
}

/// Whose fault a failed attempt was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The store's: without its leave nothing was sent.
    Store,
    /// The provider's: as soon as it is well for anyone, everyone may try again.
    Provider,
    /// This session's own: its pause is kept.
    Session,
}

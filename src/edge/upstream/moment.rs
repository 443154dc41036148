//! Moments that fit into an atomic.

use std::sync::LazyLock;

use tokio::time::{Duration, Instant};

/// Milliseconds on the process's own clock, from 1. Nothing but a comparison is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    /// Before every other.
    pub(super) const NEVER: Self = Self(0);

    pub(super) fn now() -> Self {
        Self(millis(Instant::now().saturating_duration_since(*FIRST)).saturating_add(1))
    }

    pub(super) fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(millis(time)))
    }

    /// How long after `earlier` it is; nothing where it is before.
    pub(super) const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);

//! What is known of an endpoint while it is used, on whichever path.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that all requests to one endpoint share. A reload keeps them.
#[derive(Debug, Default)]
pub(super) struct Standing {
    in_flight: AtomicU64,
}

impl Standing {
    /// Requests under way.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
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
}

//! Why this replica should get no requests at the moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Named conditions that make a replica unready. It is ready while none is set.
#[derive(Debug, Default)]
pub struct Readiness {
    reasons: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// Ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Unready, because of `condition`, until it is cleared. `reason` is for operators; it holds no secret.
    pub fn set(&self, condition: &'static str, reason: impl Into<String>) {
        self.lock().insert(condition, reason.into());
    }

    /// The condition is over.
    pub fn clear(&self, condition: &'static str) {
        self.lock().remove(condition);
    }

    /// The replica is shutting down: it stays unready.
    pub fn set_draining(&self) {
        self.set("draining", "the gateway is shutting down");
    }

    /// Whether requests should come.
    pub fn is_ready(&self) -> bool {
        self.lock().is_empty()
    }

    /// Every condition that is set, and why.
    pub fn reasons(&self) -> BTreeMap<&'static str, String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

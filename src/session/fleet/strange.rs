//! What lies in the store and cannot be read here: counted, and said once.
//!
//! A newer release writes beside this one while a deploy is under way, and is waited for: soon it answers itself. What
//! lasts longer is no deploy, and then nobody is kept waiting: see [`Strange::is_here_to_stay`].

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::session::cookie::seal::OpenError;
use crate::telemetry::metrics::Metrics;

/// What could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A session's record.
    Record,
    /// The sealed cookie in one.
    Successor,
    /// An entry of the log.
    Denial,
    /// A note.
    Note,
}

impl What {
    const fn label(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Successor => "successor",
            Self::Denial => "denial",
            Self::Note => "note",
        }
    }
}

/// What was met of it.
#[derive(Debug)]
pub(super) struct Strange {
    metrics: Metrics,
    /// One bit for everything that was said.
    said: AtomicU32,
    /// Since when something is there that only others can read, and when it was met last.
    foreign: Mutex<Option<(Instant, Instant)>>,
}

impl Strange {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, said: AtomicU32::new(0), foreign: Mutex::default() }
    }

    /// Something could not be read.
    pub(super) fn met(&self, what: What, why: OpenError) {
        self.metrics.store_unreadable(what.label(), why.label());
        let (number, meaning) = match why {
            OpenError::UnknownVersion => (0, "written by a newer release; it is left alone"),
            OpenError::UnknownKey => (1, "sealed with a key that is not in the ring; it is left alone"),
            OpenError::Forged => (2, "damaged, or was not written by this fleet"),
            OpenError::Malformed => (3, "damaged, or was not written by this fleet"),
        };
        if matches!(why, OpenError::UnknownVersion | OpenError::UnknownKey) {
            self.foreign_at(Instant::now());
        }
        let bit = 1 << (what as u32 * 4 + number);
        if self.said.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!(what = what.label(), why = why.label(), "something in the store is {meaning}");
        }
    }

    /// Whether what only others can read has been here for longer than a deploy takes: an older release runs again, or a
    /// key was removed.
    pub(super) fn is_here_to_stay(&self) -> bool {
        let foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        foreign.is_some_and(|(first, _)| first.elapsed() >= DEPLOY)
    }

    fn foreign_at(&self, now: Instant) {
        let mut foreign = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        let first = match *foreign {
            Some((first, last)) if now.duration_since(last) < DEPLOY => first,
            Some(_) | None => now,
        };
        *foreign = Some((first, now));
    }
}

/// How long two releases, or two key rings, are side by side at most.
const DEPLOY: Duration = Duration::from_secs(600);

//! Which generations exist, which a browser has shown to have, since when.
//!
//! A generation is superseded at the moment when the first newer one is acknowledged, not when it is made: until
//! then the browser cannot have anything better.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::time::Timestamp;
use crate::session::model::Generation;

/// How a presented generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Newest, under way, or superseded within the grace.
    Current,
    /// Superseded longer than the grace ago.
    Superseded,
}

/// What is known of a session's generations; part of what the store keeps, so its layout is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generations {
    acknowledged: Generation,
    /// When each acknowledged generation of the last minutes first appeared, ascending.
    appeared: Vec<(Generation, Timestamp)>,
    /// Everything below was superseded longer than the grace ago.
    floor: Generation,
    last_change: Timestamp,
}

impl Generations {
    pub(crate) fn new(acknowledged: Generation) -> Self {
        Self { acknowledged, appeared: Vec::new(), floor: 0, last_change: Timestamp::from_millis(0) }
    }

    pub(crate) fn acknowledged(&self) -> Generation {
        self.acknowledged
    }

    pub(crate) fn last_change(&self) -> Timestamp {
        self.last_change
    }

    /// A cookie of `generation` appears at `now`.
    pub(crate) fn present(&mut self, generation: Generation, now: Timestamp, grace: Duration) -> Standing {
        if generation > self.acknowledged {
            self.acknowledged = generation;
            self.appeared.push((generation, now));
            self.last_change = now;
        }
        self.forget(now, grace);
        self.standing(generation)
    }

    /// Takes over what was seen elsewhere.
    pub(crate) fn merge(&mut self, others: &Self) {
        self.acknowledged = self.acknowledged.max(others.acknowledged);
        self.floor = self.floor.max(others.floor);
        self.last_change = self.last_change.max(others.last_change);
        for seen in &others.appeared {
            // The earliest sight of a generation is what superseded the older ones.
            match self.appeared.iter_mut().find(|(generation, _)| *generation == seen.0) {
                Some((_, at)) => *at = (*at).min(seen.1),
                None => self.appeared.push(*seen),
            }
        }
        self.appeared.retain(|(generation, _)| *generation > self.floor);
        self.appeared.sort_unstable_by_key(|(generation, _)| *generation);
    }

    /// How `generation` stood when a cookie was last presented.
    pub(crate) fn standing(&self, generation: Generation) -> Standing {
        if generation < self.floor { Standing::Superseded } else { Standing::Current }
    }

    /// Moves the floor up to the newest generation whose appearance superseded the older ones long enough ago.
    fn forget(&mut self, now: Timestamp, grace: Duration) {
        let old = self.appeared.iter().take_while(|(_, at)| now.since(*at) >= grace).count();
        if let Some((generation, _)) = self.appeared.drain(..old).next_back() {
            self.floor = self.floor.max(generation);
        }
    }
}

//! How much of a request's body is taken, and how fast it must come.
//!
//! A body passes through as it comes and is held by nobody, so its size costs an upstream and not us. A slow one costs a
//! seat: between two pieces a client may be silent for as long as between two requests, and over all of them it must
//! keep up a rate, or it could send a byte in time for ever.

use std::time::{Duration, Instant};

use crate::gate::denial::Denial;

/// What is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Bytes in all; `None` for any number.
    pub(super) most: Option<u64>,
    /// Bytes per second, over whatever is longer than `patience`; 0 for any.
    pub(super) rate: u64,
    pub(super) patience: Duration,
}

impl Rules {
    /// Whether a body that says how long it is may come at all.
    pub(super) fn allow(&self, length: u64) -> bool {
        self.most.is_none_or(|most| length <= most)
    }
}

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Intake {
    bytes: u64,
    since: Option<Instant>,
}

impl Intake {
    /// Begins, when the head is sent on. Until then a client may have been waiting for us.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self { bytes: 0, since: Some(now) };
    }

    /// Counts a piece.
    ///
    /// # Errors
    /// Where it is too much, or comes too late.
    pub(super) fn take(&mut self, piece: usize, now: Instant, rules: &Rules) -> Result<(), Denial> {
        // The cast widens: a `usize` has 64 bits at most.
        self.bytes = self.bytes.saturating_add(piece as u64);
        if !rules.allow(self.bytes) {
            return Err(Denial::BodyTooLarge);
        }
        let since = *self.since.get_or_insert(now);
        let earned = self.bytes.saturating_mul(1_000).checked_div(rules.rate).map(Duration::from_millis);
        match earned {
            Some(earned) if now.duration_since(since) > rules.patience + earned => Err(Denial::BodyTimeout),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { most: Some(100), rate: 10, patience: Duration::from_secs(5) };

    #[track_caller]
    fn check(rules: &Rules, pieces: &[(u64, usize)], expected: Result<(), Denial>) {
        let (start, mut intake) = (Instant::now(), Intake::default());
        intake.begin(start);
        let mut took = Ok(());
        for (second, piece) in pieces {
            assert_eq!(took, Ok(()), "{pieces:?}");
            took = intake.take(*piece, start + Duration::from_secs(*second), rules);
        }
        assert_eq!(took, expected, "{pieces:?}");
    }

    // std:183
    #[test]
    fn a_body_is_cut_where_it_is_too_large() {
        check(&RULES, &[(0, 60), (0, 40)], Ok(()));
        check(&RULES, &[(0, 60), (0, 41)], Err(Denial::BodyTooLarge));
        check(&RULES, &[(0, usize::MAX)], Err(Denial::BodyTooLarge));
        check(&Rules { most: None, ..RULES }, &[(0, usize::MAX), (0, usize::MAX)], Ok(()));
        assert!(RULES.allow(100) && !RULES.allow(101) && Rules { most: None, ..RULES }.allow(u64::MAX));
    }

    // std:186
    #[test]
    fn a_body_keeps_up_a_rate_over_what_is_longer_than_one_silence() {
        check(&RULES, &[(5, 1)], Ok(()));
        check(&RULES, &[(6, 1)], Err(Denial::BodyTimeout));
        check(&RULES, &[(1, 40), (9, 1)], Ok(()));
        check(&RULES, &[(1, 40), (10, 1)], Err(Denial::BodyTimeout));
        check(&RULES, &[(1, 5), (5, 4)], Ok(()));
        check(&Rules { rate: 2, ..RULES }, &[(1, 2), (6, 1)], Ok(()));
        check(&Rules { most: None, rate: 1, ..RULES }, &[(1, usize::MAX), (9, 1)], Ok(()));
        check(&Rules { rate: 0, ..RULES }, &[(1, 1), (1_000, 1)], Ok(()));
    }
}

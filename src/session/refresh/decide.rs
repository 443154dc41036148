//! What the age of tokens asks for: nothing, a refresh beside, or a wait.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::session::model::Session;

/// The least time before expiry at which a refresh begins.
const LEAST_WINDOW: Duration = Duration::from_secs(30);

/// What the tokens' age asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The access token is good for long.
    Fresh,
    /// It is still good, and a refresh should begin (std:64).
    Due,
    /// It must not be forwarded any more.
    Expired,
}

/// Judges the access token of `session` at `now`.
pub fn freshness(session: &Session, now: Timestamp) -> Freshness {
    let expires_at = session.tokens.access_expires_at;
    if now >= expires_at {
        Freshness::Expired
    } else if now >= expires_at.minus(window(session)) {
        Freshness::Due
    } else {
        Freshness::Fresh
    }
}

/// The refresh window: the last max(20 % of the token's life, 30 s), never more than half its life, less a jitter
/// of up to a fifth so that sessions of one moment do not refresh in one moment.
pub fn window(session: &Session) -> Duration {
    let life = session.access_life();
    let full = (life / 5).max(LEAST_WINDOW).min(life / 2);
    full - full / 5 * jitter(session) / 256
}

/// 0 to 255, the same for one generation of one session, so that all its requests agree.
fn jitter(session: &Session) -> u32 {
    let [first, .., last] = session.sid.as_bytes();
    let [low, ..] = session.generation.to_le_bytes();
    u32::from(first ^ last.wrapping_add(low.wrapping_mul(151)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::refresh::record::tests::{START, session_living};

    #[test]
    fn the_window_is_a_fifth_at_least_30_s_at_most_half() {
        // (life, least and most seconds before expiry at which a refresh begins)
        for (life, least, most) in [(3600, 576, 720), (300, 48, 60), (100, 24, 30), (10, 4, 5), (2, 0, 1)] {
            for generation in 0..256 {
                let session = session_living(generation, Duration::from_secs(life));
                let window = window(&session);
                assert!(window >= Duration::from_secs(least), "life {life}: {window:?}");
                assert!(window <= Duration::from_secs(most), "life {life}: {window:?}");
            }
        }
    }

    #[test]
    fn tokens_age_from_fresh_over_due_to_expired() {
        let session = session_living(1, Duration::from_secs(100));
        let at = |secs| freshness(&session, START.plus(Duration::from_secs(secs)));
        assert_eq!(at(0), Freshness::Fresh);
        assert_eq!(at(69), Freshness::Fresh);
        assert_eq!(at(77), Freshness::Due);
        assert_eq!(at(99), Freshness::Due);
        assert_eq!(at(100), Freshness::Expired);
        assert_eq!(at(1000), Freshness::Expired);
    }

    #[test]
    fn jitter_spreads_the_sessions_of_one_moment() {
        let windows: std::collections::HashSet<_> = (0..100)
            .map(|generation| window(&session_living(generation, Duration::from_secs(3600))))
            .collect();
        assert!(windows.len() > 50);
    }
}

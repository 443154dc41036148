//! What is known of one session, and what follows from each event.
//!
//! Pure: `now` comes in, decisions go out.
//!
//! A session is **live** or **ended**; ended is final. A live one knows G, the newest generation made, and A, the
//! newest one that a browser has shown to have. Its refresh is **idle**, **in flight**, **failed** (pausing),
//! **unknown** (sent, never answered; one more attempt is left), **spent** (unknown twice) or **refused** (the
//! provider wants a login).

use std::sync::Arc;
use std::time::Duration;

use super::decide::{Freshness, freshness};
use crate::base::time::Timestamp;
use crate::session::model::{Generation, Session};
use crate::session::mutation::{self, Mutation};
use crate::session::settings::{AfterUnknown, Rollback};

pub(crate) mod generations;
mod pause;
mod terms;

use generations::{Generations, Standing};
use pause::{Pause, Refresh, Whose};
pub(crate) use terms::Lesson;
use terms::left_over;
pub use terms::{Admission, Aftermath, Ask, Attempt, EndCause, Outcome, Policy, Refused, Repeat};

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The pause before a refresh token is sent a second time because the first time was never answered.
pub(crate) const PAUSE_AFTER_UNKNOWN: Duration = Duration::from_secs(2);

/// How long a provider's wish for a login is believed before it is asked again.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A refresh on demand is not made again within this time of the last one.
const COOL_DOWN: Duration = Duration::from_secs(5);

/// What is known of one session.
#[derive(Debug)]
pub struct Record {
    state: State,
}

#[derive(Debug)]
enum State {
    Live(Box<Live>),
    Ended {
        cause: EndCause,
        /// When the cookies are past their own lifetime, so that nothing needs remembering.
        until: Timestamp,
        /// The token that a flight was spending when the session was ended.
        in_flight: Option<Arc<Session>>,
    },
}

#[derive(Debug)]
struct Live {
    newest: Arc<Session>,
    generations: Generations,
    /// The next generation, kept before its ID token is looked at (rule 3).
    kept: Option<Arc<Session>>,
    refresh: Refresh,
    last_seen: Timestamp,
}

impl Record {
    /// A session that was made by a login, or whose authentic cookie is the first thing known of it.
    pub fn adopt(session: Arc<Session>) -> Self {
        let live = Live {
            generations: Generations::new(session.generation),
            last_seen: session.seen_at,
            newest: session,
            kept: None,
            refresh: Refresh::Idle,
        };
        Self { state: State::Live(Box::new(live)) }
    }

    /// The newest generation known, if the session lives.
    pub fn newest(&self) -> Option<&Arc<Session>> {
        match &self.state {
            State::Live(live) => Some(&live.newest),
            State::Ended { .. } => None,
        }
    }

    /// Whether an authentic cookie of `generation` tells more than is known: it must be [raised](Self::raise).
    pub fn lacks(&self, generation: Generation) -> bool {
        self.newest().is_some_and(|newest| newest.generation < generation)
    }

    /// Takes over a generation that was made elsewhere.
    pub fn raise(&mut self, session: Arc<Session>) {
        if let State::Live(live) = &mut self.state
            && live.newest.generation < session.generation
        {
            live.kept = None;
            live.refresh = match &live.refresh {
                Refresh::InFlight { .. } => live.refresh.clone(),
                Refresh::Idle
                | Refresh::Failed { .. }
                | Refresh::Unknown { .. }
                | Refresh::Spent
                | Refresh::Refused { .. } => Refresh::Idle,
            };
            live.last_seen = live.last_seen.max(session.seen_at);
            live.newest = session;
        }
    }

    /// An authentic cookie of `generation`, last sealed at `seen_at`, is presented.
    ///
    /// `lets_through` is asked only where a pause after a failure is not over; see
    /// [`ProviderHealth`](super::health::ProviderHealth).
    pub fn present(
        &mut self,
        cookie: (Generation, Timestamp),
        ask: Ask,
        now: Timestamp,
        policy: &Policy,
        lets_through: impl FnOnce(Timestamp) -> bool,
    ) -> (Admission, Aftermath) {
        let live = match &mut self.state {
            State::Live(live) => live,
            State::Ended { cause, .. } => {
                return (Admission::Refuse(Refused::Ended(*cause)), Aftermath::default());
            }
        };
        let (generation, seen_at) = cookie;
        if let Some(cause) = live.ended_by_time(seen_at, now, policy) {
            return self.refuse_and_end(cause, policy);
        }
        let before = live.generations.acknowledged();
        match live.generations.present(generation, now, policy.grace) {
            Standing::Current => {}
            Standing::Superseded => match policy.rollback {
                Rollback::End => return self.refuse_and_end(EndCause::Rollback, policy),
                Rollback::Reject => {
                    return (Admission::Refuse(Refused::RolledBack), Aftermath::default());
                }
            },
        }
        live.last_seen = live.last_seen.max(now);
        let acknowledged = (generation > before).then(|| (generation, Arc::clone(&live.newest)));
        (live.admit(ask, now, lets_through), Aftermath { acknowledged, ..Aftermath::default() })
    }

    fn refuse_and_end(&mut self, cause: EndCause, policy: &Policy) -> (Admission, Aftermath) {
        let aftermath = self.end(cause, policy);
        (Admission::Refuse(Refused::Ended(cause)), aftermath)
    }

    /// Whether a cookie that was last sealed at `seen_at` is past its session's time, as far as is known here.
    pub(crate) fn is_past_its_time(
        &self,
        seen_at: Timestamp,
        now: Timestamp,
        policy: &Policy,
    ) -> Option<EndCause> {
        match &self.state {
            State::Live(live) => live.ended_by_time(seen_at, now, policy),
            State::Ended { .. } => None,
        }
    }

    /// The attempt under way repeats one of another replica: no further one follows from it.
    pub(crate) fn repeats(&mut self) {
        if let State::Live(live) = &mut self.state
            && let Refresh::InFlight { repeat, .. } = &mut live.refresh
        {
            *repeat = Repeat::AfterUnknown;
        }
    }

    /// The provider rotated the refresh token: keeps the next generation before anyone looks at its ID token.
    pub fn keep(&mut self, next: Arc<Session>) {
        if let State::Live(live) = &mut self.state
            && live.newest.generation < next.generation
        {
            live.kept = Some(next);
        }
    }

    /// The attempt that began at generation `from` is over.
    pub fn settle(
        &mut self,
        from: Generation,
        outcome: Outcome,
        now: Timestamp,
        policy: &Policy,
    ) -> Aftermath {
        let live = match &mut self.state {
            State::Live(live) => live,
            State::Ended { .. } if mutation::is(Mutation::FlightUndoesEnd) => {
                if let Outcome::Rotated(next) = outcome {
                    *self = Self::adopt(next);
                }
                return Aftermath::default();
            }
            // Its grant may be the new session's too.
            State::Ended { cause: EndCause::Replaced, .. } => return Aftermath::default(),
            State::Ended { in_flight, .. } => {
                return Aftermath { revoke: left_over(in_flight.take(), outcome), ..Aftermath::default() };
            }
        };
        let kept = live.kept.take();
        if let Outcome::Elsewhere(lesson) = outcome {
            live.refresh = Refresh::Idle;
            live.learn(lesson);
            return Aftermath::default();
        }
        if live.newest.generation != from {
            // A newer generation came from elsewhere meanwhile; what this attempt brought is not the newest.
            live.refresh = Refresh::Idle;
            return Aftermath::default();
        }
        match outcome {
            Outcome::Rotated(next) if now < next.tokens.access_expires_at => {
                live.newest = next;
                live.refresh = Refresh::Idle;
            }
            // An access token that arrives expired (clocks that differ) must not make one attempt chase another.
            Outcome::Rotated(next) | Outcome::RotatedOnly(next) => {
                live.newest = next;
                live.failed(None, Whose::Session, now);
            }
            Outcome::InvalidGrant => {
                live.refresh = Refresh::Idle;
                return self.end(EndCause::InvalidGrant, policy);
            }
            Outcome::IdTokenRejected => {
                live.refresh = Refresh::Idle;
                if let Some(kept) = kept {
                    live.newest = kept;
                }
                return self.end(EndCause::IdTokenMismatch, policy);
            }
            Outcome::LoginRequired(code) => {
                let pause = Pause { from: now, length: PAUSE_AFTER_REFUSAL };
                live.refresh = Refresh::Refused { code, pause };
            }
            Outcome::EndedElsewhere(cause) => {
                live.refresh = Refresh::Idle;
                // It was counted and told where it was ended.
                drop(self.end(cause, policy));
            }
            Outcome::Elsewhere(_) => {}
            Outcome::Deferred => live.failed(None, Whose::Store, now),
            Outcome::Spent => live.refresh = Refresh::Spent,
            Outcome::Failed { wait } => live.failed(wait, Whose::Provider, now),
            Outcome::Unknown => live.unanswered(kept, now, policy),
        }
        Aftermath::default()
    }

    /// Another replica made a newer generation, or has seen more of them.
    pub(crate) fn learn(&mut self, lesson: Lesson) {
        if let State::Live(live) = &mut self.state {
            live.learn(lesson);
        }
    }

    /// What the store is to know of the session, where it was away: the newest generation and what was seen of it.
    pub(crate) fn lesson(&self) -> Option<Lesson> {
        match &self.state {
            State::Live(live) => {
                Some(Lesson { newest: Some(Arc::clone(&live.newest)), generations: live.generations.clone() })
            }
            State::Ended { .. } => None,
        }
    }

    /// Whether a refresh is under way here.
    pub(crate) fn is_flying(&self) -> bool {
        matches!(&self.state, State::Live(live) if live.is_flying())
    }

    /// Ends the session. The first cause stays; ending twice changes nothing.
    pub fn end(&mut self, cause: EndCause, policy: &Policy) -> Aftermath {
        let State::Live(live) = &mut self.state else {
            return Aftermath::default();
        };
        let newest = live.kept.take().unwrap_or_else(|| Arc::clone(&live.newest));
        let flying = matches!(live.refresh, Refresh::InFlight { .. });
        let until = live.last_expiry(policy);
        let revocable = cause.is_revocable();
        let session = Some(Arc::clone(&newest));
        let (revoke, in_flight) = match (revocable, flying) {
            (false, _) => (None, None),
            (true, true) => (None, Some(newest)),
            (true, false) => (Some(newest), None),
        };
        self.state = State::Ended { cause, until, in_flight };
        Aftermath { ended: Some(cause), session, revoke, acknowledged: None }
    }

    /// The generation whose cookie a response must carry, if the browser has shown only `presented` (rule 4).
    ///
    /// An ended session never sets its cookie again (rule 5). A session whose cookie was sealed long ago gets it
    /// sealed anew, so that the idle limit holds across restarts.
    pub fn cookie_due(
        &mut self,
        presented: Generation,
        now: Timestamp,
        policy: &Policy,
    ) -> Option<Arc<Session>> {
        let State::Live(live) = &mut self.state else {
            return None;
        };
        if live.generations.standing(presented) == Standing::Superseded {
            // Whoever brings back an old copy is not handed the newest one.
            return None;
        }
        if live.newest.generation > presented {
            return Some(Arc::clone(&live.newest));
        }
        let stale = now.since(live.newest.seen_at) >= policy.idle_timeout / 4;
        if live.newest.generation < presented || !stale {
            return None;
        }
        live.newest = Arc::new(live.newest.seen(now));
        Some(Arc::clone(&live.newest))
    }

    /// Whether nothing would be lost if this were forgotten: its cookies are void by themselves.
    pub fn is_over(&self, now: Timestamp, policy: &Policy) -> bool {
        match &self.state {
            State::Live(live) => {
                let idle = now.since(live.last_seen) >= policy.idle_timeout;
                !live.is_flying() && (idle || now >= live.last_expiry(policy))
            }
            State::Ended { until, in_flight, .. } => in_flight.is_none() && now >= *until,
        }
    }

    /// Whether this may be forgotten to make room: every browser has the newest generation, and nothing is under
    /// way. An unacknowledged successor is never forgotten (rule 3).
    pub fn is_evictable(&self, now: Timestamp, policy: &Policy) -> bool {
        match &self.state {
            State::Live(live) => {
                // What an unanswered refresh left behind is remembered: the token may be spent (rule 1).
                matches!(live.refresh, Refresh::Idle | Refresh::Failed { repeat: Repeat::First, .. })
                    && live.newest.generation == live.generations.acknowledged()
                    && now.since(live.generations.last_change()) > policy.grace
            }
            State::Ended { .. } => false,
        }
    }

    /// When the session was last used.
    pub fn last_seen(&self) -> Timestamp {
        match &self.state {
            State::Live(live) => live.last_seen,
            State::Ended { until, .. } => *until,
        }
    }
}

impl Live {
    fn learn(&mut self, lesson: Lesson) {
        let seen_at = lesson.newest.as_ref().map_or(self.last_seen, |newest| newest.seen_at);
        self.last_seen = self.last_seen.max(seen_at);
        if let Some(newest) = lesson.newest.filter(|newest| {
            newest.generation > self.newest.generation || mutation::is(Mutation::LearnsBackwards)
        }) {
            // What is known of older tokens does not matter any more; a flight that spends one reports by itself.
            if !self.is_flying() {
                self.refresh = Refresh::Idle;
            }
            self.kept = None;
            self.newest = newest;
        }
        self.generations.merge(&lesson.generations);
    }

    /// When the last cookie of any generation is past its own lifetime.
    fn last_expiry(&self, policy: &Policy) -> Timestamp {
        self.newest.expires_at.max(self.newest.login_at.plus(policy.lifetime))
    }

    fn is_flying(&self) -> bool {
        matches!(self.refresh, Refresh::InFlight { .. })
    }

    fn ended_by_time(&self, seen_at: Timestamp, now: Timestamp, policy: &Policy) -> Option<EndCause> {
        let last_seen = self.last_seen.max(seen_at);
        if now >= self.newest.expires_at {
            Some(EndCause::Lifetime)
        } else if now.since(last_seen) >= policy.idle_timeout {
            Some(EndCause::Idle)
        } else {
            None
        }
    }

    fn admit(&mut self, ask: Ask, now: Timestamp, lets_through: impl FnOnce(Timestamp) -> bool) -> Admission {
        let age = freshness(&self.newest, now);
        let wanted = match (age, ask) {
            (Freshness::Fresh, Ask::RefreshNow) => now.since(self.newest.refreshed_at) >= COOL_DOWN,
            (Freshness::Fresh, Ask::Usual | Ask::NoRefresh | Ask::OnlyIfExpired) => false,
            (Freshness::Due, Ask::OnlyIfExpired) => false,
            (Freshness::Due | Freshness::Expired, _) => true,
        };
        let attempt = if wanted { self.attempt(ask, now, lets_through) } else { Err(None) };
        match (age, attempt) {
            (Freshness::Fresh | Freshness::Due, Ok(attempt)) if ask == Ask::RefreshNow => {
                Admission::Wait(attempt)
            }
            (Freshness::Fresh | Freshness::Due, Ok(attempt)) => {
                Admission::Serve(Arc::clone(&self.newest), attempt)
            }
            (Freshness::Fresh | Freshness::Due, Err(_)) => Admission::Serve(Arc::clone(&self.newest), None),
            (Freshness::Expired, Ok(attempt)) => Admission::Wait(attempt),
            (Freshness::Expired, Err(refused)) => {
                Admission::Refuse(refused.unwrap_or(Refused::Unavailable(LONGEST_PAUSE)))
            }
        }
    }

    /// The right to refresh: `Ok(Some)` to start, `Ok(None)` if one is under way, `Err` if none may be made now.
    fn attempt(
        &mut self,
        ask: Ask,
        now: Timestamp,
        lets_through: impl FnOnce(Timestamp) -> bool,
    ) -> Result<Option<Attempt>, Option<Refused>> {
        if self.newest.tokens.refresh.is_none() {
            return Err(Some(Refused::NoRefreshToken));
        }
        let (failures, repeat) = match &self.refresh {
            Refresh::Idle => (0, Repeat::First),
            Refresh::InFlight { .. } if !mutation::is(Mutation::FlightForEachRequest) => return Ok(None),
            Refresh::InFlight { failures, repeat } => (*failures, *repeat),
            Refresh::Spent => return Err(Some(Refused::RefreshUnknown)),
            Refresh::Refused { code, pause } if !pause.is_over(now) => {
                return Err(Some(Refused::LoginRequired(code.clone())));
            }
            Refresh::Refused { .. } => (0, Repeat::First),
            Refresh::Unknown { pause } if !pause.is_over(now) => {
                return Err(Some(Refused::Unavailable(pause.left(now))));
            }
            Refresh::Unknown { .. } => (0, Repeat::AfterUnknown),
            Refresh::Failed { pause, failures, repeat, whose } => {
                let scouts = *whose == Whose::Provider && ask != Ask::NoRefresh;
                let may_try = pause.is_over(now) || (scouts && lets_through(pause.from));
                if !may_try {
                    let left = pause.left(now);
                    return Err(Some(match whose {
                        Whose::Store => Refused::StoreUnavailable(left),
                        Whose::Provider | Whose::Session => Refused::Unavailable(left),
                    }));
                }
                (*failures, *repeat)
            }
        };
        if ask == Ask::NoRefresh && !mutation::is(Mutation::RefreshForAnybody) {
            return Err(Some(Refused::RefreshNotAllowed));
        }
        self.refresh = Refresh::InFlight { failures, repeat };
        Ok(Some(Attempt { from: Arc::clone(&self.newest), repeat }))
    }

    fn failed(&mut self, wait: Option<Duration>, whose: Whose, now: Timestamp) {
        let (failures, repeat) = match self.refresh {
            Refresh::InFlight { failures, repeat } => (failures, repeat),
            Refresh::Idle
            | Refresh::Failed { .. }
            | Refresh::Unknown { .. }
            | Refresh::Spent
            | Refresh::Refused { .. } => (0, Repeat::First),
        };
        let length =
            Duration::from_secs(1 << failures.min(4)).max(wait.unwrap_or_default()).min(LONGEST_PAUSE);
        let pause = Pause { from: now, length };
        self.refresh = Refresh::Failed { pause, failures: failures.saturating_add(1), repeat, whose };
    }

    fn unanswered(&mut self, kept: Option<Arc<Session>>, now: Timestamp, policy: &Policy) {
        if let Some(kept) = kept {
            // The answer had come and was kept; only what followed was lost.
            self.newest = kept;
            self.refresh = Refresh::Idle;
            return;
        }
        let repeated = matches!(self.refresh, Refresh::InFlight { repeat: Repeat::AfterUnknown, .. });
        self.refresh = match policy.after_unknown {
            AfterUnknown::RetryOnce if !repeated => {
                Refresh::Unknown { pause: Pause { from: now, length: PAUSE_AFTER_UNKNOWN } }
            }
            AfterUnknown::RetryOnce | AfterUnknown::Login => Refresh::Spent,
        };
    }
}

#[cfg(test)]
pub(crate) mod tests;

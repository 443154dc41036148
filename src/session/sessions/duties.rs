//! What a replica does for the fleet beside its requests.
//!
//! Looks up what others know of a session, takes over what they made, tells them what was shown here, and ends
//! sessions for all.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::HeaderValue;

use super::Shared;
use crate::base::time::Timestamp;
use crate::session::codec::{self, Unreadable};
use crate::session::cookie::seal::{KeyRefused, OpenError, Purpose, Sealer};
use crate::session::denied::Denial;
use crate::session::fleet::follow::until_done;
use crate::session::fleet::{Fleet, Means, Terms, What};
use crate::session::model::{Generation, Session, SessionId};
use crate::session::refresh::lease;
use crate::session::refresh::record::{Aftermath, Ask, EndCause, Lesson, Outcome, Refused};
use crate::session::refresh::stored::Stored;
use crate::session::registry::Answer;
use crate::session::settings::Settings;
use crate::session::ticket::Presented;
use crate::store::StoreError;
use crate::telemetry::metrics::{Metrics, RefreshOutcome};

impl Shared {
    /// Takes over what the store knows of a session, beside whatever goes on.
    pub(crate) fn look_up(self: &Arc<Self>, sid: SessionId) {
        let Some(fleet) = self.fleet.clone() else { return };
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let found = fleet.look_up(sid).await;
            let stores = found.as_ref().ok().and_then(Option::as_ref).map_or(1, |stored| stored.newest);
            if shared.registry.is_ahead_of(&sid, stores) {
                // A browser brought what its maker could not tell the store.
                shared.fall_behind(&sid);
            }
            let Ok(Some(stored)) = found else { return };
            if let Some(cause) = stored.ended() {
                shared.deny(&Denial::Session { sid, cause: cause.into() });
            } else if fleet.judged_in(&stored).is_some() {
                // Whoever made it tells when it is done; a flight of ours would wait.
                shared.registry.learn(&sid, Lesson { newest: None, generations: stored.generations });
            } else if let Outcome::Elsewhere(lesson) = lease::taken_over(&shared, &sid, &stored) {
                shared.registry.learn(&sid, lesson);
            }
        });
    }

    /// A session is past its time by what this replica and the cookie know. Where there is a store, somebody else may
    /// know better: this is asked before anybody is logged out for it. `Err` is what the request gets.
    pub(super) async fn second_opinion(
        self: &Arc<Self>,
        (presented, seen_at): (Presented, Timestamp),
        ask: Ask,
        cause: EndCause,
    ) -> Result<Answer, Refused> {
        let over = Refused::Ended(cause);
        let Some(fleet) = self.fleet.clone() else { return Err(over) };
        let sid = presented.sid;
        let stored = match lease::once_judged(&fleet, sid, self.settings.refresh_wait).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Err(over),
            Err(StoreError::Unreadable) => return Err(unread(&fleet)),
            Err(_) => return Err(Refused::StoreUnavailable(Duration::from_secs(1))),
        };
        if stored.is_damaged() {
            // It was in use, and nobody knows when.
            return Err(Refused::RefreshUnknown);
        }
        if let Some(cause) = stored.ended() {
            self.deny(&Denial::Session { sid, cause: cause.into() });
            return Err(Refused::Ended(cause));
        }
        let Some((newest, cookies)) = self.open_successor(&stored) else {
            return Err(if stored.successor.is_some() { unread(&fleet) } else { over });
        };
        let cookie = (presented, seen_at.max(newest.seen_at));
        let generation = newest.generation;
        match self.registry.present(cookie, Some(newest), ask, self.clock.now()) {
            Answer::PastItsTime(cause) => Err(Refused::Ended(cause)),
            answer @ (Answer::Unknown | Answer::Known { .. }) => {
                self.registry.carry(&sid, generation, cookies);
                self.registry.learn(&sid, Lesson { newest: None, generations: stored.generations });
                Ok(answer)
            }
        }
    }

    /// Sessions were ended: by another replica, which told and revoked, or by an operator, and then every replica
    /// revokes what it knows. Returns how many were known here and lived.
    pub(crate) fn deny(self: &Arc<Self>, denial: &Denial) -> usize {
        let ended = self.registry.deny(denial, self.clock.now());
        let lived = ended.iter().filter(|aftermath| aftermath.ended.is_some()).count();
        if denial.cause() == EndCause::Operator {
            ended.into_iter().for_each(|aftermath| self.follow_up(aftermath));
        }
        lived
    }

    /// Breaks rule 3, for the simulation.
    #[cfg(test)]
    pub(crate) async fn use_before_it_is_kept(&self, next: &Arc<Session>) {
        let generations = Stored::new(next.sid, next.generation - 1).generations;
        self.registry.learn(&next.sid, Lesson { newest: Some(Arc::clone(next)), generations });
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    #[cfg(test)]
    pub(crate) fn metrics_text(&self) -> String {
        self.metrics.encode()
    }

    #[cfg(test)]
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether this process is coming to rest.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether what others wrote and this replica cannot read is waited for no more.
    pub(crate) fn gives_up_reading(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.gives_up_reading())
    }

    /// Counts what happens besides an outcome.
    pub(crate) fn count(&self, outcome: RefreshOutcome) {
        self.metrics.refresh(outcome);
    }

    /// Starts work that goes on until it succeeds; shutdown does not wait for it.
    pub(crate) fn keep_trying(&self, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_endless(work));
    }

    /// Revokes a refresh token that nobody will use.
    pub(crate) fn revoke_soon(self: &Arc<Self>, session: Arc<Session>) {
        self.follow_up(Aftermath { revoke: Some(session), ..Aftermath::default() });
    }

    /// The store does not know something of a session: it is brought as soon as may be.
    pub(crate) fn fall_behind(&self, sid: &SessionId) {
        self.registry.fall_behind(sid);
        if let Some(fleet) = &self.fleet {
            fleet.bring_soon();
        }
    }

    /// What the store does not know of this replica's sessions, in one order.
    pub(crate) fn behind(&self) -> Vec<Stored> {
        let lessons = self.registry.behind();
        let stored = lessons.into_iter().filter_map(|lesson| {
            let newest = lesson.newest?;
            let mut stored = Stored::new(newest.sid, newest.generation);
            stored.successor = self.seal_for_all(&newest).map(|(sealed, _)| sealed);
            stored.generations = lesson.generations;
            Some(stored)
        });
        let mut stored: Vec<_> = stored.collect();
        stored.sort_unstable_by_key(|stored| stored.sid);
        stored
    }

    /// The sealed value of a generation, and the cookies that carry it: the same for every replica.
    pub(crate) fn seal_for_all(&self, session: &Session) -> Option<(String, Arc<[HeaderValue]>)> {
        self.sealed(session, self.clock.now()).ok()
    }

    /// Opens the generation that another replica made.
    pub(crate) fn open_successor(&self, stored: &Stored) -> Option<(Arc<Session>, Arc<[HeaderValue]>)> {
        let sealed = stored.successor.as_ref()?;
        let mut plain = Vec::new();
        let session = self.sealer.open(sealed.as_bytes(), &mut plain).and_then(|bytes| {
            codec::session(bytes).map_err(|error| match error {
                Unreadable::UnknownVersion => OpenError::UnknownVersion,
                Unreadable::Malformed => OpenError::Malformed,
            })
        });
        plain.fill(0);
        match session {
            Ok(session) if session.sid == stored.sid && session.generation == stored.newest => {
                let cookies = self.cookies_of(sealed, &session, self.clock.now()).ok()?;
                Some((Arc::new(session), cookies))
            }
            Ok(_) => None,
            Err(why) => {
                if let Some(fleet) = &self.fleet {
                    fleet.met_strange(What::Successor, why);
                }
                None
            }
        }
    }

    /// Notes that a browser has shown a generation, beside whatever goes on.
    pub(crate) fn acknowledge(self: &Arc<Self>, (generation, newest): (Generation, Arc<Session>)) {
        let Some(fleet) = self.fleet.clone() else { return };
        let shared = Arc::clone(self);
        self.tasks.spawn(async move {
            let current = newest.generation == generation;
            let sealed = if current { shared.seal_for_all(&newest) } else { None };
            let sealed = sealed.as_ref().map(|(sealed, _)| sealed.as_str());
            if fleet.acknowledge(newest.sid, generation, sealed).await.is_err() {
                shared.fall_behind(&newest.sid);
            }
        });
    }

    /// Ends a session for the fleet, however long it takes to reach the store. Returns what was known of it, where it
    /// was reached at once.
    pub(crate) async fn end_for_all(
        self: &Arc<Self>,
        session: &Session,
        cause: EndCause,
    ) -> Option<Box<Stored>> {
        let fleet = self.fleet.as_ref()?;
        match fleet.end(session.sid, cause).await {
            Ok(stored) => stored,
            Err(_) => {
                let (fleet, sid) = (Arc::clone(fleet), session.sid);
                self.keep_trying(async move { until_done(KEEP_TRYING, || fleet.end(sid, cause)).await });
                None
            }
        }
    }
}

/// This replica's place in the fleet, where there is a store.
pub(super) fn fleet(
    means: Option<Means>,
    settings: &Settings,
    provider_timeout: Duration,
    metrics: &Metrics,
) -> Result<Option<Arc<Fleet>>, KeyRefused> {
    let Some(means) = means else { return Ok(None) };
    let sealer = Sealer::new(&settings.keys, Purpose::Store, "record")?;
    let terms = Terms {
        lease: lease_term(provider_timeout),
        keep_for: settings.lifetime + settings.grace,
        grace: settings.grace,
        after_unknown: settings.after_unknown,
    };
    Ok(Some(Arc::new(Fleet::new(means, sealer, terms, metrics.clone()))))
}

/// What a request gets whose session is known to those who can read it, and past its time for this replica. A login
/// may follow, and nothing is deleted.
fn unread(fleet: &Fleet) -> Refused {
    if fleet.gives_up_reading() {
        Refused::RefreshUnknown
    } else {
        Refused::StoreUnavailable(Duration::from_secs(1))
    }
}

/// A lease outlives every answer that may still come when its holder cannot prolong it any more: it is prolonged
/// every third of its term.
fn lease_term(provider_timeout: Duration) -> Duration {
    provider_timeout * 3 / 2 + Duration::from_secs(2)
}

/// Between two attempts at what must not get lost.
const KEEP_TRYING: Duration = Duration::from_secs(1);

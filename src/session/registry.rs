//! What this replica remembers of sessions.
//!
//! A bounded map of records, in shards so that no lock is shared by all.
//!
//! Locks are held for the length of one decision and never across an await. A record with an unacknowledged
//! successor is never dropped to make room (rule 3); where only such records are left, the map grows past its
//! bound, because forgetting would lose a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use tokio::sync::watch;

use super::model::{Generation, Session, SessionId};
use super::refresh::health::ProviderHealth;
use super::refresh::record::{Admission, Aftermath, Ask, EndCause, Outcome, Policy, Record};
use super::ticket::Presented;
use crate::base::time::Timestamp;

const SHARDS: usize = 64;

/// The sessions that this replica knows.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<Mutex<Shard>>,
    policy: Policy,
    /// The most records per shard, as far as dropping loses nothing.
    room: usize,
    health: Mutex<ProviderHealth>,
}

type Shard = HashMap<SessionId, Entry>;

#[derive(Debug)]
struct Entry {
    record: Record,
    /// A generation's `Set-Cookie` values while it is under way to the browser, so that every response that brings
    /// it carries the same bytes, and chunks of two responses fit together.
    sealed: Option<(Generation, Arc<[HeaderValue]>)>,
    /// Tells waiting requests that something was settled; there only while a refresh is in flight.
    settled: Option<watch::Sender<()>>,
}

/// What a presented cookie gets from the registry.
#[derive(Debug)]
pub enum Answer {
    /// The session is not known, or only older: present again with the session itself.
    Unknown,
    /// The decision, and for a wait the signal to wait for.
    Known {
        /// What the cookie gets.
        admission: Admission,
        /// What follows besides.
        aftermath: Aftermath,
        /// Signalled when the refresh under way is settled.
        settled: Option<watch::Receiver<()>>,
    },
}

impl Registry {
    /// An empty one that remembers about `capacity` sessions.
    pub fn new(policy: Policy, capacity: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            policy,
            room: capacity.div_ceil(SHARDS).max(1),
            health: Mutex::default(),
        }
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the number of shards")]
    fn shard(&self, sid: &SessionId) -> MutexGuard<'_, Shard> {
        let [first, ..] = sid.as_bytes();
        // A panic while a shard was locked leaves records whole: each change is one assignment.
        self.shards[usize::from(*first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, ProviderHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A login made `session`.
    pub fn insert(&self, session: Arc<Session>, now: Timestamp) {
        let mut shard = self.shard(&session.sid);
        self.make_room(&mut shard, now);
        shard.insert(session.sid, Entry { record: Record::adopt(session), sealed: None, settled: None });
    }

    /// An authentic cookie is presented. `session` is what was in it, where an earlier call answered `Unknown`.
    pub fn present(
        &self,
        cookie: (Presented, Timestamp),
        session: Option<Arc<Session>>,
        ask: Ask,
        now: Timestamp,
    ) -> Answer {
        let (presented, seen_at) = cookie;
        let mut shard = self.shard(&presented.sid);
        if let Some(session) = session {
            if let Some(entry) = shard.get_mut(&presented.sid) {
                entry.record.raise(session);
            } else {
                self.make_room(&mut shard, now);
                let record = Record::adopt(session);
                shard.insert(presented.sid, Entry { record, sealed: None, settled: None });
            }
        }
        let Some(entry) = shard.get_mut(&presented.sid) else {
            return Answer::Unknown;
        };
        if entry.record.lacks(presented.generation) {
            return Answer::Unknown;
        }
        let lets_through = |failed_at| self.health().lets_through(failed_at, now);
        let (admission, aftermath) =
            entry.record.present((presented.generation, seen_at), ask, now, &self.policy, lets_through);
        let settled = match &admission {
            Admission::Wait(_) | Admission::Serve(_, Some(_)) => {
                Some(entry.settled.get_or_insert_with(|| watch::Sender::new(())).subscribe())
            }
            Admission::Serve(_, None) | Admission::Refuse(_) => None,
        };
        Answer::Known { admission, aftermath, settled }
    }

    /// See [`Record::keep`].
    pub fn keep(&self, next: Arc<Session>) {
        if let Some(entry) = self.shard(&next.sid).get_mut(&next.sid) {
            entry.record.keep(next);
        }
    }

    /// The attempt that began at `from` is over: see [`Record::settle`]. Wakes the requests that wait for it.
    pub fn settle(&self, from: &Session, outcome: Outcome, now: Timestamp) -> Aftermath {
        match &outcome {
            Outcome::Rotated(next) if now < next.tokens.access_expires_at => self.health().succeeded(now),
            Outcome::Failed { wait } => self.health().failed(now, wait.unwrap_or_default()),
            Outcome::Rotated(_)
            | Outcome::RotatedOnly(_)
            | Outcome::Unknown
            | Outcome::InvalidGrant
            | Outcome::LoginRequired(_)
            | Outcome::IdTokenRejected => {}
        }
        let mut shard = self.shard(&from.sid);
        let Some(entry) = shard.get_mut(&from.sid) else {
            return Aftermath::default();
        };
        let aftermath = entry.record.settle(from.generation, outcome, now, &self.policy);
        // Dropping the sender wakes every receiver.
        entry.settled = None;
        aftermath
    }

    /// Ends a session; `session` is what its cookie said, for one that is not known here.
    pub fn end(&self, session: &Arc<Session>, cause: EndCause) -> Aftermath {
        let mut shard = self.shard(&session.sid);
        let entry = shard.entry(session.sid).or_insert_with(|| Entry {
            record: Record::adopt(Arc::clone(session)),
            sealed: None,
            settled: None,
        });
        let aftermath = entry.record.end(cause, &self.policy);
        entry.sealed = None;
        entry.settled = None;
        aftermath
    }

    /// The `Set-Cookie` values that a response must carry: see [`Record::cookie_due`]. `seal` makes them from a
    /// session; it is called at most once per generation while that generation is under way.
    pub fn cookies_due(
        &self,
        presented: &Presented,
        now: Timestamp,
        seal: impl FnOnce(&Session) -> Option<Arc<[HeaderValue]>>,
    ) -> Option<Arc<[HeaderValue]>> {
        let mut shard = self.shard(&presented.sid);
        let entry = shard.get_mut(&presented.sid)?;
        let Some(session) = entry.record.cookie_due(presented.generation, now, &self.policy) else {
            if entry.sealed.as_ref().is_some_and(|(generation, _)| *generation <= presented.generation) {
                // The browser has it: nobody needs these bytes again.
                entry.sealed = None;
            }
            return None;
        };
        match &entry.sealed {
            Some((generation, cookies)) if *generation == session.generation => Some(Arc::clone(cookies)),
            _ => {
                let cookies = seal(&session)?;
                if session.generation > presented.generation {
                    entry.sealed = Some((session.generation, Arc::clone(&cookies)));
                }
                Some(cookies)
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn newest(&self, sid: &SessionId) -> Option<Arc<Session>> {
        self.shard(sid).get(sid).and_then(|entry| entry.record.newest().cloned())
    }

    /// How many sessions are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what is over by itself. Called now and then.
    pub fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, entry| !entry.record.is_over(now, &self.policy));
        }
    }

    fn make_room(&self, shard: &mut Shard, now: Timestamp) {
        if shard.len() < self.room {
            return;
        }
        shard.retain(|_, entry| !entry.record.is_over(now, &self.policy));
        if shard.len() < self.room {
            return;
        }
        let evictable = shard.iter().filter(|(_, entry)| entry.record.is_evictable(now, &self.policy));
        if let Some(sid) = evictable.min_by_key(|(_, entry)| entry.record.last_seen()).map(|(sid, _)| *sid) {
            shard.remove(&sid);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::refresh::record::tests::{START, session};
    use crate::session::settings::{AfterUnknown, Rollback};

    fn registry(capacity: usize) -> Registry {
        let policy = Policy {
            lifetime: Duration::from_secs(12 * 3600),
            grace: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(3600),
            rollback: Rollback::End,
            after_unknown: AfterUnknown::RetryOnce,
        };
        Registry::new(policy, capacity)
    }

    fn numbered(number: u64, generation: Generation) -> Arc<Session> {
        let mut made = session(generation);
        let mut sid = [0; 16];
        sid[8..].copy_from_slice(&number.to_be_bytes());
        made.sid = SessionId::from_bytes(sid);
        Arc::new(made)
    }

    fn presented(session: &Session) -> Presented {
        Presented { sid: session.sid, generation: session.generation, chunks: 1 }
    }

    fn at(seconds: u64) -> Timestamp {
        START.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn room_is_made_by_dropping_what_loses_nothing() {
        let registry = registry(SHARDS * 2);
        for number in 0..10 {
            registry.insert(numbered(number, 1), at(400 + number));
        }
        // All numbers share a shard, which has room for two.
        assert_eq!(registry.len(), 2);
    }

    #[test]
    fn an_unacknowledged_successor_is_never_dropped_to_make_room() {
        // Rule 3.
        let registry = registry(SHARDS);
        for number in 0..10 {
            let first = numbered(number, 1);
            registry.insert(Arc::clone(&first), at(0));
            let Answer::Known { admission, .. } =
                registry.present((presented(&first), at(0)), None, Ask::Usual, at(300))
            else {
                panic!("forgotten")
            };
            assert!(matches!(admission, Admission::Wait(Some(_))));
            registry.settle(&first, Outcome::Rotated(numbered(number, 2)), at(300));
        }
        assert_eq!(registry.len(), 10);
    }

    #[test]
    fn waiting_requests_are_woken_when_the_flight_is_settled_or_the_session_ends() {
        let registry = registry(100);
        for end in [false, true] {
            let first = numbered(u64::from(end), 1);
            registry.insert(Arc::clone(&first), at(0));
            let Answer::Known { settled: Some(settled), .. } =
                registry.present((presented(&first), at(0)), None, Ask::Usual, at(300))
            else {
                panic!("no signal")
            };
            assert!(settled.has_changed().is_ok());
            if end {
                registry.end(&first, EndCause::Logout);
            } else {
                registry.settle(&first, Outcome::Failed { wait: None }, at(300));
            }
            assert!(settled.has_changed().is_err(), "the sender is gone");
        }
    }

    #[test]
    fn the_same_bytes_go_out_until_the_browser_has_them() {
        let registry = registry(100);
        let first = numbered(1, 1);
        registry.insert(Arc::clone(&first), at(0));
        registry.present((presented(&first), at(0)), None, Ask::Usual, at(300));
        registry.settle(&first, Outcome::Rotated(numbered(1, 2)), at(300));
        let mut sealed = 0;
        for _ in 0..5 {
            let cookies = registry.cookies_due(&presented(&first), at(301), |_| {
                sealed += 1;
                Some(Arc::from([HeaderValue::from_static("s=2")]))
            });
            assert_eq!(cookies.unwrap().len(), 1);
        }
        assert_eq!(sealed, 1);
        assert!(
            registry.cookies_due(&presented(&numbered(1, 2)), at(302), |_| panic!("sealed again")).is_none()
        );
    }

    #[test]
    fn the_sweep_drops_what_is_over() {
        let registry = registry(100);
        registry.insert(numbered(1, 1), at(0));
        registry.sweep(at(3599));
        assert_eq!(registry.len(), 1);
        registry.sweep(at(3600));
        assert!(registry.is_empty());
    }
}

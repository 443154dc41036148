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

use super::denied::{Denial, Denied};
use super::model::{Generation, Session, SessionId};
use super::mutation::{self, Mutation};
use super::refresh::health::ProviderHealth;
use super::refresh::record::{Admission, Aftermath, Ask, EndCause, Lesson, Outcome, Policy, Record};
use super::ticket::Presented;
use crate::base::time::Timestamp;

const SHARDS: usize = 64;

/// The sessions that this replica knows.
#[derive(Debug)]
pub struct Registry {
    shards: Vec<Mutex<Shard>>,
    policy: Policy,
    company: Company,
    /// The most records per shard, as far as dropping loses nothing.
    room: usize,
    health: Mutex<ProviderHealth>,
    /// Asked when a session is first seen.
    denied: Mutex<Denied>,
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
    store: Knows,
}

/// Whether the store knows as much of a session as this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knows {
    /// It does, or there is none.
    Everything,
    /// It was away when something was to be written.
    Less,
}

/// Whether other replicas serve the same sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// What this replica has not seen of a session did not happen, since it knows it.
    Alone,
    /// A session may be in use elsewhere.
    Fleet,
}

/// Whether a session was known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// This is the first that this replica sees of it.
    First,
    /// It was known.
    Again,
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// It was ended.
    Ended,
    /// It was not, but it is past its time by what is known here.
    PastItsTime(EndCause),
}

/// What a presented cookie gets from the registry.
#[derive(Debug)]
pub enum Answer {
    /// The session is not known, or only older: present again with the session itself.
    Unknown,
    /// As far as this replica knows, the session is past its time. It is not ended for that: a newer copy of the
    /// cookie may tell more, or another replica.
    PastItsTime(EndCause),
    /// The decision, and for a wait the signal to wait for.
    Known {
        /// What the cookie gets.
        admission: Admission,
        /// What follows besides.
        aftermath: Aftermath,
        /// Signalled when the refresh under way is settled.
        settled: Option<watch::Receiver<()>>,
        /// Whether it was known before.
        sight: Sight,
    },
}

impl Entry {
    fn new(record: Record) -> Self {
        Self { record, sealed: None, settled: None, store: Knows::Everything }
    }
}

impl Registry {
    /// An empty one that remembers about `capacity` sessions.
    pub fn new(policy: Policy, capacity: usize, company: Company) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            policy,
            company,
            room: capacity.div_ceil(SHARDS).max(1),
            health: Mutex::default(),
            denied: Mutex::default(),
        }
    }

    fn denied(&self) -> MutexGuard<'_, Denied> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a session whose authentic cookie is the first thing seen of it: it may have been ended before.
    /// Then its token may still be there to be revoked: nobody knew it when an operator ended the sessions of a user.
    fn adopt(&self, session: Arc<Session>) -> (Entry, Option<Arc<Session>>) {
        let ended = self.denied().cause_of(&session).filter(|_| !mutation::is(Mutation::AdoptsTheDenied));
        let mut record = Record::adopt(session);
        let revoke = ended.and_then(|cause| {
            // It was counted and told where it was ended.
            let revoke = record.end(cause, &self.policy).revoke;
            revoke.filter(|_| cause == EndCause::Operator)
        });
        (Entry::new(record), revoke)
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
        shard.insert(session.sid, Entry::new(Record::adopt(session)));
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
        let (mut sight, mut revoke) = (Sight::Again, None);
        if let Some(session) = session {
            if let Some(entry) = shard.get_mut(&presented.sid) {
                entry.record.raise(session);
            } else {
                let (entry, unknown_token) = self.adopt(session);
                let past = entry.record.is_past_its_time(seen_at, now, &self.policy);
                if let Some(cause) = past.filter(|_| !mutation::is(Mutation::StaleCopyEnds)) {
                    return Answer::PastItsTime(cause);
                }
                self.make_room(&mut shard, now);
                shard.insert(presented.sid, entry);
                (sight, revoke) = (Sight::First, unknown_token);
            }
        }
        let Some(entry) = shard.get_mut(&presented.sid) else {
            return Answer::Unknown;
        };
        if entry.record.lacks(presented.generation) {
            return Answer::Unknown;
        }
        if self.company == Company::Fleet
            && !mutation::is(Mutation::StaleCopyEnds)
            && let Some(cause) = entry.record.is_past_its_time(seen_at, now, &self.policy)
        {
            return Answer::PastItsTime(cause);
        }
        let lets_through = |failed_at| self.health().lets_through(failed_at, now);
        let (admission, mut aftermath) =
            entry.record.present((presented.generation, seen_at), ask, now, &self.policy, lets_through);
        aftermath.revoke = aftermath.revoke.or(revoke.take());
        let settled = match &admission {
            Admission::Wait(_) | Admission::Serve(_, Some(_)) => {
                Some(entry.settled.get_or_insert_with(|| watch::Sender::new(())).subscribe())
            }
            Admission::Serve(_, None) | Admission::Refuse(_) => None,
        };
        Answer::Known { admission, aftermath, settled, sight }
    }

    /// See [`Record::repeats`].
    pub(crate) fn repeats(&self, sid: &SessionId) {
        if let Some(entry) = self.shard(sid).get_mut(sid) {
            entry.record.repeats();
        }
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
            | Outcome::Elsewhere(_)
            | Outcome::EndedElsewhere(_)
            | Outcome::Deferred
            | Outcome::Spent
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
        if let Some(entry) = shard.get_mut(&session.sid) {
            return entry.end(cause, &self.policy);
        }
        // It may have been ended before it was known here, and then its token is still to be revoked.
        let (mut entry, revoke) = self.adopt(Arc::clone(session));
        let mut aftermath = entry.end(cause, &self.policy);
        aftermath.revoke = aftermath.revoke.or(revoke);
        shard.insert(session.sid, entry);
        aftermath
    }

    /// Why nothing may go on for `session`, as far as is known here; `None` while it lives. Asking is no use of it.
    pub(crate) fn over(&self, session: &Arc<Session>, now: Timestamp) -> Option<Over> {
        let shard = self.shard(&session.sid);
        let forgotten;
        let record = match shard.get(&session.sid) {
            Some(entry) => &entry.record,
            None => {
                forgotten = self.adopt(Arc::clone(session)).0.record;
                &forgotten
            }
        };
        match record.newest() {
            None => Some(Over::Ended),
            Some(_) => record.is_past_its_time(session.seen_at, now, &self.policy).map(Over::PastItsTime),
        }
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

    /// Another replica made a newer generation, or has seen more of them.
    pub(crate) fn learn(&self, sid: &SessionId, lesson: Lesson) {
        if let Some(entry) = self.shard(sid).get_mut(sid) {
            entry.record.learn(lesson);
        }
    }

    /// The cookies of `generation` as whoever made it sealed them: every replica sends the same bytes, so that
    /// chunks of two responses fit together.
    pub(crate) fn carry(&self, sid: &SessionId, generation: Generation, cookies: Arc<[HeaderValue]>) {
        if let Some(entry) = self.shard(sid).get_mut(sid)
            && entry.sealed.as_ref().is_none_or(|(there, _)| *there <= generation)
        {
            entry.sealed = Some((generation, cookies));
        }
    }

    /// Takes in a denial: ends what it covers, and remembers it for sessions that are not known yet. A flight under
    /// way revokes what it gets. Returns the sessions that were ended just now, with what is to be revoked.
    pub(crate) fn deny(&self, denial: &Denial, now: Timestamp) -> Vec<Aftermath> {
        self.denied().add(denial, now.plus(self.policy.lifetime));
        match denial {
            Denial::Session { sid, .. } => {
                let mut shard = self.shard(sid);
                let entry = shard.get_mut(sid);
                entry.map(|entry| entry.end(denial.cause(), &self.policy)).into_iter().collect()
            }
            Denial::Tagged { .. } | Denial::Subject { .. } | Denial::Everyone { .. } => {
                let mut ended = Vec::new();
                for shard in &self.shards {
                    let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                    let covered = |entry: &&mut Entry| {
                        entry.record.newest().is_some_and(|session| denial.covers(session))
                    };
                    let covered = shard.values_mut().filter(covered);
                    ended.extend(covered.map(|entry| entry.end(denial.cause(), &self.policy)));
                }
                ended
            }
        }
    }

    /// Every denial that is remembered.
    pub(crate) fn denials(&self) -> Vec<Denial> {
        self.denied().all()
    }

    /// Whether `newest` is news of a session that is known here; a flight of ours finds out by itself.
    pub(crate) fn is_behind_of(&self, sid: &SessionId, newest: Generation) -> bool {
        self.shard(sid).get(sid).is_some_and(|entry| {
            !entry.record.is_flying() && entry.record.newest().is_some_and(|known| known.generation < newest)
        })
    }

    /// Whether a newer generation than `newest` is known here.
    pub(crate) fn is_ahead_of(&self, sid: &SessionId, newest: Generation) -> bool {
        let known = |entry: &Entry| entry.record.newest().map(|session| session.generation);
        self.shard(sid).get(sid).and_then(known).is_some_and(|known| known > newest)
    }

    /// The store was away when something of this session was to be written.
    pub(crate) fn fall_behind(&self, sid: &SessionId) {
        if let Some(entry) = self.shard(sid).get_mut(sid) {
            entry.store = Knows::Less;
        }
    }

    /// The store lost its data.
    pub(crate) fn all_behind(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            // What was never refreshed is in its cookie, whole.
            let made =
                |entry: &&mut Entry| entry.record.newest().is_some_and(|session| session.generation > 1);
            for entry in shard.values_mut().filter(made) {
                entry.store = Knows::Less;
            }
        }
    }

    /// What the store does not know.
    pub(crate) fn behind(&self) -> Vec<Lesson> {
        let mut behind = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let less = shard.values().filter(|entry| entry.store == Knows::Less);
            behind.extend(less.filter_map(|entry| entry.record.lesson()));
        }
        behind
    }

    /// The store knows of `generation` now.
    pub(crate) fn caught_up(&self, sid: &SessionId, generation: Generation) {
        if let Some(entry) = self.shard(sid).get_mut(sid)
            && entry.record.newest().is_none_or(|newest| newest.generation <= generation)
        {
            entry.store = Knows::Everything;
        }
    }

    #[cfg(test)]
    pub(crate) fn flying(&self) -> Vec<SessionId> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap());
        let flying = shards.flat_map(|shard| {
            let flying = shard.iter().filter(|(_, entry)| entry.record.is_flying());
            flying.map(|(sid, _)| *sid).collect::<Vec<_>>()
        });
        flying.collect()
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
        self.denied().sweep(now);
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

impl Entry {
    fn end(&mut self, cause: EndCause, policy: &Policy) -> Aftermath {
        let aftermath = self.record.end(cause, policy);
        self.sealed = None;
        self.settled = None;
        aftermath
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::session::refresh::record::generations::Generations;
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
        Registry::new(policy, capacity, Company::Alone)
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
    fn older_cookies_that_come_late_do_not_displace_newer_ones() {
        let registry = registry(SHARDS);
        let (old, new) = (numbered(1, 1), numbered(1, 3));
        registry.insert(Arc::clone(&old), at(0));
        registry.learn(&old.sid, Lesson { newest: Some(new), generations: Generations::new(1) });
        let cookies = |text| Arc::<[HeaderValue]>::from([HeaderValue::from_static(text)]);
        registry.carry(&old.sid, 3, cookies("three"));
        registry.carry(&old.sid, 2, cookies("two"));
        let due = registry.cookies_due(&presented(&old), at(1), |_| panic!("it was sealed before"));
        assert_eq!(due.unwrap().to_vec(), ["three"]);
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

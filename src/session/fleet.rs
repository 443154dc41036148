//! What this replica tells the others through the store, and hears from them.
//!
//! The store is asked when a session is refreshed, first seen, acknowledged or ended, or past its time as far as this
//! replica knows; never for a request whose session it knows to be in use (rule 9). What a record may become is decided
//! in `refresh/stored.rs`; here it is read, sealed and written, and written again where somebody was faster.
//!
//! What lies in the store is sealed under the session keys, and names are hashes: a dump of it holds no token. A
//! value that does not open, or was moved from another session's record, is none of ours (std:87).

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use super::cookie::seal::{KeyRefused, OpenError, Sealer};
use super::denied::Denial;
use super::model::{Generation, Session, SessionId};
use super::mutation::{self, Mutation};
use super::refresh::record::{EndCause, Repeat};
use super::refresh::stored::{self, Ask, Kept, Process, Release, Stored};
use super::settings::Key as RingKey;
use crate::base::secret::random;
use crate::base::time::{Clock as _, SharedClock, Timestamp};
use crate::store::settings::{Denials, Outage, RefreshAlone};
use crate::store::{Batch, Cursor, Key, Pending, Store, StoreError};
use crate::telemetry::metrics::Metrics;
use change::Change;
use contact::{Contact, Failure};
use strange::Strange;
pub(crate) use strange::What;

mod change;
mod contact;
pub mod follow;
mod strange;
pub(crate) mod wire;

/// What the fleet is made of, for this replica.
#[derive(Debug, Clone)]
pub struct Means {
    /// What replicas share.
    pub store: Arc<dyn Store>,
    /// The clock that all of them go by; put right by the store's.
    pub clock: Arc<SharedClock>,
    /// What happens while the store is away.
    pub outage: Outage,
    /// How long one operation of the store may take.
    pub timeout: Duration,
}

/// How long things last in the store, and what unknown outcomes lead to.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// How long a lease holds without being renewed: longer than an answer of the provider may take.
    pub(crate) lease: Duration,
    /// How long a record is kept: no cookie of its session is older.
    pub(crate) keep_for: Duration,
    /// See [`super::settings::Settings::grace`].
    pub(crate) grace: Duration,
    /// See [`super::settings::Settings::after_unknown`].
    pub(crate) after_unknown: super::settings::AfterUnknown,
}

/// This replica's place in the fleet.
pub(crate) struct Fleet {
    means: Means,
    sealer: Sealer,
    terms: Terms,
    metrics: Metrics,
    process: Process,
    contact: Contact,
    strange: Strange,
    heard: broadcast::Sender<SessionId>,
}

/// What an ask for a lease got.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The lease.
    Granted(Repeat),
    /// Not yet: look again after so long, or when told.
    Wait(Duration),
    /// This is known of a newer generation.
    Newer(Box<Stored>),
    /// The session was ended.
    Ended(EndCause),
    /// No attempt is left.
    Spent,
}

/// What writing a result came to.
#[derive(Debug)]
pub(crate) enum Written {
    /// It is the newest.
    Kept,
    /// Another replica's is.
    Newer(Box<Stored>),
    /// The session was ended meanwhile.
    Ended(EndCause),
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("store", &self.means.store)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// A replica that nobody has heard of yet.
    pub(crate) fn new(means: Means, sealer: Sealer, terms: Terms, metrics: Metrics) -> Self {
        let alone_since = means.store.held_since();
        let contact = Contact::new(means.timeout);
        Self {
            strange: Strange::new(metrics.clone()),
            means,
            sealer,
            terms,
            metrics,
            process: Process { holder: u64::from_ne_bytes(random()), alone_since },
            contact,
            heard: broadcast::channel(HEARD).0,
        }
    }

    #[cfg(test)]
    pub(crate) fn holder(&self) -> u64 {
        self.process.holder
    }

    /// What an attempt to refresh asks the store for.
    pub(crate) fn ask(&self, from: &Session, repeat: Repeat) -> Ask {
        Ask {
            sid: from.sid,
            generation: from.generation,
            process: self.process,
            attempt: u64::from_ne_bytes(random()),
            repeat,
            term: self.terms.lease,
            after_unknown: self.terms.after_unknown,
        }
    }

    /// Asks for the right to spend a token.
    pub(crate) async fn claim(&self, ask: &Ask) -> Result<Claimed, StoreError> {
        let lost_at = self.means.store.data_lost_at();
        // Somebody may be spending it under a lease that the store has forgotten, whether or not another replica has
        // told the store of the session again.
        let forgotten = |now: Timestamp| {
            lost_at.map_or(Duration::ZERO, |lost_at| self.terms.lease.saturating_sub(now.since(lost_at)))
        };
        let settles = self.contact.back_for().map_or(Duration::ZERO, |time| SETTLES.saturating_sub(time));
        self.change(&ask.sid, |found, now| {
            match Stored::claim(found, ask, now) {
                stored::Claim::Granted(..) if !forgotten(now).is_zero() => {
                    Change::Leave(Claimed::Wait(forgotten(now)))
                }
                // Whoever held it could not write either, while the store was away, and may do so any moment.
                stored::Claim::Granted(_, repeat) if repeat != ask.repeat && !settles.is_zero() => {
                    Change::Leave(Claimed::Wait(settles))
                }
                stored::Claim::Granted(record, repeat) => {
                    Change::WriteQuietly(record, Claimed::Granted(repeat))
                }
                stored::Claim::Wait(until) => Change::Leave(Claimed::Wait(until.since(now))),
                stored::Claim::Newer => match found {
                    Some(record) => Change::Leave(Claimed::Newer(Box::new(record.clone()))),
                    None => Change::Leave(Claimed::Spent),
                },
                stored::Claim::Ended(cause) => Change::Leave(Claimed::Ended(cause)),
                stored::Claim::Spent => Change::Leave(Claimed::Spent),
            }
        })
        .await
    }

    /// Prolongs a lease; whether it is still held.
    pub(crate) async fn renew(&self, ask: &Ask) -> Result<bool, StoreError> {
        self.change(&ask.sid, |found, now| {
            match found.and_then(|record| record.renew(ask.attempt, ask.term, now)) {
                Some(record) => Change::WriteQuietly(Box::new(record), true),
                None => Change::Leave(false),
            }
        })
        .await
    }

    /// Keeps the next generation before its ID token is looked at (rule 3).
    pub(crate) async fn keep(&self, ask: &Ask, successor: &str) -> Result<Written, StoreError> {
        self.write(ask, |found| Stored::keep(found, ask, successor.to_owned())).await
    }

    /// Puts the next generation in its final form, and ends the lease.
    pub(crate) async fn finish(&self, ask: &Ask, successor: &str) -> Result<Written, StoreError> {
        self.write(ask, |found| Stored::finish(found, ask, successor.to_owned())).await
    }

    async fn write(
        &self,
        ask: &Ask,
        decide: impl Fn(Option<&Stored>) -> Kept,
    ) -> Result<Written, StoreError> {
        self.change(&ask.sid, |found, _| match (decide(found), found) {
            (Kept::Write(record), _) => Change::Write(record, Written::Kept),
            (Kept::Newer, Some(record)) => Change::Leave(Written::Newer(Box::new(record.clone()))),
            (Kept::Newer, None) => Change::Leave(Written::Kept),
            (Kept::Ended(cause), _) => Change::Leave(Written::Ended(cause)),
        })
        .await
    }

    /// Gives a lease back.
    pub(crate) async fn release(&self, ask: &Ask, how: Release) -> Result<(), StoreError> {
        self.change(&ask.sid, |found, now| Change::of(found.and_then(|record| record.release(ask, how, now))))
            .await
    }

    /// The provider said `invalid_grant` to the token of `ask`: ends the session, unless a newer generation is known
    /// (rule 6), which is returned.
    pub(crate) async fn end_grant(&self, ask: &Ask) -> Result<Option<Box<Stored>>, StoreError> {
        self.change(&ask.sid, |found, _| match found {
            Some(record)
                if record.newest > ask.generation
                    && record.ended().is_none()
                    && !mutation::is(Mutation::RefusalIsFinal) =>
            {
                Change::Leave(Some(Box::new(record.clone())))
            }
            found => match Stored::end(found, ask.sid, EndCause::InvalidGrant) {
                Some(record) => Change::Write(Box::new(record), None),
                None => Change::Leave(None),
            },
        })
        .await
    }

    /// Notes that a browser has shown `generation`.
    pub(crate) async fn acknowledge(
        &self,
        sid: SessionId,
        generation: Generation,
        successor: Option<&str>,
    ) -> Result<(), StoreError> {
        self.change(&sid, |found, now| {
            let successor = || successor.map(str::to_owned);
            Change::of(Stored::acknowledge(found, (sid, generation), successor, now, self.terms.grace))
        })
        .await
    }

    /// Brings what was made while the store was away.
    pub(crate) async fn catch_up(&self, made: &Stored) -> Result<(), StoreError> {
        self.change(&made.sid, |found, _| Change::of(Stored::catch_up(found, made))).await
    }

    /// Ends a session for the fleet: its record first, so that no flight keeps what it gets, then the log, from which
    /// every replica learns it. Returns what was known of it.
    pub(crate) async fn end(
        &self,
        sid: SessionId,
        cause: EndCause,
    ) -> Result<Option<Box<Stored>>, StoreError> {
        let before = self
            .change(&sid, |found, _| {
                let before = found.map(|record| Box::new(record.clone()));
                match Stored::end(found, sid, cause) {
                    Some(record) => Change::Write(Box::new(record), before),
                    None => Change::Leave(before),
                }
            })
            .await;
        let before = match before {
            // Whoever can read the record learns of the end from the log.
            Err(StoreError::Unreadable) => None,
            before => before?,
        };
        self.deny(&Denial::Session { sid, cause: cause.into() }).await?;
        Ok(before)
    }

    /// Tells every replica of a denial.
    pub(crate) async fn deny(&self, denial: &Denial) -> Result<(), StoreError> {
        let Some(entry) = wire::seal_denial(&self.sealer, denial) else { return Err(StoreError::Refused) };
        self.timed(self.means.store.append(entry, self.terms.keep_for)).await
    }

    /// What the store knows of a session.
    pub(crate) async fn look_up(&self, sid: SessionId) -> Result<Option<Box<Stored>>, StoreError> {
        self.change(&sid, |found, _| Change::Leave(found.map(|record| Box::new(record.clone())))).await
    }

    /// For how long the newest generation of a record may still be judged by who made it; `None` where it stays as it
    /// is.
    pub(crate) fn judged_in(&self, stored: &Stored) -> Option<Duration> {
        let now = self.means.clock.now();
        stored.judged_until(self.process, now).map(|until| until.since(now))
    }

    /// Something that lies in the store could not be read.
    pub(crate) fn met_strange(&self, what: What, why: OpenError) {
        self.strange.met(what, why);
    }

    /// Whether what cannot be read here is waited for no more.
    pub(crate) fn gives_up_reading(&self) -> bool {
        self.strange.is_here_to_stay()
    }

    /// Goes on with another key ring.
    pub(crate) fn replace_keys(&self, keys: &[RingKey]) -> Result<(), KeyRefused> {
        self.sealer.replace(keys)
    }

    /// Notes about sessions from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<SessionId> {
        self.heard.subscribe()
    }

    /// Whether the store was away for so long that this replica goes on by itself.
    pub(crate) fn may_go_alone(&self) -> bool {
        match self.means.outage.refresh {
            RefreshAlone::Wait => false,
            RefreshAlone::Local => {
                self.contact.away_for().is_some_and(|time| time >= self.means.outage.after)
            }
        }
    }

    /// Whether the requests of sessions must wait, because nobody knows which were ended elsewhere.
    pub(crate) fn is_blind(&self) -> bool {
        match self.means.outage.denials {
            Denials::Open => false,
            // A look takes as long as its patience, where nothing happens.
            Denials::Closed => !self.contact.followed_within(follow::PROMPT + follow::PATIENCE),
        }
    }

    /// Whether the store answers; asks it for nothing.
    async fn probe(&self) -> Result<(), StoreError> {
        self.read(Key::new("probe", &[])).await.map(drop)
    }

    /// One operation within its deadline.
    async fn timed<T>(&self, operation: Pending<'_, T>) -> Result<T, StoreError> {
        self.judged(tokio::time::timeout(self.means.timeout, operation)).await
    }

    async fn judged<T>(
        &self,
        operation: impl Future<Output = Result<Result<T, StoreError>, tokio::time::error::Elapsed>>,
    ) -> Result<T, StoreError> {
        let result = operation.await.unwrap_or(Err(StoreError::TimedOut));
        match &result {
            Ok(_) => {
                if let Some(away) = self.contact.succeeded() {
                    tracing::info!(?away, "the store is back");
                }
            }
            Err(error) => {
                self.metrics.store_failed(error.label());
                if self.contact.failed() == Failure::First {
                    tracing::warn!(error = error.label(), outage = ?self.means.outage, "the store does not answer");
                }
            }
        }
        result
    }

    /// Something is to be brought to the store: at once where it answers, else when it is back.
    pub(crate) fn bring_soon(&self) {
        if !self.is_away() {
            self.contact.came_back.notify_one();
        }
    }

    /// Whether the last operation failed.
    fn is_away(&self) -> bool {
        self.contact.away_for().is_some()
    }

    fn observe(&self, now: Timestamp, asked: Timestamp) {
        if mutation::is(Mutation::OwnClock) {
            return;
        }
        let answered = self.means.clock.own_now();
        if let Some(moved) = self.means.clock.observe(now, asked, answered) {
            tracing::warn!(by = ?moved, "this machine's clock differs from the store's, which all replicas go by");
        }
    }

    async fn entries(&self, cursor: Cursor) -> Result<Batch, StoreError> {
        let asked = self.store().entries(cursor, follow::PATIENCE);
        self.judged(tokio::time::timeout(follow::PATIENCE + self.means.timeout, asked)).await
    }

    /// The same without waiting for more; tells the time besides.
    async fn entries_now(&self, cursor: Cursor) -> Result<Batch, StoreError> {
        let asked = self.means.clock.own_now();
        let batch = self.timed(self.store().entries(cursor, Duration::ZERO)).await?;
        self.observe(batch.now, asked);
        Ok(batch)
    }

    fn store(&self) -> &dyn Store {
        &*self.means.store
    }
}

/// How long after an outage those who could not write meanwhile are waited for, before their attempts are taken for
/// lost.
const SETTLES: Duration = Duration::from_secs(3);
/// Notes that a waiting flight may lag behind; it looks by itself as well.
const HEARD: usize = 1024;

#[cfg(test)]
mod tests;

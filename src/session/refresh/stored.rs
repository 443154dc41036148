//! What the store knows of one session, and what each replica may do with it.
//!
//! Pure: a record comes in with the store's `now`, a decision and the record to write go out. Whoever writes does so
//! only if nobody was faster, and decides anew otherwise; so every step here is atomic for the whole fleet.
//!
//! The refresh of a session is, for the fleet, **idle**, **leased** (one replica spends the token), **unknown** (it
//! was sent and never answered) or **spent** (that happened twice). A lease that ran out without a result is an
//! unknown outcome: nobody can tell whether its holder had sent the token.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::record::{EndCause, PAUSE_AFTER_UNKNOWN, Repeat};
use crate::base::time::Timestamp;
use crate::session::model::{Generation, SessionId};
use crate::session::mutation::{self, Mutation};
use crate::session::refresh::record::generations::Generations;
use crate::session::settings::AfterUnknown;

/// What the store knows of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Whose it is. Compared when it is read: a value that was moved to another record is none (std:87).
    pub(crate) sid: SessionId,
    /// G, the newest generation made.
    pub(crate) newest: Generation,
    /// G's sealed cookie value, where a refresh made it.
    pub(crate) successor: Option<String>,
    /// Which generations browsers have shown, and when.
    pub(crate) generations: Generations,
    refresh: Refresh,
    ended: Option<Cause>,
}

/// How the refresh stands for the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Refresh {
    Idle,
    Leased(Lease),
    Unknown { since: Timestamp },
    Spent,
}

/// The right to spend the newest generation's refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// The process that holds it.
    holder: u64,
    /// The one attempt that it was given for.
    attempt: u64,
    /// The generation whose token it spends. Once a newer one is kept, how the attempt came out is known.
    spends: Generation,
    until: Timestamp,
    /// Whether the token was sent before.
    again: bool,
}

/// The causes that other replicas are told. Numbers of a stored format: none is ever used for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Cause {
    Logout,
    InvalidGrant,
    Rollback,
    Replaced,
    IdTokenMismatch,
    Lifetime,
    Idle,
    Operator,
}

/// A process that reads a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    /// Names it in leases.
    pub(crate) holder: u64,
    /// See [`Store::held_since`](crate::store::Store::held_since).
    pub(crate) alone_since: Option<Timestamp>,
}

/// Who asks for a lease, and for what.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The session.
    pub(crate) sid: SessionId,
    /// The generation whose token is to be spent.
    pub(crate) generation: Generation,
    /// Who asks.
    pub(crate) process: Process,
    /// This attempt.
    pub(crate) attempt: u64,
    /// Whether this process has sent the token before.
    pub(crate) repeat: Repeat,
    /// How long the lease holds. Longer than any answer may take.
    pub(crate) term: Duration,
    /// What follows an unknown outcome.
    pub(crate) after_unknown: AfterUnknown,
}

/// What an ask for a lease gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Once this is written, the lease is held.
    Granted(Box<Stored>, Repeat),
    /// Somebody else is at it, or the pause after an unknown outcome is not over: ask again then, or when told.
    Wait(Timestamp),
    /// A newer generation is known.
    Newer,
    /// The session was ended.
    Ended(EndCause),
    /// The token was sent and never answered, and no attempt is left.
    Spent,
}

/// What writing a result meets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Write this: the result is the newest.
    Write(Box<Stored>),
    /// Another replica was faster: its generation is the newest, ours is dropped.
    Newer,
    /// The session was ended meanwhile.
    Ended(EndCause),
}

/// How an attempt ended that brought nothing to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// The token is as it was.
    Unspent,
    /// Nobody knows.
    Unknown,
}

impl Stored {
    /// A session of which `generation` is the newest.
    pub(crate) fn new(sid: SessionId, generation: Generation) -> Self {
        Self {
            sid,
            newest: generation,
            successor: None,
            generations: Generations::new(generation),
            refresh: Refresh::Idle,
            ended: None,
        }
    }

    /// What stands for a record that was damaged: somebody may be spending the token until `until`, and how that came
    /// out is an unknown outcome.
    pub(crate) fn damaged(sid: SessionId, until: Timestamp) -> Self {
        Self { refresh: Refresh::Unknown { since: until }, ..Self::new(sid, 0) }
    }

    /// Whether nothing is known but that there was more.
    pub(crate) fn is_damaged(&self) -> bool {
        self.newest == 0 && self.ended.is_none()
    }

    /// How the refresh stands once a newer generation than the record's is known.
    fn refresh_of_newer(&self) -> Refresh {
        if self.is_damaged() { self.refresh.clone() } else { Refresh::Idle }
    }

    /// Whether the session was ended.
    pub(crate) fn ended(&self) -> Option<EndCause> {
        self.ended.map(EndCause::from)
    }

    /// Until when the newest generation may still be judged by the process that made it: so long its claims are those
    /// of before, it may not stay as it is, and nobody takes it over.
    pub(crate) fn judged_until(&self, reader: Process, now: Timestamp) -> Option<Timestamp> {
        match &self.refresh {
            Refresh::Leased(lease) if lease.spends < self.newest => {
                Some(lease.over_at(reader)).filter(|until| now < *until)
            }
            Refresh::Idle | Refresh::Leased(_) | Refresh::Unknown { .. } | Refresh::Spent => None,
        }
    }

    /// Which process has the lease, for the simulation.
    #[cfg(test)]
    pub(crate) fn holder(&self) -> Option<u64> {
        match &self.refresh {
            Refresh::Leased(lease) => Some(lease.holder),
            Refresh::Idle | Refresh::Unknown { .. } | Refresh::Spent => None,
        }
    }

    /// Asks for the right to spend a token. `found` is what the store has, if it has anything.
    pub(crate) fn claim(found: Option<&Self>, ask: &Ask, now: Timestamp) -> Claim {
        let mut record = found.cloned().unwrap_or_else(|| Self::new(ask.sid, ask.generation));
        if let Some(cause) = record.ended() {
            return Claim::Ended(cause);
        }
        if record.newest > ask.generation && !mutation::is(Mutation::SpendsTheOld) {
            // What this process began itself is over: it makes one attempt at a time.
            let judged_until =
                record.judged_until(ask.process, now).filter(|_| !record.is_held_by(ask.process.holder));
            return judged_until.map_or(Claim::Newer, Claim::Wait);
        }
        if record.newest < ask.generation {
            // The store lost what was written to it; the cookie is authentic.
            let refresh = record.refresh_of_newer();
            record = Self { generations: record.generations, refresh, ..Self::new(ask.sid, ask.generation) };
        }
        let repeat = match record.leave(ask, now) {
            Ok(repeat) => repeat,
            Err(claim) => return claim,
        };
        record.refresh = Refresh::Leased(Lease {
            holder: ask.process.holder,
            attempt: ask.attempt,
            spends: ask.generation,
            until: now.plus(ask.term),
            again: repeat == Repeat::AfterUnknown,
        });
        Claim::Granted(Box::new(record), repeat)
    }

    /// Whether the newest generation's token may be spent now.
    fn leave(&self, ask: &Ask, now: Timestamp) -> Result<Repeat, Claim> {
        match &self.refresh {
            Refresh::Idle => Ok(ask.repeat),
            // One process makes one attempt at a time: this one is over, and how is known here.
            Refresh::Leased(lease)
                if lease.holder == ask.process.holder || mutation::is(Mutation::LeaseForEverybody) =>
            {
                Ok(ask.repeat)
            }
            Refresh::Leased(lease) if now < lease.over_at(ask.process) => {
                Err(Claim::Wait(lease.over_at(ask.process)))
            }
            // Its holder died after it had kept what it got: nobody has sent the newer token.
            Refresh::Leased(lease)
                if lease.spends < self.newest || mutation::is(Mutation::LostLeaseIsFree) =>
            {
                Ok(ask.repeat)
            }
            Refresh::Leased(lease) if lease.again => Err(Claim::Spent),
            Refresh::Leased(lease) => after_unknown(lease.over_at(ask.process), ask, now),
            Refresh::Unknown { since } => after_unknown(*since, ask, now),
            Refresh::Spent => Err(Claim::Spent),
        }
    }

    /// Prolongs a lease; `None` where it is lost.
    pub(crate) fn renew(&self, attempt: u64, term: Duration, now: Timestamp) -> Option<Self> {
        let Refresh::Leased(lease) = &self.refresh else { return None };
        let mine = lease.attempt == attempt && self.ended.is_none();
        mine.then(|| {
            let lease = Lease { until: now.plus(term), ..lease.clone() };
            Self { refresh: Refresh::Leased(lease), ..self.clone() }
        })
    }

    /// The provider rotated: keeps the next generation, before anyone looks at its ID token (rule 3). The lease is
    /// kept with it, so that nobody takes it before it is judged, unless its holder dies.
    pub(crate) fn keep(found: Option<&Self>, ask: &Ask, successor: String) -> Kept {
        let record = found.cloned().unwrap_or_else(|| Self::new(ask.sid, ask.generation));
        if let Some(cause) = record.ended().filter(|_| !mutation::is(Mutation::FlightUndoesEnd)) {
            return Kept::Ended(cause);
        }
        // Written before, by a request whose answer was lost.
        let ours = record.newest == ask.generation + 1 && record.is_leased_to(ask);
        if record.newest > ask.generation && !ours && !mutation::is(Mutation::LateResultWins) {
            return Kept::Newer;
        }
        // Whoever else was at it finds that it came too late.
        let refresh = if record.is_leased_to(ask) { record.refresh } else { Refresh::Idle };
        let newest = ask.generation + 1;
        Kept::Write(Box::new(Self { newest, successor: Some(successor), refresh, ..record }))
    }

    /// The next generation is judged: what is there gives way to it, if it is ours, and the lease ends.
    pub(crate) fn finish(found: Option<&Self>, ask: &Ask, successor: String) -> Kept {
        let next = ask.generation + 1;
        match found {
            Some(record)
                if record.ended.is_none()
                    && record.newest == next
                    && (record.is_leased_to(ask) || record.successor.as_ref() == Some(&successor)) =>
            {
                Kept::Write(Box::new(Self {
                    successor: Some(successor),
                    refresh: Refresh::Idle,
                    ..record.clone()
                }))
            }
            found => match Self::keep(found, ask, successor) {
                Kept::Write(record) => Kept::Write(Box::new(Self { refresh: Refresh::Idle, ..*record })),
                Kept::Newer => Kept::Newer,
                Kept::Ended(cause) => Kept::Ended(cause),
            },
        }
    }

    /// An attempt is over and brought nothing to keep. `None` where the lease is not ours any more.
    pub(crate) fn release(&self, ask: &Ask, how: Release, now: Timestamp) -> Option<Self> {
        let Refresh::Leased(lease) = &self.refresh else { return None };
        if lease.attempt != ask.attempt {
            return None;
        }
        let refresh = match (how, ask.after_unknown) {
            _ if mutation::is(Mutation::UnknownIsForgotten) => Refresh::Idle,
            (Release::Unspent, _) if lease.again => Refresh::Unknown { since: now },
            (Release::Unspent, _) => Refresh::Idle,
            (Release::Unknown, AfterUnknown::RetryOnce) if !lease.again => Refresh::Unknown { since: now },
            (Release::Unknown, AfterUnknown::RetryOnce | AfterUnknown::Login) => Refresh::Spent,
        };
        Some(Self { refresh, ..self.clone() })
    }

    /// A browser has shown `generation`. `None` where that is known.
    pub(crate) fn acknowledge(
        found: Option<&Self>,
        shown: (SessionId, Generation),
        successor: impl FnOnce() -> Option<String>,
        now: Timestamp,
        grace: Duration,
    ) -> Option<Self> {
        let (sid, generation) = shown;
        let mut record = found.cloned().unwrap_or_else(|| Self::new(sid, generation));
        if record.ended.is_some() {
            return None;
        }
        let lacked = record.newest < generation || found.is_none();
        if lacked {
            record.refresh = record.refresh_of_newer();
            record.newest = generation;
            record.successor = successor();
        }
        let before = record.generations.acknowledged();
        record.generations.present(generation, now, grace);
        (lacked || record.generations.acknowledged() > before).then_some(record)
    }

    /// Brings what this process made while the store was away. `None` where the store knows as much.
    pub(crate) fn catch_up(found: Option<&Self>, made: &Self) -> Option<Self> {
        match found {
            Some(record) if record.ended.is_some() => None,
            Some(record) => {
                let mut generations = made.generations.clone();
                generations.merge(&record.generations);
                let brought = if record.newest > made.newest && !mutation::is(Mutation::CatchUpOverwrites) {
                    Self { generations, ..record.clone() }
                } else if record.newest == made.newest {
                    let successor = record.successor.clone().or_else(|| made.successor.clone());
                    Self { generations, successor, ..record.clone() }
                } else {
                    Self { generations, refresh: record.refresh_of_newer(), ..made.clone() }
                };
                (brought != *record).then_some(brought)
            }
            None => Some(made.clone()),
        }
    }

    /// Ends the session. `None` where it was ended before.
    pub(crate) fn end(found: Option<&Self>, sid: SessionId, cause: EndCause) -> Option<Self> {
        let record = found.cloned().unwrap_or_else(|| Self::new(sid, 0));
        record.ended.is_none().then(|| Self {
            successor: None,
            refresh: Refresh::Idle,
            ended: Some(cause.into()),
            ..record
        })
    }

    fn is_held_by(&self, holder: u64) -> bool {
        matches!(&self.refresh, Refresh::Leased(lease) if lease.holder == holder)
    }

    fn is_leased_to(&self, ask: &Ask) -> bool {
        matches!(&self.refresh, Refresh::Leased(lease) if lease.attempt == ask.attempt)
    }
}

impl Lease {
    /// When it is over, as far as it is not prolonged. Where the reader is alone with the store, whoever else held it
    /// is dead.
    fn over_at(&self, reader: Process) -> Timestamp {
        let alone_since = reader.alone_since.filter(|_| self.holder != reader.holder);
        alone_since.map_or(self.until, |since| self.until.min(since))
    }
}

/// What follows an unknown outcome: a repetition after a pause, or none.
fn after_unknown(since: Timestamp, ask: &Ask, now: Timestamp) -> Result<Repeat, Claim> {
    let pause = since.plus(PAUSE_AFTER_UNKNOWN);
    match ask.after_unknown {
        AfterUnknown::Login => Err(Claim::Spent),
        AfterUnknown::RetryOnce if now < pause => Err(Claim::Wait(pause)),
        AfterUnknown::RetryOnce => Ok(Repeat::AfterUnknown),
    }
}

impl From<EndCause> for Cause {
    fn from(cause: EndCause) -> Self {
        match cause {
            EndCause::Logout => Self::Logout,
            EndCause::InvalidGrant => Self::InvalidGrant,
            EndCause::Rollback => Self::Rollback,
            EndCause::Replaced => Self::Replaced,
            EndCause::IdTokenMismatch => Self::IdTokenMismatch,
            EndCause::Lifetime => Self::Lifetime,
            EndCause::Idle => Self::Idle,
            EndCause::Operator => Self::Operator,
        }
    }
}

impl From<Cause> for EndCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Logout => Self::Logout,
            Cause::InvalidGrant => Self::InvalidGrant,
            Cause::Rollback => Self::Rollback,
            Cause::Replaced => Self::Replaced,
            Cause::IdTokenMismatch => Self::IdTokenMismatch,
            Cause::Lifetime => Self::Lifetime,
            Cause::Idle => Self::Idle,
            Cause::Operator => Self::Operator,
        }
    }
}

#[cfg(test)]
mod tests;

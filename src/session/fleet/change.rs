//! A change of one record: read, decided, written, if nobody was faster.

use tokio::time::Instant;

use super::{Fleet, What, wire};
use crate::base::time::Timestamp;
use crate::session::cookie::seal::OpenError;
use crate::session::model::SessionId;
use crate::session::refresh::stored::Stored;
use crate::store::{Found, Key, StoreError, Swap, Swapped, Version};

/// What a decision about a record comes to.
pub(super) enum Change<T> {
    /// Nothing is written.
    Leave(T),
    /// This is written; everyone is told of it.
    Write(Box<Stored>, T),
    /// This is written; nobody has to know before they ask.
    WriteQuietly(Box<Stored>, T),
}

/// What a record is, once it is opened.
enum Opened {
    Absent,
    Record(Box<Stored>),
    /// It is none of this session's.
    Damaged,
}

impl Change<()> {
    /// Writes what there is to write.
    pub(super) fn of(record: Option<Stored>) -> Self {
        record.map_or(Self::Leave(()), |record| Self::Write(Box::new(record), ()))
    }
}

impl Fleet {
    /// Reads, lets `decide`, and writes if nobody was faster; decides anew otherwise.
    pub(super) async fn change<T>(
        &self,
        sid: &SessionId,
        decide: impl Fn(Option<&Stored>, Timestamp) -> Change<T>,
    ) -> Result<T, StoreError> {
        let key = Key::new("session", sid.as_bytes());
        let mut looked = Instant::now();
        let mut found = self.read(key).await?;
        for _ in 0..TRIES {
            let seen = found.record.as_ref().map(|(version, _)| *version);
            let decided = match self.open(sid, &found)? {
                Opened::Absent => Some(decide(None, found.now)),
                Opened::Record(stored) => Some(decide(Some(&stored), found.now)),
                Opened::Damaged => None,
            };
            let (record, note, outcome) = match decided {
                Some(Change::Leave(outcome)) => return Ok(outcome),
                Some(Change::Write(record, outcome)) => {
                    let note = wire::note(&self.sealer, &record);
                    (record, note, Some(outcome))
                }
                Some(Change::WriteQuietly(record, outcome)) => (record, None, Some(outcome)),
                None => {
                    // Whoever held its lease may be spending the token: it is waited for, from now on.
                    let until = found.now.plus(self.terms.lease);
                    (Box::new(Stored::damaged(*sid, until)), None, None)
                }
            };
            // Who stood still after it looked decided by a time that is over: a lease from then has run out.
            if looked.elapsed() > self.means.timeout {
                looked = Instant::now();
                found = self.read(key).await?;
                continue;
            }
            let value = wire::seal(&self.sealer, &record).ok_or(StoreError::Refused)?;
            let version = Version::new();
            let written = Some((version, value.clone()));
            let swap = Swap { key, seen, version, value, keep_for: self.terms.keep_for, note };
            let asked = self.means.clock.own_now();
            looked = Instant::now();
            match (self.timed(self.means.store.swap(swap)).await?, outcome) {
                (Swapped::Done(now), outcome) => {
                    self.observe(now, asked);
                    match outcome {
                        Some(outcome) => return Ok(outcome),
                        None => found = Found { record: written, now },
                    }
                }
                (Swapped::Lost(newer), _) => found = newer,
            }
        }
        Err(StoreError::Refused)
    }

    pub(super) async fn read(&self, key: Key) -> Result<Found, StoreError> {
        let asked = self.means.clock.own_now();
        let found = self.timed(self.means.store.read(key)).await?;
        self.observe(found.now, asked);
        Ok(found)
    }

    /// The record that was found. What a newer release wrote, or a key that is not here sealed, is left alone.
    fn open(&self, sid: &SessionId, found: &Found) -> Result<Opened, StoreError> {
        let Some((_, value)) = &found.record else { return Ok(Opened::Absent) };
        let why = match wire::open(&self.sealer, value) {
            Ok(record) if record.sid == *sid => return Ok(Opened::Record(Box::new(record))),
            Ok(_) => OpenError::Forged,
            Err(why) => why,
        };
        self.strange.met(What::Record, why);
        match why {
            OpenError::Forged | OpenError::Malformed => Ok(Opened::Damaged),
            OpenError::UnknownKey | OpenError::UnknownVersion => Err(StoreError::Unreadable),
        }
    }
}

/// How often a change is tried again because somebody was faster. Replicas do a handful of things to one session.
const TRIES: usize = 32;

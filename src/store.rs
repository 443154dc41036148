//! What all replicas share: small records, a log of denials, and a signal.
//!
//! Knows nothing of sessions: names are hashes, values are bytes that were sealed before they came here, so whoever
//! reads the store reads no token. What the bytes mean, and what follows where the store does not answer, is decided
//! by the callers.
//!
//! A record is changed only by [`Store::swap`], which does nothing where somebody else was faster. That is all the
//! atomicity that the protocol of sessions needs: what is written is computed from what was read, in one place,
//! without a store and without a clock, whatever implements this trait.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::base::secret::{random, sha256};
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};

pub mod file;
pub mod memory;
pub mod redis;
pub mod settings;

/// Opens the store that the configuration names; `None` where replicas share nothing.
///
/// # Errors
/// Only where it can never work. A server that is away is looked for as long as this process lives.
pub fn open(
    settings: &settings::Settings,
    tasks: &Tasks,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Store>>, OpenError> {
    let outage = &settings.outage;
    let store: Arc<dyn Store> = match &settings.kind {
        settings::Kind::Memory => {
            tracing::info!(
                store = settings.kind.label(),
                "sessions are remembered by this replica alone: a second one beside it is only as safe as the \
                 provider's overlap for spent refresh tokens"
            );
            return Ok(None);
        }
        settings::Kind::File(path) => Arc::new(file::FileStore::open(path, clock).map_err(OpenError::File)?),
        settings::Kind::Redis(redis) => {
            Arc::new(redis::RedisStore::open(redis, tasks).map_err(OpenError::Redis)?)
        }
    };
    tracing::info!(
        store = settings.kind.label(),
        outage_denials = outage.denials.label(),
        outage_refresh = outage.refresh.label(),
        outage_after = ?outage.after,
        "replicas share a store"
    );
    Ok(Some(store))
}

/// Why there is no store, and will be none.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be one.
    #[error("the store's file cannot be used")]
    File(#[source] file::FileError),
    /// The address leads nowhere.
    #[error("the store cannot be used")]
    Redis(#[source] redis::AddressError),
}

/// What a store's operation is until it is done.
///
/// Cancel safety: dropping it stops the wait; the operation itself may still happen.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What all replicas share.
///
/// # Security
/// A store may lie in one direction only: it may forget. A record that is gone makes a session look like one that
/// was never refreshed, which costs a login or a second use of a refresh token; values that were made up or moved do
/// not open, and count as gone.
pub trait Store: fmt::Debug + Send + Sync {
    /// Reads a record.
    fn read(&self, key: Key) -> Pending<'_, Found>;

    /// Replaces a record, if it still is what the caller has seen.
    fn swap(&self, swap: Swap) -> Pending<'_, Swapped>;

    /// Appends an entry to the log, where it stays for `keep_for` at least.
    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()>;

    /// The entries after `cursor`, in their order, at most a few hundred at a time. Where there is none, waits up to
    /// `patience` for one and answers with an empty batch then.
    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch>;

    /// The notes of swaps from now on. One may be lost, where a connection was: they only save waiting.
    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>>;

    /// Since when this process alone is at the store, where one process at a time can be; `None` where others may be.
    fn held_since(&self) -> Option<Timestamp> {
        None
    }

    /// When this process noticed that the store had lost its records, by the store's clock; `None` where it has not.
    fn data_lost_at(&self) -> Option<Timestamp> {
        None
    }
}

/// The name of a record: a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Names what `kind` calls `name`.
    pub fn new(kind: &'static str, name: &[u8]) -> Self {
        Self(sha256(&[kind.as_bytes(), &[0], name].concat()))
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Which writing of a record is meant. Random, so that a record which was lost and made again is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version([u8; 16]);

impl Version {
    /// That of a new writing.
    pub fn new() -> Self {
        Self(random())
    }

    /// One that was stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Default for Version {
    fn default() -> Self {
        Self::new()
    }
}

/// A record as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its version and value; `None` where there is none.
    pub record: Option<(Version, Vec<u8>)>,
    /// What the store's clock said.
    pub now: Timestamp,
}

/// A change of a record.
#[derive(Debug, Clone)]
pub struct Swap {
    /// Which record.
    pub key: Key,
    /// What the caller has seen; `None` where there was none.
    pub seen: Option<Version>,
    /// The version of what is written.
    pub version: Version,
    /// What is written.
    pub value: Vec<u8>,
    /// How long the record stays if nobody writes it again.
    pub keep_for: Duration,
    /// What everyone is told once it is written.
    pub note: Option<Vec<u8>>,
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// It was written, when the store's clock said this.
    Done(Timestamp),
    /// Somebody was faster: this is what is there.
    Lost(Found),
}

/// A place in the log; the default is its beginning. Means something to the store that made it only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(pub(crate) String);

/// Entries of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The entries, oldest first.
    pub entries: Vec<Vec<u8>>,
    /// Where to go on.
    pub cursor: Cursor,
    /// What the store's clock said.
    pub now: Timestamp,
}

/// Why the store did not do what it was asked. Whether it happened all the same is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no connection, or it broke.
    #[error("the store cannot be reached")]
    Unreachable,
    /// The deadline passed.
    #[error("the store did not answer in time")]
    TimedOut,
    /// What is there was written by a newer release, or sealed with a key that is not here. Said by those who read
    /// it, never by a store.
    #[error("what the store has cannot be read here")]
    Unreadable,
    /// It answered with an error: it is full, read-only, loading, or refuses our user.
    #[error("the store refused")]
    Refused,
}

impl StoreError {
    /// The word for it in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod conformance;

/// Notes that a listener may lag behind before it misses some.
const NOTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_are_fixed() {
        // Another name for a session would hide its record from the release beside this one.
        let name = Key::new("session", &[9; 16]);
        let name = base64_simd::URL_SAFE_NO_PAD.encode_to_string(name.as_bytes());
        assert_eq!(name, "TWBXtUMl-FTXoFE-aanjBX9X2CcJe_tDgwKMooJkarw");
    }
}

//! The store in Redis or Valkey.
//!
//! A record is a hash `{prefix}r:{key}` with its version `v` and its value `d`, the log is the stream `{prefix}denials`,
//! notes are published on `{prefix}notes`, and `{prefix}epoch` is lost when the data are. Values were sealed before they
//! came here, keys are hashes (std:177). In a cluster there are sixteen epochs, `{prefix}epoch:{tag}`, spread over it.
//!
//! Every operation ends within the deadline, whatever the server does. An append may be refused to the caller and happen
//! all the same.

mod answers;
mod backoff;
mod connect;
mod eviction;
mod link;
mod log;
mod notes;
mod scripts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::settings::{self, Topology};
use super::{Batch, Cursor, Found, Key, NOTES, Pending, Store, StoreError, Swap, Swapped};
use crate::base::tasks::Tasks;
use crate::base::time::Timestamp;
pub use connect::AddressError;
use connect::Dialer;
use link::Link;
use log::Log;

/// Records, the log and notes in Redis.
pub struct RedisStore {
    link: Arc<Link>,
    log: Log,
    notes: broadcast::Sender<Arc<[u8]>>,
    prefix: String,
    channel: String,
    tasks: [JoinHandle<()>; 2],
}

impl RedisStore {
    /// Begins to connect, and goes on trying for as long as this lives.
    ///
    /// # Errors
    /// Where the settings can never lead to a connection. A server that is away is no error.
    pub fn open(settings: &settings::Redis, tasks: &Tasks) -> Result<Self, AddressError> {
        let prefix = settings.prefix.clone();
        let epochs = epochs(&prefix, &settings.topology);
        let link = Link::new(Dialer::new(settings)?, epochs, settings.timeout);
        let link = Arc::new(link);
        let channel = format!("{prefix}notes");
        let notes = broadcast::channel(NOTES).0;
        let keeper = tasks.spawn_endless(Arc::clone(&link).keep());
        let listener = tasks.spawn_endless(notes::follow(Arc::clone(&link), channel.clone(), notes.clone()));
        let log = Log::new(Arc::clone(&link), tasks.clone(), format!("{prefix}denials"));
        Ok(Self { link, log, notes, prefix, channel, tasks: [keeper, listener] })
    }

    fn name(&self, key: Key) -> String {
        format!("{}r:{}", self.prefix, base64_simd::URL_SAFE_NO_PAD.encode_to_string(key.as_bytes()))
    }

    async fn read_record(&self, key: Key) -> Result<Found, StoreError> {
        let answer = self.link.run(&self.link.scripts.read, &self.name(key), &[]).await?;
        let (now, mut parts) = answers::timed(answer)?;
        answers::found(now, parts.next(), parts.next())
    }

    async fn swap_record(&self, swap: Swap) -> Result<Swapped, StoreError> {
        let keep_for = millis(swap.keep_for);
        let seen = swap.seen.as_ref().map_or(&[][..], |seen| seen.as_bytes());
        let channel = if swap.note.is_some() { self.channel.as_bytes() } else { &[] };
        let note = swap.note.as_deref().unwrap_or_default();
        let arguments: &[&[u8]] =
            &[seen, swap.version.as_bytes(), &swap.value, keep_for.as_bytes(), channel, note];
        let answer = self.link.run(&self.link.scripts.swap, &self.name(swap.key), arguments).await?;
        let (now, mut parts) = answers::timed(answer)?;
        let there = answers::found(now, parts.next(), parts.next())?;
        Ok(if answers::number(parts.next())? == 1 { Swapped::Done(now) } else { Swapped::Lost(there) })
    }
}

/// The names that are lost with the data.
fn epochs(prefix: &str, topology: &Topology) -> Vec<String> {
    match topology {
        Topology::Single(_) | Topology::Sentinel { .. } => vec![format!("{prefix}epoch")],
        Topology::Cluster { .. } => SIXTEENTHS.map(|tag| format!("{prefix}epoch:{{{tag}}}")).to_vec(),
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Store for RedisStore {
    fn read(&self, key: Key) -> Pending<'_, Found> {
        Box::pin(self.read_record(key))
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        Box::pin(self.swap_record(swap))
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        Box::pin(async move { self.log.append(&entry, &millis(keep_for)).await })
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        Box::pin(self.log.entries(cursor, patience))
    }

    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.notes.subscribe()
    }

    fn data_lost_at(&self) -> Option<Timestamp> {
        self.link.data_lost_at()
    }
}

/// Milliseconds as Redis takes them; it refuses sums with its clock that do not fit.
fn millis(duration: Duration) -> String {
    duration.min(LONGEST).as_millis().to_string()
}

/// A century.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Hash tags of which each sixteenth of a cluster's slots has one, so that every node has some that holds an eighth of
/// them in one piece.
const SIXTEENTHS: [u8; 16] = [10, 3, 61, 43, 11, 2, 60, 42, 12, 1, 63, 41, 13, 0, 62, 40];

#[cfg(test)]
mod tests {
    use super::*;

    /// The slot of a hash tag, by the cluster specification: CRC-16/XMODEM modulo 16,384.
    fn slot(tag: u8) -> usize {
        let step = |sum: u16, byte: u8| {
            (0..8).fold(sum ^ u16::from(byte) << 8, |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
            })
        };
        usize::from(tag.to_string().bytes().fold(0, step)) % 16_384
    }

    #[test]
    fn each_sixteenth_of_a_cluster_has_an_epoch() {
        let sixteenths = SIXTEENTHS.map(|tag| slot(tag) / 1024);
        assert_eq!(sixteenths.to_vec(), (0..16).collect::<Vec<_>>());
    }
}

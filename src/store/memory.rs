//! A store in the memory of one process.
//!
//! What tests and simulations share between their replicas. What is over is dropped now and then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use super::{Batch, Cursor, Found, Key, NOTES, Pending, Store, Swap, Swapped, Version};
use crate::base::time::{Clock, Timestamp};

/// Records and the log, in this process.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    data: Mutex<Data>,
    notes: broadcast::Sender<Arc<[u8]>>,
    appended: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Data {
    records: BTreeMap<Key, Record>,
    log: VecDeque<Entry>,
    last: u64,
    swaps: u32,
}

#[derive(Debug)]
struct Record {
    version: Version,
    value: Vec<u8>,
    until: Timestamp,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    bytes: Vec<u8>,
    until: Timestamp,
}

impl MemoryStore {
    /// An empty one that goes by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            data: Mutex::default(),
            notes: broadcast::channel(NOTES).0,
            appended: watch::Sender::new(0),
        }
    }

    /// Loses everything, as a store without persistence does when it is started anew.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        let mut data = self.data();
        // Places in the log go on from where they were, as those of stores that count by time do.
        *data = Data { last: data.last, ..Data::default() };
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, swap: Swap) -> Swapped {
        let now = self.clock.now();
        let mut data = self.data();
        data.sweep_sometimes(now);
        let there = data.found(swap.key, now);
        if there.record.as_ref().map(|(version, _)| *version) != swap.seen {
            return Swapped::Lost(there);
        }
        let until = now.plus(swap.keep_for);
        data.records.insert(swap.key, Record { version: swap.version, value: swap.value, until });
        if let Some(note) = swap.note {
            // Nobody may be listening.
            drop(self.notes.send(Arc::from(note)));
        }
        Swapped::Done(now)
    }

    fn after(&self, cursor: &Cursor) -> Batch {
        let after: u64 = cursor.0.parse().unwrap_or_default();
        let now = self.clock.now();
        let mut data = self.data();
        data.log.retain(|entry| now < entry.until);
        let entries: Vec<&Entry> = data.log.iter().filter(|entry| entry.number > after).take(BATCH).collect();
        let last = entries.last().map_or(after, |entry| entry.number);
        let entries = entries.iter().map(|entry| entry.bytes.clone()).collect();
        Batch { entries, cursor: Cursor(last.to_string()), now }
    }
}

impl Data {
    fn found(&self, key: Key, now: Timestamp) -> Found {
        let record = self.records.get(&key).filter(|record| now < record.until);
        Found { record: record.map(|record| (record.version, record.value.clone())), now }
    }

    fn sweep_sometimes(&mut self, now: Timestamp) {
        self.swaps = self.swaps.wrapping_add(1);
        if self.swaps.is_multiple_of(SWEEP) {
            self.records.retain(|_, record| now < record.until);
        }
    }
}

impl Store for MemoryStore {
    fn read(&self, key: Key) -> Pending<'_, Found> {
        let found = self.data().found(key, self.clock.now());
        Box::pin(async move { Ok(found) })
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        Box::pin(async move { Ok(self.write(swap)) })
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        Box::pin(async move {
            let until = self.clock.now().plus(keep_for);
            let number = {
                let mut data = self.data();
                data.last += 1;
                let number = data.last;
                data.log.push_back(Entry { number, bytes: entry, until });
                number
            };
            self.appended.send_replace(number);
            Ok(())
        })
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        Box::pin(async move {
            let mut appended = self.appended.subscribe();
            let batch = self.after(&cursor);
            if !batch.entries.is_empty() {
                return Ok(batch);
            }
            // Either something was appended or the patience is over: the answer is the same look.
            drop(tokio::time::timeout(patience, appended.changed()).await);
            Ok(self.after(&cursor))
        })
    }

    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.notes.subscribe()
    }
}

/// How many entries one look at the log brings.
const BATCH: usize = 500;
/// After so many swaps what is over is dropped.
const SWEEP: u32 = 1024;

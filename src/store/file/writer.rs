//! The thread that holds the file: does what is in line, commits once, answers.
//!
//! After an error of the disk the file is closed and opened again before the next work; until that succeeds everything
//! is refused.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, Durability, Error};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::tables::Tables;
use super::{Missing, open};
use crate::base::time::{Clock, Timestamp};
use crate::store::{Batch, Cursor, Found, Key, StoreError, Swap, Swapped};

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Job {
    /// Read a record.
    Read { key: Key, answer: Answer<Found> },
    /// Replace a record.
    Swap { swap: Swap, answer: Answer<Swapped> },
    /// Append to the log.
    Append { entry: Vec<u8>, keep_for: Duration, answer: Answer<()> },
    /// Read the log.
    Look { after: u64, answer: Answer<Batch> },
}

/// The thread's own things.
pub(super) struct Writer {
    path: PathBuf,
    /// `None` after an error, until it is open again.
    database: Option<Database>,
    clock: Arc<dyn Clock>,
    notes: broadcast::Sender<Arc<[u8]>>,
    appended: watch::Sender<u64>,
}

/// Says what came of a job, once it is known whether it was committed.
type Finish = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Whether a job changed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    Change,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        database: Database,
        clock: Arc<dyn Clock>,
        (notes, appended): (broadcast::Sender<Arc<[u8]>>, watch::Sender<u64>),
    ) -> Self {
        Self { path, database: Some(database), clock, notes, appended }
    }

    /// Works until nobody can ask any more.
    pub(super) fn work(mut self, mut line: mpsc::Receiver<Job>) {
        let mut jobs = Vec::new();
        let mut told = None;
        while line.blocking_recv_many(&mut jobs, TOGETHER) > 0 {
            let mut finishes = Vec::new();
            let outcome = self.commit(jobs.drain(..), &mut finishes);
            let failure = outcome.as_ref().err().map(reason);
            if failure.is_some() {
                self.database = None;
            }
            if let Some(reason) = failure.filter(|reason| told != Some(*reason)) {
                tracing::error!(
                    reason,
                    "the store's file cannot be written; trying again with each operation"
                );
            }
            told = failure;
            for finish in finishes {
                finish(outcome.as_ref().copied().map_err(|_| StoreError::Refused));
            }
        }
    }

    /// Does `jobs` in one transaction. Where it fails, those that were not begun are dropped, which refuses them.
    fn commit(&mut self, jobs: impl Iterator<Item = Job>, finishes: &mut Vec<Finish>) -> Result<(), Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => open(&self.path, Missing::Refused).map_err(|_| Error::DatabaseClosed)?,
        };
        let database = self.database.insert(database);
        let now = self.clock.now();
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(|_| Error::DatabaseClosed)?;
        let mut effect = Effect::None;
        {
            let mut tables = Tables::open(&transaction)?;
            for job in jobs {
                let (finish, done) = run(job, &mut tables, now, (&self.notes, &self.appended))?;
                finishes.push(finish);
                if done == Effect::Change {
                    effect = Effect::Change;
                }
            }
            if effect == Effect::Change {
                tables.sweep(now)?;
            }
        }
        match effect {
            Effect::Change => transaction.commit()?,
            Effect::None => transaction.abort()?,
        }
        Ok(())
    }
}

fn run(
    job: Job,
    tables: &mut Tables<'_>,
    now: Timestamp,
    (notes, appended): (&broadcast::Sender<Arc<[u8]>>, &watch::Sender<u64>),
) -> Result<(Finish, Effect), Error> {
    let found = |tables: &Tables<'_>, key| -> Result<Found, Error> {
        let record = tables.record(key, now)?;
        Ok(Found { record: record.map(|record| (record.version, record.value)), now })
    };
    Ok(match job {
        Job::Read { key, answer } => (finish(answer, found(tables, key)?), Effect::None),
        Job::Swap { swap, answer } => {
            let there = found(tables, swap.key)?;
            if there.record.as_ref().map(|(version, _)| *version) != swap.seen {
                return Ok((finish(answer, Swapped::Lost(there)), Effect::None));
            }
            tables.write(swap.key, swap.version, &swap.value, now.plus(swap.keep_for))?;
            let notes = notes.clone();
            let finish = move |outcome: Result<(), StoreError>| {
                if let (Ok(()), Some(note)) = (outcome, swap.note) {
                    // Nobody may be listening.
                    drop(notes.send(Arc::from(note)));
                }
                drop(answer.send(outcome.map(|()| Swapped::Done(now))));
            };
            (Box::new(finish), Effect::Change)
        }
        Job::Append { entry, keep_for, answer } => {
            let number = tables.append(&entry, now.plus(keep_for))?;
            let (appended, told) = (appended.clone(), finish(answer, ()));
            let finish = move |outcome: Result<(), StoreError>| {
                if outcome.is_ok() {
                    appended.send_replace(number);
                }
                told(outcome);
            };
            (Box::new(finish), Effect::Change)
        }
        Job::Look { after, answer } => {
            let (entries, last) = tables.entries(after, now)?;
            (finish(answer, Batch { entries, cursor: Cursor(last.to_string()), now }), Effect::None)
        }
    })
}

/// An answer to somebody who may have left.
fn finish<T: 'static>(answer: Answer<T>, value: T) -> Finish {
    Box::new(move |outcome| drop(answer.send(outcome.map(|()| value))))
}

/// The word for an error in logs.
fn reason(error: &Error) -> &'static str {
    if matches!(error, Error::Corrupted(_)) {
        "damaged"
    } else if let Error::Io(error) = error {
        if error.kind() == std::io::ErrorKind::StorageFull { "disk full" } else { "disk" }
    } else if matches!(error, Error::DatabaseClosed) {
        "closed"
    } else {
        "other"
    }
}

/// What shares a commit at most: one that fails fails them all.
const TOGETHER: usize = 256;

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::InMemoryBackend;

    use super::*;
    use crate::base::time::ManualClock;
    use crate::store::file::{FileStore, tables};
    use crate::store::{Store as _, Version};

    /// A disk that is full at will.
    #[derive(Debug)]
    struct Disk(InMemoryBackend, Arc<AtomicBool>);

    impl Disk {
        fn room(&self) -> io::Result<()> {
            let full = self.1.load(Ordering::SeqCst);
            if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.room()?;
            self.0.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.room()?;
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.room()?;
            self.0.write(offset, data)
        }
    }

    fn swap() -> Swap {
        let (key, version) = (Key::new("test", Version::new().as_bytes()), Version::new());
        let note = Some(b"note".to_vec());
        Swap { key, seen: None, version, value: Vec::new(), keep_for: Duration::from_secs(60), note }
    }

    #[tokio::test]
    async fn a_full_disk_refuses_and_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Timestamp::from_secs(1)));
        drop(FileStore::open(&path, Arc::clone(&clock)).unwrap());
        let full = Arc::new(AtomicBool::new(false));
        let disk = Disk(InMemoryBackend::new(), Arc::clone(&full));
        let database = Database::builder().create_with_backend(disk).unwrap();
        assert!(tables::prepare(&database).unwrap());
        let store = FileStore::over(&path, database, clock).unwrap();
        let mut notes = store.notes();
        store.swap(swap()).await.unwrap();
        full.store(true, Ordering::SeqCst);
        // A file that is gone is not made anew: that would hide a loss.
        let moved = folder.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        for _ in 0..3 {
            assert_eq!(store.swap(swap()).await, Err(StoreError::Refused));
            assert!(!path.exists());
        }
        // Of what was not written nobody hears.
        assert!(notes.try_recv().is_ok());
        assert!(notes.try_recv().is_err());
        std::fs::rename(&moved, &path).unwrap();
        let came = store.swap(swap()).await;
        assert!(matches!(came, Ok(Swapped::Done(_))), "{came:?}");
        drop(store);
        assert!(open(&path, Missing::Refused).is_ok());
    }
}

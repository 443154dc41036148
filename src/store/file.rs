//! The store in one file, for a single machine: a restart keeps what was shared.
//!
//! One thread holds the file and does everything in turn, so no caller waits for a disk on a thread that serves requests.
//! What waits in line when the thread looks shares one commit; nobody hears of a change before it is on the disk.
//!
//! No second process may open the file, and a damaged one is never replaced: both are errors that say what to do.

mod tables;
mod writer;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, DatabaseError, StorageError};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::settings::FILE_TIMEOUT;
use super::{Batch, Cursor, Found, Key, NOTES, Pending, Store, StoreError, Swap, Swapped};
use crate::base::time::{Clock, Timestamp};
use writer::{Job, Writer};

/// Records and the log in a file.
pub struct FileStore {
    /// `None` while it is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    notes: broadcast::Sender<Arc<[u8]>>,
    appended: watch::Sender<u64>,
    thread: Option<JoinHandle<()>>,
    opened_at: Timestamp,
}

/// Why a file cannot be a store. Names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process, or another store of this one, holds it.
    #[error("{} is held open by another process: a store in a file is for one gateway", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is no store, or not as it was written.
    #[error(
        "{} is damaged, or no store. Bring back a copy of it, or move it away to begin anew: sessions that were \
         ended may then live again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It was written by another version.
    #[error(
        "{} has a form that this version does not know: start the release that wrote it, or move the file away to \
         begin anew: sessions that were ended may then live again",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{} cannot be used as a store", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl FileStore {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// Where the file cannot be a store.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        Self::over(path, open(path, Missing::Made)?, clock)
    }

    /// Hands `database` over to a thread, which opens `path` where it fails.
    fn over(path: &Path, database: Database, clock: Arc<dyn Clock>) -> Result<Self, FileError> {
        let (jobs, line) = mpsc::channel(LINE);
        let notes = broadcast::channel(NOTES).0;
        let appended = watch::Sender::new(0);
        let opened_at = clock.now();
        let writer = Writer::new(path.to_owned(), database, clock, (notes.clone(), appended.clone()));
        let thread = std::thread::Builder::new().name("bearward-store".to_owned());
        let thread = thread.spawn(move || writer.work(line));
        let thread = thread.map_err(|source| FileError::Io { path: path.to_owned(), source })?;
        Ok(Self { jobs: Some(jobs), notes, appended, thread: Some(thread), opened_at })
    }

    /// Has the thread do something, within the deadline.
    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Unreachable)?;
        let done = async {
            jobs.send(job(answer)).await.map_err(|_| StoreError::Unreachable)?;
            // What the thread could not even begin is dropped with its answer.
            answered.await.map_err(|_| StoreError::Refused)?
        };
        timeout(FILE_TIMEOUT, done).await.unwrap_or(Err(StoreError::TimedOut))
    }

    async fn look(&self, after: u64) -> Result<Batch, StoreError> {
        self.ask(|answer| Job::Look { after, answer }).await
    }

    async fn follow(&self, cursor: Cursor, patience: Duration) -> Result<Batch, StoreError> {
        let until = Instant::now() + patience;
        let after = cursor.0.parse().unwrap_or_default();
        let mut appended = self.appended.subscribe();
        loop {
            let batch = self.look(after).await?;
            if !batch.entries.is_empty() || Instant::now() >= until {
                return Ok(batch);
            }
            // Either something was appended or the patience is over: the answer is the same look.
            drop(timeout_at(until, appended.changed()).await);
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // The lock on the file ends with the thread. What is in line is written before.
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the store's thread has died");
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").finish_non_exhaustive()
    }
}

impl Store for FileStore {
    fn read(&self, key: Key) -> Pending<'_, Found> {
        Box::pin(self.ask(move |answer| Job::Read { key, answer }))
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        Box::pin(self.ask(move |answer| Job::Swap { swap, answer }))
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        Box::pin(self.ask(move |answer| Job::Append { entry, keep_for, answer }))
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        Box::pin(self.follow(cursor, patience))
    }

    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.notes.subscribe()
    }

    fn held_since(&self) -> Option<Timestamp> {
        // The lock on the file says so.
        Some(self.opened_at)
    }
}

/// What becomes of a file that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// It is made.
    Made,
    /// It was there before: to make it would hide a loss.
    Refused,
}

fn open(path: &Path, missing: Missing) -> Result<Database, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    if missing == Missing::Made && !path.exists() {
        make(path).map_err(io)?;
        tracing::info!(path = %path.display(), "a new file for the store");
    }
    let mut builder = Database::builder();
    // A file that was altered is found here, and not in the middle of the work.
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    let opened = match missing {
        Missing::Made => builder.create(path),
        Missing::Refused => builder.open(path),
    };
    let database = opened.map_err(|error| judge(path, error))?;
    match tables::prepare(&database) {
        Ok(true) => Ok(database),
        Ok(false) => Err(FileError::Unknown { path: path.to_owned() }),
        Err(redb::Error::Io(source)) => Err(io(source)),
        Err(_) => Err(FileError::Damaged { path: path.to_owned() }),
    }
}

/// An empty file that only its owner may read.
fn make(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.sync_all()?;
    // Its name must be on the disk too.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else the crate finds wrong with a file is damage"
)]
fn judge(path: &Path, error: DatabaseError) -> FileError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => FileError::InUse { path },
        DatabaseError::UpgradeRequired(_) => FileError::Unknown { path },
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            // What the crate says of a file that does not begin like one of its own, or that ends too early.
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                FileError::Damaged { path }
            }
            _ => FileError::Io { path, source },
        },
        _ => FileError::Damaged { path },
    }
}

/// Operations that may wait in line.
const LINE: usize = 1024;
/// Pages that are kept in memory; the rest is the system's cache.
const CACHE: usize = 4 * 1024 * 1024;

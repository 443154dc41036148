//! The log: read over the connection for commands, waited for over one of its own.
//!
//! A read that blocks would hold up every command behind it. It only wakes: what there is, the script `look` says, which
//! also finds out whether the log was lost and begun anew. So a gap cannot come of a stale place, only a delay of one
//! look.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::RedisError;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::answers::{self, LATE, judge};
use super::connect::Connection;
use super::link::Link;
use crate::base::tasks::Tasks;
use crate::store::{Batch, Cursor, StoreError};

/// Reads the log.
pub(super) struct Log {
    link: Arc<Link>,
    tasks: Tasks,
    key: String,
    /// The connection that waits, while nobody does.
    idle: Mutex<Option<Connection>>,
}

impl Log {
    /// That of the stream `key`.
    pub(super) const fn new(link: Arc<Link>, tasks: Tasks, key: String) -> Self {
        Self { link, tasks, key, idle: Mutex::new(None) }
    }

    /// Appends an entry.
    pub(super) async fn append(&self, entry: &[u8], keep_for: &str) -> Result<(), StoreError> {
        let arguments: &[&[u8]] = &[entry, keep_for.as_bytes()];
        self.link.run(&self.link.scripts.append, &self.key, arguments).await.map(drop)
    }

    /// The entries after `cursor`.
    pub(super) async fn entries(&self, cursor: Cursor, patience: Duration) -> Result<Batch, StoreError> {
        let until = Instant::now() + patience;
        let mut cursor = cursor;
        loop {
            let batch = self.look(&cursor).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !batch.entries.is_empty() || left.is_zero() {
                return Ok(batch);
            }
            cursor = batch.cursor;
            self.wait(&cursor, left.min(SLICE)).await?;
        }
    }

    async fn look(&self, cursor: &Cursor) -> Result<Batch, StoreError> {
        let arguments: &[&[u8]] = &[cursor.0.as_bytes(), BATCH];
        let answer = self.link.run(&self.link.scripts.look, &self.key, arguments).await?;
        let (now, mut parts) = answers::timed(answer)?;
        let cursor = Cursor(answers::text(parts.next())?);
        let entries: Result<Vec<_>, _> = parts.map(|part| answers::bytes(Some(part))).collect();
        Ok(Batch { entries: entries?.into_iter().flatten().collect(), cursor, now })
    }

    /// Waits for an entry after `cursor`.
    async fn wait(&self, cursor: &Cursor, patience: Duration) -> Result<(), StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match idle {
            Some(connection) => match self.block(connection, cursor, patience).await {
                // It broke while nobody used it, which says nothing of the server.
                Err(StoreError::Unreachable) => self.connect().await?,
                came => return came,
            },
            None => self.connect().await?,
        };
        self.block(connection, cursor, patience).await
    }

    async fn block(
        &self,
        mut connection: Connection,
        cursor: &Cursor,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let from = if cursor.0.is_empty() { "0-0" } else { cursor.0.as_str() };
        let mut command = redis::cmd("XREAD");
        // Zero would mean for ever.
        command.arg("COUNT").arg(1).arg("BLOCK").arg(patience.as_millis().max(1).to_string());
        command.arg("STREAMS").arg(&self.key).arg(from);
        // Cancel safety: a connection on which a read was given up is dropped with it, and never used again.
        match timeout(patience + self.link.timeout, connection.ask(&command)).await {
            Ok(Ok(_)) => {
                *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
                Ok(())
            }
            Ok(Err(error)) => Err(judge(&error).error),
            Err(_) => Err(LATE.error),
        }
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        let link = Arc::clone(&self.link);
        // On the runtime of the tasks: a connection dies with the runtime that made it.
        let making = self.tasks.spawn_endless(async move {
            let mut connection = link.dialer.commands(SLICE + link.timeout).await?;
            connection.introduce().await;
            Ok::<_, RedisError>(connection)
        });
        let _stop = StopOnDrop(making.abort_handle());
        match timeout(self.link.timeout, making).await {
            Ok(Ok(made)) => made.map_err(|error| judge(&error).error),
            Ok(Err(_)) => Err(StoreError::Unreachable),
            Err(_) => Err(StoreError::TimedOut),
        }
    }
}

/// Ends the making of a connection that nobody waits for any more.
struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many entries one look brings.
const BATCH: &[u8] = b"500";
/// The longest single wait: a log that was lost while somebody waited at its old end is found within it, and a
/// connection that died without a word.
const SLICE: Duration = Duration::from_secs(5);

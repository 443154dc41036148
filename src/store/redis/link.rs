//! The one connection for commands: kept by one task, shared by all callers.
//!
//! States: opening (callers wait within their deadline), open, down (callers fail at once). A connection that breaks,
//! or on which a deadline passes, is given up and made anew by the task alone, with growing pauses: however many callers
//! there are, a server that comes back sees one connection of each replica.
//!
//! With each connection, and now and then, the task asks for the epochs: names that stand beside the data and are lost
//! with them, one, or in a cluster enough that every node has some. Meeting another one than before means that data are
//! gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use redis::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::answers::{self, Fate, Judged, LATE, judge};
use super::backoff::Backoff;
use super::connect::{Connection, Dialer};
use super::eviction;
use super::scripts::{Script, Scripts};
use crate::base::secret::random_text;
use crate::base::time::Timestamp;
use crate::store::StoreError;

/// The connection for commands, and what is known of the data behind it.
pub(super) struct Link {
    /// Makes connections.
    pub(super) dialer: Dialer,
    /// What is run over them.
    pub(super) scripts: Scripts,
    /// The deadline of an operation.
    pub(super) timeout: Duration,
    epoch_keys: Vec<String>,
    state: watch::Sender<State>,
    data: Mutex<Data>,
}

#[derive(Clone)]
enum State {
    Opening,
    Open { connection: Connection, number: u64 },
    Down(StoreError),
}

#[derive(Default)]
struct Data {
    /// As they were met last, in the order of their keys.
    epochs: HashMap<usize, String>,
    lost_at: Option<Timestamp>,
}

impl Link {
    /// One that is not open yet.
    pub(super) fn new(dialer: Dialer, epoch_keys: Vec<String>, timeout: Duration) -> Self {
        Self {
            dialer,
            scripts: Scripts::new(),
            timeout,
            epoch_keys,
            state: watch::Sender::new(State::Opening),
            data: Mutex::default(),
        }
    }

    /// Runs a script on `key` within the deadline.
    pub(super) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let began = Instant::now();
        let deadline = began + self.timeout;
        let (mut connection, number) =
            timeout_at(deadline, self.connection()).await.map_err(|_| StoreError::TimedOut)??;
        match timeout_at(deadline, script.run(&mut connection, key, arguments)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(number, judge(&error))),
            Err(_) => {
                // Where the wait for a connection took most of the time, the deadline says nothing about it.
                let fair = deadline.duration_since(began) / 2;
                let judged = Judged {
                    connection: if began.elapsed() < fair { Fate::Kept } else { Fate::Lost },
                    ..LATE
                };
                Err(self.failed(number, judged))
            }
        }
    }

    /// When the data were found lost.
    pub(super) fn data_lost_at(&self) -> Option<Timestamp> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner).lost_at
    }

    /// The connection and its number, as soon as one is open or known to be out of reach.
    async fn connection(&self) -> Result<(Connection, u64), StoreError> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Opening)).await;
        match settled.map_err(|_| StoreError::Unreachable)?.clone() {
            State::Open { connection, number } => Ok((connection, number)),
            State::Down(error) => Err(error),
            State::Opening => Err(StoreError::Unreachable),
        }
    }

    /// Gives up connection `number`, where it is to be, unless that has been done.
    fn failed(&self, number: u64, judged: Judged) -> StoreError {
        if judged.connection == Fate::Lost {
            let lost = self.state.send_if_modified(|state| match state {
                State::Open { number: current, .. } if *current == number => {
                    *state = State::Opening;
                    true
                }
                State::Opening | State::Open { .. } | State::Down(_) => false,
            });
            if lost {
                tracing::warn!(reason = judged.reason, "connection to the store given up");
            }
        }
        judged.error
    }

    /// Keeps the connection, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut backoff = Backoff::default();
        let mut number = 0;
        let mut told = None;
        loop {
            match self.open().await {
                Ok(connection) => {
                    number += 1;
                    self.state.send_replace(State::Open { connection: connection.clone(), number });
                    tracing::info!("store connected");
                    told = None;
                    let since = Instant::now();
                    let mut other = connection.clone();
                    let look = async {
                        eviction::check(&mut other, self.timeout).await;
                        std::future::pending::<()>().await;
                    };
                    // Cancel safety: a look that is given up with its connection has warned of nothing.
                    tokio::select! {
                        () = self.watch(connection, number) => {}
                        () = look => {}
                    }
                    backoff.after(since);
                }
                Err(judged) => {
                    self.state.send_replace(State::Down(judged.error));
                    if told != Some(judged.reason) {
                        told = Some(judged.reason);
                        tracing::warn!(
                            reason = judged.reason,
                            "store cannot be reached; trying again for ever"
                        );
                    }
                }
            }
            sleep(backoff.pause()).await;
        }
    }

    /// A connection over which the epoch was read.
    async fn open(&self) -> Result<Connection, Judged> {
        let attempt = async {
            let mut connection = self.dialer.commands(self.timeout).await.map_err(|error| judge(&error))?;
            connection.introduce().await;
            self.meet_epochs(&connection).await?;
            Ok(connection)
        };
        tokio::pin!(attempt);
        if let Ok(done) = timeout(self.timeout, &mut attempt).await {
            return done;
        }
        // It goes on, but nobody waits for it any more.
        self.state.send_replace(State::Down(StoreError::TimedOut));
        timeout(CONNECT, attempt).await.unwrap_or(Err(LATE))
    }

    /// Returns when connection `number` has been given up.
    async fn watch(&self, connection: Connection, number: u64) {
        let mut state = self.state.subscribe();
        let given_up =
            |state: &State| !matches!(state, State::Open { number: current, .. } if *current == number);
        loop {
            if timeout(CHECK, state.wait_for(given_up)).await.is_ok() {
                return;
            }
            match timeout(self.timeout, self.meet_epochs(&connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(judged)) => drop(self.failed(number, judged)),
                Err(_) => drop(self.failed(number, LATE)),
            }
        }
    }

    async fn meet_epochs(&self, connection: &Connection) -> Result<(), Judged> {
        if let [key] = &*self.epoch_keys {
            return self.meet_epoch(connection.clone(), 0, key).await;
        }
        // A node of a cluster that is away tells nothing of the others, and must leave time to hear them.
        let fair = self.timeout * 3 / 4;
        let all = self.epoch_keys.iter().enumerate().map(|(number, key)| async move {
            timeout(fair, self.meet_epoch(connection.clone(), number, key)).await.unwrap_or(Err(LATE))
        });
        let met = join_all(all).await;
        if met.iter().any(Result::is_ok) { Ok(()) } else { met.into_iter().next().unwrap_or(Ok(())) }
    }

    async fn meet_epoch(&self, mut connection: Connection, number: usize, key: &str) -> Result<(), Judged> {
        let new = random_text::<16>();
        let answer = self.scripts.epoch.run(&mut connection, key, &[new.as_bytes()]).await;
        let answer = answer.map_err(|error| judge(&error))?;
        let strange = |error| Judged { error, connection: Fate::Kept, reason: "strange answer" };
        let (now, mut parts) = answers::timed(answer).map_err(strange)?;
        let epoch = answers::text(parts.next()).map_err(strange)?;
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if data.epochs.get(&number).is_some_and(|known| *known != epoch) {
            data.lost_at = Some(now);
            tracing::warn!(
                "the store has lost its data: what was shared is gone, and sessions ended since then may live again"
            );
        }
        data.epochs.insert(number, epoch);
        Ok(())
    }
}

/// An attempt to connect that takes longer is a failed one, though a server that was slow for a moment is not.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How often an open connection is looked at: idle replicas too notice within it that the store is away or empty.
const CHECK: Duration = Duration::from_secs(5);

//! The right to make one refresh, where replicas share a store.
//!
//! A flight asks for the lease, prolongs it while the provider is slow, and gives it back with what it brought. Who
//! does not get it waits to be told, and takes over what the other made. An answer of the store that does not come
//! is waited for; only after an outage that lasts does a replica go on by itself, if it may.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout_at};

use super::record::{Attempt, Lesson, Outcome, Repeat};
use super::stored::{Ask, Release, Stored};
use crate::session::fleet::follow::{jittered, until_done};
use crate::session::fleet::{Claimed, Fleet, Written};
use crate::session::model::SessionId;
use crate::session::mutation::{self, Mutation};
use crate::session::sessions::Shared;
use crate::store::StoreError;
use crate::telemetry::metrics::RefreshOutcome;

/// A lease that is held.
#[derive(Debug)]
pub(crate) struct Lease {
    fleet: Arc<Fleet>,
    ask: Ask,
    /// Whether the token was sent before, by whomever.
    pub(crate) repeat: Repeat,
}

/// What a flight may do.
#[derive(Debug)]
pub(crate) enum Leave {
    /// Spend the token: nobody else does.
    Lease(Lease),
    /// Spend it without a lease: there is no store, or it was away for long.
    Alone,
    /// Nothing: this is what came of it.
    Nothing(Outcome, RefreshOutcome),
}

/// What became of the next generation.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is the newest for the fleet.
    Newest,
    /// Another replica's is, or the session was ended.
    Overruled(Outcome),
    /// The store does not answer: nobody else knows of it yet.
    Untold,
}

/// Asks until there is an answer.
pub(crate) async fn obtain(shared: &Shared, fleet: &Arc<Fleet>, attempt: &Attempt) -> Leave {
    let ask = fleet.ask(&attempt.from, attempt.repeat);
    let begun = Instant::now();
    let mut label = RefreshOutcome::StoreUnavailable;
    loop {
        // While a process ends, nobody waits for a flight but the requests that are still there.
        let patience = if shared.is_draining() { shared.settings.refresh_wait } else { PATIENCE };
        let give_up = begun + patience;
        // Before asking, so that nothing is missed in between.
        let mut told = fleet.listen();
        let asked = Instant::now();
        match fleet.claim(&ask).await {
            // A process that was stopped in between may hold a lease that is over by now.
            Ok(Claimed::Granted(repeat)) if asked.elapsed() < ask.term / 3 => {
                return Leave::Lease(Lease { fleet: Arc::clone(fleet), ask, repeat });
            }
            Ok(Claimed::Granted(_)) => continue,
            Ok(Claimed::Newer(stored)) => {
                return Leave::Nothing(taken_over(shared, &ask.sid, &stored), RefreshOutcome::Elsewhere);
            }
            Ok(Claimed::Ended(cause)) => {
                return Leave::Nothing(Outcome::EndedElsewhere(cause), RefreshOutcome::Elsewhere);
            }
            Ok(Claimed::Spent) => return Leave::Nothing(Outcome::Spent, RefreshOutcome::Elsewhere),
            Ok(Claimed::Wait(wait)) => {
                let until = Instant::now() + wait.clamp(LEAST_WAIT, LOOK_AGAIN);
                wait_until(&mut told, ask.sid, until).await;
            }
            // A newer release is at it, and will answer itself. Nobody waits for ever, and nothing is spent.
            Err(StoreError::Unreadable) if fleet.gives_up_reading() => {
                return Leave::Nothing(Outcome::Spent, RefreshOutcome::Unreadable);
            }
            Err(StoreError::Unreadable) => {
                label = RefreshOutcome::Unreadable;
                sleep(jittered(LOOK_AGAIN)).await;
            }
            Err(_) if fleet.may_go_alone() => {
                shared.count(RefreshOutcome::WithoutLease);
                return Leave::Alone;
            }
            Err(_) => sleep(jittered(TRY_AGAIN)).await,
        }
        if Instant::now() >= give_up {
            return Leave::Nothing(Outcome::Deferred, label);
        }
    }
}

/// Waits for a note about a session. Cancel safety: only waits.
async fn wait_until(told: &mut broadcast::Receiver<SessionId>, sid: SessionId, until: Instant) {
    loop {
        match timeout_at(until, told.recv()).await {
            Ok(Ok(about)) if about != sid => {}
            // Told, or too much was told to be sure, or the time is over.
            Ok(Ok(_) | Err(_)) | Err(_) => return,
        }
    }
}

/// What the store knows of a session, once nobody is judging its newest generation any more.
pub(crate) async fn once_judged(
    fleet: &Fleet,
    sid: SessionId,
    patience: Duration,
) -> Result<Option<Box<Stored>>, StoreError> {
    let give_up = Instant::now() + patience;
    loop {
        // Before looking, so that nothing is missed in between.
        let mut told = fleet.listen();
        let found = fleet.look_up(sid).await?;
        let Some(wait) = found.as_ref().and_then(|stored| fleet.judged_in(stored)) else { return Ok(found) };
        let now = Instant::now();
        if now >= give_up {
            return Err(StoreError::TimedOut);
        }
        wait_until(&mut told, sid, give_up.min(now + wait.clamp(LEAST_WAIT, LOOK_AGAIN))).await;
    }
}

/// The same, as what a flight comes to that another replica has overtaken.
async fn overtaken(shared: &Shared, fleet: &Fleet, stored: Box<Stored>) -> Outcome {
    let sid = stored.sid;
    if fleet.judged_in(&stored).is_none() {
        return taken_over(shared, &sid, &stored);
    }
    match once_judged(fleet, sid, PATIENCE).await {
        Ok(Some(stored)) => match stored.ended() {
            Some(cause) => Outcome::EndedElsewhere(cause),
            None => taken_over(shared, &sid, &stored),
        },
        Ok(None) | Err(_) => Outcome::Deferred,
    }
}

/// What another replica made, as this one takes it over.
pub(crate) fn taken_over(shared: &Shared, sid: &SessionId, stored: &Stored) -> Outcome {
    match shared.open_successor(stored).filter(|_| !mutation::is(Mutation::SuccessorIgnored)) {
        Some((session, cookies)) => {
            shared.registry.carry(sid, session.generation, cookies);
            let generations = stored.generations.clone();
            Outcome::Elsewhere(Lesson { newest: Some(session), generations })
        }
        None if stored.successor.is_some() && shared.gives_up_reading() => Outcome::Spent,
        // The browser has the newer cookie, and nobody else; or a newer release made it.
        None => Outcome::Deferred,
    }
}

impl Lease {
    /// Runs `work`, prolonging the lease meanwhile. Work goes on where that fails: what was sent cannot be unsent.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            // Cancel safety: `work` is only borrowed; a renewal that is dropped may have happened, which is no harm.
            tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                () = sleep(self.ask.term / 3) => {}
            }
            tokio::select! {
                biased;
                outcome = &mut work => return outcome,
                held = self.fleet.renew(&self.ask) => {
                    if held == Ok(false) {
                        tracing::warn!(session = %self.ask.sid.log_id(), "a lease was lost during a refresh");
                    }
                }
            }
        }
    }

    /// Keeps the next generation before its ID token is looked at (rule 3).
    pub(crate) async fn keep(&self, shared: &Shared, successor: &str) -> Fate {
        let written = patiently(|| self.fleet.keep(&self.ask, successor)).await;
        self.fate(shared, written).await
    }

    /// Puts the next generation in its final form, and gives the lease back.
    pub(crate) async fn finish(&self, shared: &Shared, successor: &str) -> Fate {
        let written = patiently(|| self.fleet.finish(&self.ask, successor)).await;
        self.fate(shared, written).await
    }

    async fn fate(&self, shared: &Shared, written: Result<Written, StoreError>) -> Fate {
        match written {
            Ok(Written::Kept) => Fate::Newest,
            Ok(Written::Newer(stored)) => Fate::Overruled(overtaken(shared, &self.fleet, stored).await),
            Ok(Written::Ended(cause)) => Fate::Overruled(Outcome::EndedElsewhere(cause)),
            Err(_) => Fate::Untold,
        }
    }

    /// The provider said `invalid_grant`: over, unless another replica has a newer generation (rule 6), which is what
    /// is returned then.
    pub(crate) async fn grant_is_gone(&self, shared: &Shared) -> Option<Outcome> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.fleet.end_grant(&self.ask).await {
                Ok(None) => return None,
                Ok(Some(stored)) => return Some(overtaken(shared, &self.fleet, stored).await),
                // Perhaps there is a newer one: nobody is logged out on a guess, and the token is not sent again.
                Err(_) if Instant::now() >= give_up || shared.is_draining() => {
                    return Some(Outcome::Spent);
                }
                Err(_) => sleep(jittered(TRY_AGAIN)).await,
            }
        }
    }

    /// Gives the lease back with nothing. A lease that runs out counts as an unknown outcome for other replicas, and
    /// two of those end all attempts, so it is tried for as long as it takes, beside whatever goes on.
    pub(crate) async fn release(&self, shared: &Shared, how: Release) {
        if patiently(|| self.fleet.release(&self.ask, how)).await.is_ok() {
            return;
        }
        tracing::warn!(session = %self.ask.sid.log_id(), "a lease could not be given back");
        let (fleet, ask) = (Arc::clone(&self.fleet), self.ask.clone());
        shared.keep_trying(async move { until_done(LOOK_AGAIN, || fleet.release(&ask, how)).await });
    }
}

/// A few attempts at what must not get lost.
async fn patiently<T, F>(mut operation: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    match operation().await {
        Ok(done) => Ok(done),
        Err(_) => {
            sleep(jittered(TRY_AGAIN)).await;
            operation().await
        }
    }
}

/// How long a flight waits for leave before its session pauses.
const PATIENCE: Duration = Duration::from_secs(30);
/// Notes may get lost: a flight looks by itself now and then.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LEAST_WAIT: Duration = Duration::from_millis(10);
/// After an answer that did not come.
const TRY_AGAIN: Duration = Duration::from_millis(200);

//! The last good copy of a document, renewed by one attempt at a time.
//!
//! States: nothing yet → held → held, last renewal failed → held … A copy is never dropped for a failure (std:8,
//! std:151). When to renew, and how long a copy is good, is its owner's decision. An attempt is a task of its own: a
//! caller that is dropped neither cancels it nor holds up those who wait for it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};

/// Holds one document.
#[derive(Debug)]
pub(super) struct Shelf<T, E> {
    view: Mutex<View<T, E>>,
    turn: tokio::sync::Mutex<()>,
}

/// What the shelf holds at one moment.
#[derive(Debug)]
pub(super) struct View<T, E> {
    /// The last good copy, and when it came.
    pub(super) copy: Option<(Arc<T>, Timestamp)>,
    /// The failure of the last attempt, if it failed.
    pub(super) failure: Option<Failure<E>>,
    /// How many attempts have ended.
    pub(super) attempts: u64,
}

/// Why and since when attempts fail.
#[derive(Debug, Clone)]
pub(super) struct Failure<E> {
    pub(super) error: E,
    /// When the last attempt failed.
    pub(super) at: Timestamp,
    /// When the first attempt after the last success failed.
    pub(super) since: Timestamp,
}

impl<T, E: Clone> Clone for View<T, E> {
    fn clone(&self) -> Self {
        let copy = self.copy.as_ref().map(|(document, at)| (Arc::clone(document), *at));
        Self { copy, failure: self.failure.clone(), attempts: self.attempts }
    }
}

impl<T, E> Shelf<T, E>
where
    T: Send + Sync + 'static,
    E: Clone + Send + 'static,
{
    /// An empty shelf.
    pub(super) fn new() -> Arc<Self> {
        let view = View { copy: None, failure: None, attempts: 0 };
        Arc::new(Self { view: Mutex::new(view), turn: tokio::sync::Mutex::new(()) })
    }

    /// What is there now.
    pub(super) fn view(&self) -> View<T, E> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `work` as an attempt, unless one has ended since `seen`; returns when an attempt has ended.
    pub(super) async fn renew<W>(self: &Arc<Self>, seen: &View<T, E>, clock: &Arc<dyn Clock>, work: W)
    where
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        let attempt = self.attempt(seen.attempts, Arc::clone(clock), work);
        // An attempt that its runtime cancelled leaves the shelf as it was; the caller sees that in the view.
        drop(Tasks::new(Handle::current()).spawn_endless(attempt).await);
    }

    /// The same without waiting; does nothing where an attempt is under way.
    pub(super) fn renew_behind<W>(self: &Arc<Self>, seen: &View<T, E>, clock: &Arc<dyn Clock>, work: W)
    where
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        if self.turn.try_lock().is_ok() {
            let attempt = self.attempt(seen.attempts, Arc::clone(clock), work);
            drop(Tasks::new(Handle::current()).spawn_endless(attempt));
        }
    }

    fn attempt<W>(
        self: &Arc<Self>,
        seen: u64,
        clock: Arc<dyn Clock>,
        work: W,
    ) -> impl Future<Output = ()> + use<W, T, E>
    where
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        let shelf = Arc::clone(self);
        async move {
            let _turn = shelf.turn.lock().await;
            if shelf.view().attempts == seen {
                let outcome = work.await;
                shelf.record(clock.now(), outcome);
            }
        }
    }

    fn record(&self, now: Timestamp, outcome: Result<T, E>) {
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.attempts += 1;
        match outcome {
            Ok(document) => {
                view.copy = Some((Arc::new(document), now));
                view.failure = None;
            }
            Err(error) => {
                let since = view.failure.as_ref().map_or(now, |earlier| earlier.since);
                view.failure = Some(Failure { error, at: now, since });
            }
        }
    }
}

//! What simulations do to tasks: kill a process's, and seed their randomness.
//!
//! Exists in unit tests only.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::task::{AbortHandle, JoinHandle};

use crate::base::secret::seeded;

/// Holds every task of one simulated process.
#[derive(Debug, Default)]
pub(crate) struct Reins(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Where the seeds of tasks come from; none where nothing is simulated.
    seeds: Option<u64>,
    tasks: Vec<AbortHandle>,
    killed: bool,
}

impl Reins {
    /// Each task from now on has randomness of its own, that begins with its place in the order of spawning: what
    /// other tasks draw, and when, does not change it.
    pub(crate) fn seed(&self, seed: u64) {
        self.state().seeds = Some(seed);
    }

    /// Drops every task at whatever await point it is, and each that is spawned later before it begins.
    pub(crate) fn kill(&self) {
        let tasks = {
            let mut state = self.state();
            state.killed = true;
            std::mem::take(&mut state.tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    pub(super) fn hold<F: Future>(&self, work: F) -> Held<F> {
        let stream = self.state().seeds.as_mut().map(seeded::next);
        Held { stream, work: Box::pin(work) }
    }

    pub(super) fn note<T>(&self, task: &JoinHandle<T>) {
        let mut state = self.state();
        if state.seeds.is_none() {
            return;
        }
        if state.killed {
            task.abort();
        }
        state.tasks.retain(|task| !task.is_finished());
        state.tasks.push(task.abort_handle());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work with its own randomness.
#[derive(Debug)]
pub(super) struct Held<F> {
    stream: Option<u64>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(stream) = self.stream else { return self.work.as_mut().poll(context) };
        let around = seeded::replace(Some(stream));
        let polled = self.work.as_mut().poll(context);
        self.stream = seeded::replace(around);
        polled
    }
}

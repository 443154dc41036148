//! What simulations do to a process's tasks: kill, stop, let go on, seed.
//!
//! Exists in unit tests only.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

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
    stopped: bool,
    /// Who was woken while all stood still.
    woken: Vec<Waker>,
}

impl Reins {
    /// Each task from now on has randomness of its own, that begins with its place in the order of spawning: what
    /// other tasks draw, and when, does not change it.
    pub(crate) fn seed(&self, seed: u64) {
        self.state().seeds = Some(seed);
    }

    /// Drops every task at whatever await point it is, and each that is spawned later before it begins.
    pub(crate) fn kill(&self) {
        let (tasks, _woken) = {
            let mut state = self.state();
            state.killed = true;
            state.stopped = false;
            (std::mem::take(&mut state.tasks), std::mem::take(&mut state.woken))
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Stops every task where it waits, as a stopped process does: time goes on around it, what it sent goes its way,
    /// what is sent to it waits.
    pub(crate) fn stop(&self) {
        self.state().stopped = true;
    }

    /// Lets them go on. Who was woken meanwhile goes on in an order that `seed` tells: nothing promises another.
    pub(crate) fn go_on(&self, mut seed: u64) {
        let mut woken = {
            let mut state = self.state();
            state.stopped = false;
            std::mem::take(&mut state.woken)
        };
        while !woken.is_empty() {
            let count = u64::try_from(woken.len()).unwrap_or(1);
            let next = usize::try_from(seeded::next(&mut seed) % count).unwrap_or(0);
            woken.swap_remove(next).wake();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits while all stand still.
    pub(crate) async fn moving(&self) {
        poll_fn(|context| if self.waits(context) { Poll::Pending } else { Poll::Ready(()) }).await;
    }

    fn waits(&self, context: &Context<'_>) -> bool {
        let mut state = self.state();
        if state.stopped {
            state.woken.push(context.waker().clone());
        }
        state.stopped
    }

    pub(super) fn hold<F: Future>(self: &Arc<Self>, work: F) -> Held<F> {
        let stream = self.state().seeds.as_mut().map(seeded::next);
        Held { reins: Arc::clone(self), stream, work: Box::pin(work) }
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
    reins: Arc<Reins>,
    stream: Option<u64>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Held<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(stream) = self.stream else { return self.work.as_mut().poll(context) };
        if self.reins.waits(context) {
            return Poll::Pending;
        }
        let around = seeded::replace(Some(stream));
        let polled = self.work.as_mut().poll(context);
        self.stream = seeded::replace(around);
        polled
    }
}

//! A store that fails: slow, cut off, forgetful, its answers and notes lost.

use std::cell::Cell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::sleep;

use super::ledger::Ledger;
use super::ledger::TrueClock;
use super::plan::{Dice, Profile, StoreFault};
use crate::base::secret::random;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Cursor, Found, Key, Pending, Store, StoreError, Swap, Swapped};

/// What the replicas of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    ledger: Arc<Ledger>,
    memory: MemoryStore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<StoreFault>,
    lost_at: Option<Timestamp>,
}

/// One replica's line to the store.
#[derive(Debug)]
pub(super) struct StoreLine {
    shared: Arc<Shared>,
    replica: usize,
    notes: broadcast::Sender<Arc<[u8]>>,
}

impl Shared {
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        let memory = MemoryStore::new(Arc::new(TrueClock(Arc::clone(&ledger))));
        Self { ledger, memory, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fail(&self, fault: Option<StoreFault>) {
        self.state().fault = fault;
    }

    /// Whether it fails anybody now.
    pub(super) fn fails(&self) -> bool {
        self.state().fault.is_some()
    }

    pub(super) fn forget(&self) {
        self.memory.forget();
        self.state().lost_at = Some(TrueClock(Arc::clone(&self.ledger)).now());
    }

    pub(super) fn is_cut(&self, replica: usize) -> bool {
        matches!(self.state().fault, Some(StoreFault::Cut(whom)) if whom >> replica & 1 == 1)
    }

    fn lossy(&self) -> u64 {
        match self.state().fault {
            Some(StoreFault::Lossy(chance)) => chance,
            Some(StoreFault::Cut(_)) | None => 0,
        }
    }
}

impl StoreLine {
    /// A line for the process whose tasks run in `tasks`.
    pub(super) fn new(shared: &Arc<Shared>, replica: usize, tasks: &Tasks) -> Self {
        let notes = broadcast::channel(1024).0;
        let (from, to, line) = (shared.memory.notes(), notes.clone(), Arc::clone(shared));
        drop(tasks.spawn_endless(relay(from, to, line, replica)));
        Self { shared: Arc::clone(shared), replica, notes }
    }

    async fn through<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let shared = &self.shared;
        ASKED.set(ASKED.get() + 1);
        let mut dice = Dice::new(u64::from_le_bytes(random()));
        let lost = dice.percent(shared.lossy());
        if shared.is_cut(self.replica) || (lost && dice.percent(50)) {
            return refuse(&mut dice).await;
        }
        sleep(Duration::from_millis(dice.range(1, 10))).await;
        let answer = operation.await;
        sleep(Duration::from_millis(dice.range(1, 10))).await;
        if shared.is_cut(self.replica) || lost {
            return refuse(&mut dice).await;
        }
        answer
    }
}

/// No answer, or a broken connection.
async fn refuse<T>(dice: &mut Dice) -> Result<T, StoreError> {
    if dice.percent(50) {
        return pending().await;
    }
    sleep(Duration::from_millis(20)).await;
    Err(dice.one(&[StoreError::Unreachable, StoreError::Refused]))
}

async fn relay(
    mut from: broadcast::Receiver<Arc<[u8]>>,
    to: broadcast::Sender<Arc<[u8]>>,
    shared: Arc<Shared>,
    replica: usize,
) {
    while let Ok(note) = from.recv().await {
        let mut dice = Dice::new(u64::from_le_bytes(random()));
        let calm = shared.ledger.setup.profile == Profile::Calm;
        let lost = (!calm && dice.percent(10)) || shared.is_cut(replica) || dice.percent(shared.lossy());
        let times = if lost { 0 } else { dice.one(&[1, 1, 1, 2]) };
        for _ in 0..times {
            drop(to.send(Arc::clone(&note)));
        }
    }
}

impl Store for StoreLine {
    fn read(&self, key: Key) -> Pending<'_, Found> {
        Box::pin(self.through(async move { self.shared.memory.read(key).await }))
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        Box::pin(self.through(async move { self.shared.memory.swap(swap).await }))
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        Box::pin(self.through(async move { self.shared.memory.append(entry, keep_for).await }))
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        Box::pin(self.through(async move { self.shared.memory.entries(cursor, patience).await }))
    }

    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.notes.subscribe()
    }

    fn data_lost_at(&self) -> Option<Timestamp> {
        self.shared.state().lost_at
    }
}

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// What a request waits for; tells besides how often the store was asked for it.
pub(super) struct OnTheWay<F>(Pin<Box<F>>, usize);

impl<F: Future> OnTheWay<F> {
    pub(super) fn new(work: F) -> Self {
        Self(Box::pin(work), 0)
    }
}

impl<F: Future> Future for OnTheWay<F> {
    type Output = (F::Output, usize);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(F::Output, usize)> {
        let before = ASKED.get();
        let polled = self.0.as_mut().poll(context);
        self.1 += ASKED.get() - before;
        polled.map(|output| (output, self.1))
    }
}

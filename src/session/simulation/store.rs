//! A store that fails: slow, cut off, forgetful, its answers and notes lost.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::sleep;

use super::ledger::Ledger;
use super::ledger::TrueClock;
use super::plan::{Dice, Profile, StoreFault};
use crate::base::secret::random;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};
use crate::session::cookie::seal::{Purpose, Sealer};
use crate::session::fleet::wire;
use crate::session::model::SessionId;
use crate::session::refresh::stored::Stored;
use crate::session::settings::tests::settings;
use crate::store::memory::MemoryStore;
use crate::store::{Batch, Cursor, Found, Key, Pending, Store, StoreError, Swap, Swapped};

/// What the replicas of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    ledger: Arc<Ledger>,
    memory: MemoryStore,
    sealer: Sealer,
    /// Where operations travel.
    wires: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<StoreFault>,
    lost_at: Option<Timestamp>,
    /// Who is told of when they ask for something of a session, and how much later.
    doomed: BTreeMap<usize, u64>,
    looks: Option<mpsc::UnboundedSender<Look>>,
    /// Every record as it was last written.
    records: BTreeMap<Key, Stored>,
}

/// Something that is to happen during a look at the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) replica: usize,
    pub(super) at: u64,
}

/// One replica's line to the store.
#[derive(Debug)]
pub(super) struct StoreLine {
    shared: Arc<Shared>,
    replica: usize,
    notes: broadcast::Sender<Arc<[u8]>>,
}

impl Shared {
    pub(super) fn new(ledger: Arc<Ledger>, wires: Tasks) -> Self {
        let memory = MemoryStore::new(Arc::new(TrueClock(Arc::clone(&ledger))));
        let sealer = Sealer::new(&settings().keys, Purpose::Store, "record").unwrap();
        Self { ledger, memory, sealer, wires, state: Mutex::default() }
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

    /// Something is to happen `after` ms after `replica` has asked for something of a session.
    pub(super) fn doom(&self, replica: usize, after: u64) {
        self.state().doomed.insert(replica, after);
    }

    /// Nothing is to happen any more.
    pub(super) fn spare(&self) {
        self.state().doomed.clear();
    }

    /// Tells to whom something is to happen, and when.
    pub(super) fn looks(&self) -> mpsc::UnboundedReceiver<Look> {
        let (tell, told) = mpsc::unbounded_channel();
        self.state().looks = Some(tell);
        told
    }

    /// The sessions whose lease a process has.
    pub(super) fn leases(&self, holder: u64) -> Vec<SessionId> {
        let state = self.state();
        let its = state.records.values().filter(|record| record.holder() == Some(holder));
        its.map(|record| record.sid).collect()
    }

    fn looked(&self, replica: usize) {
        let mut state = self.state();
        if let Some(after) = state.doomed.remove(&replica) {
            let at = self.ledger.now() + after;
            // Nobody listens once the run is over.
            let _unheard = state.looks.as_ref().map(|looks| looks.send(Look { replica, at }).is_err());
        }
    }

    /// Writes; what the store knows of a session only grows, until it forgets.
    async fn write(&self, swap: Swap) -> Result<Swapped, StoreError> {
        let (key, stored) = (swap.key, wire::open(&self.sealer, &swap.value));
        let swapped = self.memory.swap(swap).await;
        if let (Ok(Swapped::Done(_)), Ok(stored)) = (&swapped, stored) {
            let mut state = self.state();
            let now = (stored.newest, stored.ended().is_some());
            let before = state.records.insert(key, stored).map_or(0, |before| before.newest);
            drop(state);
            if now.0 < before && !now.1 {
                self.ledger.broken("R4", &format!("the store knew generation {before} and knows {}", now.0));
            }
        }
        swapped
    }

    pub(super) fn forget(&self) {
        self.memory.forget();
        self.state().records.clear();
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

    /// Sends an operation to the store, where it happens whatever becomes of who asked for it.
    async fn through<T, F>(
        &self,
        operation: impl FnOnce(Arc<Shared>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        ASKED.set(ASKED.get() + 1);
        let mut dice = Dice::new(u64::from_le_bytes(random()));
        let (shared, replica) = (Arc::clone(&self.shared), self.replica);
        let (tell, told) = oneshot::channel();
        self.shared.wires.spawn(async move {
            let lost = dice.percent(shared.lossy());
            let answer = if shared.is_cut(replica) || (lost && dice.percent(50)) {
                refuse(&mut dice).await
            } else {
                sleep(Duration::from_millis(dice.range(1, 10))).await;
                let answer = operation(Arc::clone(&shared)).await;
                let is_late = shared.ledger.setup.profile.stops() && dice.percent(LATE);
                let back = if is_late { dice.range(100, 450) } else { dice.range(1, 10) };
                sleep(Duration::from_millis(back)).await;
                if shared.is_cut(replica) || lost { refuse(&mut dice).await } else { Some(answer) }
            };
            // Nobody may be waiting any more.
            drop(answer.map(|answer| tell.send(answer)));
        });
        match told.await {
            Ok(answer) => answer,
            Err(_) => pending().await,
        }
    }
}

/// No answer, or a broken connection.
async fn refuse<T>(dice: &mut Dice) -> Option<Result<T, StoreError>> {
    if dice.percent(50) {
        return None;
    }
    sleep(Duration::from_millis(20)).await;
    Some(Err(dice.one(&[StoreError::Unreachable, StoreError::Refused])))
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
        if key != Key::new("probe", &[]) {
            self.shared.looked(self.replica);
        }
        Box::pin(self.through(move |shared| async move { shared.memory.read(key).await }))
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        Box::pin(self.through(move |shared| async move { shared.write(swap).await }))
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        Box::pin(self.through(move |shared| async move { shared.memory.append(entry, keep_for).await }))
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        Box::pin(self.through(move |shared| async move { shared.memory.entries(cursor, patience).await }))
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

/// How many of a hundred answers take nearly as long as they may, where replicas stand still: others are quick enough to
/// go on twice meanwhile.
const LATE: u64 = 30;

//! A store that forgets who is spending what.

use std::sync::Mutex;

use tokio::sync::broadcast;

use super::*;
use crate::store::{Batch, Cursor, Key, Pending};

/// One whose data are lost when a test says so.
#[derive(Debug)]
struct Forgetful {
    clock: Arc<Moved>,
    data: Mutex<Arc<MemoryStore>>,
    lost_at: Mutex<Option<Timestamp>>,
}

impl Forgetful {
    fn new(clock: &Arc<Moved>) -> Self {
        let data = Mutex::new(Self::empty(clock));
        Self { clock: Arc::clone(clock), data, lost_at: Mutex::default() }
    }

    fn empty(clock: &Arc<Moved>) -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new(Arc::clone(clock) as Arc<dyn Clock>))
    }

    fn data(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.data.lock().unwrap())
    }

    fn forget(&self) {
        *self.data.lock().unwrap() = Self::empty(&self.clock);
        *self.lost_at.lock().unwrap() = Some(self.clock.now());
    }
}

impl Store for Forgetful {
    fn read(&self, key: Key) -> Pending<'_, Found> {
        let data = self.data();
        Box::pin(async move { data.read(key).await })
    }

    fn swap(&self, swap: Swap) -> Pending<'_, Swapped> {
        let data = self.data();
        Box::pin(async move { data.swap(swap).await })
    }

    fn append(&self, entry: Vec<u8>, keep_for: Duration) -> Pending<'_, ()> {
        let data = self.data();
        Box::pin(async move { data.append(entry, keep_for).await })
    }

    fn entries(&self, cursor: Cursor, patience: Duration) -> Pending<'_, Batch> {
        let data = self.data();
        Box::pin(async move { data.entries(cursor, patience).await })
    }

    fn notes(&self) -> broadcast::Receiver<Arc<[u8]>> {
        self.data().notes()
    }

    fn data_lost_at(&self) -> Option<Timestamp> {
        *self.lost_at.lock().unwrap()
    }
}

// Rule 1
#[tokio::test(start_paused = true)]
async fn a_token_is_nobodys_for_a_lease_after_the_store_forgot_whoever_wrote_the_record_again() {
    let mut world = World::new();
    let store = Arc::new(Forgetful::new(&world.clock));
    world.store = Arc::<Forgetful>::clone(&store);
    let replicas = [world.replica(), world.replica(), world.replica()];
    let shared = replicas.each_ref().map(Sessions::shared);
    let [holder, bringer, third] = shared.each_ref().map(|shared| shared.fleet.as_ref().unwrap());
    let session = world.session();
    let ask = |fleet: &Fleet| fleet.ask(&session, Repeat::First);
    assert!(matches!(holder.claim(&ask(holder)).await.unwrap(), Claimed::Granted(_)));
    store.forget();
    assert!(matches!(third.claim(&ask(third)).await.unwrap(), Claimed::Wait(_)), "nothing is there");
    // A replica that knows of no refresh tells the store what it knows.
    bringer.catch_up(&Stored::new(session.sid, session.generation)).await.unwrap();
    assert!(world.stored(&replicas[2], session.sid).await.is_some());
    let Claimed::Wait(left) = third.claim(&ask(third)).await.unwrap() else { panic!("it is being spent") };
    sleep(left).await;
    assert!(matches!(third.claim(&ask(third)).await.unwrap(), Claimed::Granted(_)));
}

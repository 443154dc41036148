//! One suite for every store: what the trait promises, whatever implements it.
//!
//! A [`Subject`] is one store seen by two replicas. Laws run against memory, against files, and against servers of Redis
//! that each test starts for itself; what only a server can do (stop, die, lose its data) is in `faults`.

mod faults;
mod files;
mod laws;
mod logs;
mod server;
mod topologies;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::file::FileStore;
use super::memory::MemoryStore;
use super::redis::RedisStore;
use super::settings::{Login, Redis, Tls, Topology};
use super::{Key, Store, Swap, Swapped, Version};
use crate::base::secret::random;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, ManualClock, Timestamp};
use server::{Options, Server};

/// One store, as two replicas see it.
struct Subject {
    one: Arc<dyn Store>,
    two: Arc<dyn Store>,
    time: Time,
    /// What must outlive the stores.
    _server: Option<Server>,
}

/// The time that a store goes by.
enum Time {
    /// A clock that is moved.
    Moved(Arc<ManualClock>),
    /// The server's own.
    Real,
}

impl Subject {
    fn memory() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        Self { one: Arc::clone(&store), two: store, time: Time::Moved(clock), _server: None }
    }

    fn file() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(START)));
        let open = FileStore::open(&folder.path().join("store"), Arc::clone(&clock) as Arc<dyn Clock>);
        let store: Arc<dyn Store> = Arc::new(open.unwrap());
        // The name may go: what is open stays.
        Self { one: Arc::clone(&store), two: store, time: Time::Moved(clock), _server: None }
    }

    /// `None` where there is no Redis; that has been said then.
    async fn redis() -> Option<Self> {
        let server = Server::start(Options::default()).await?;
        Some(Self::over(&server.settings()).with(server))
    }

    fn over(settings: &Redis) -> Self {
        Self { one: open(settings), two: open(settings), time: Time::Real, _server: None }
    }

    fn with(mut self, server: Server) -> Self {
        self._server = Some(server);
        self
    }

    async fn pass(&self, time: Duration) {
        match &self.time {
            Time::Moved(clock) => clock.advance(time),
            // Expiry is what is waited for, and it has no event.
            Time::Real => sleep(time).await,
        }
    }
}

fn open(settings: &Redis) -> Arc<dyn Store> {
    Arc::new(RedisStore::open(settings, &Tasks::new(Handle::current())).unwrap())
}

fn redis_at(topology: Topology) -> Redis {
    Redis {
        topology,
        tls: Tls::Off,
        login: Login::default(),
        database: 0,
        prefix: "bearward:".to_owned(),
        timeout: Duration::from_secs(2),
    }
}

/// A name that no other test uses.
fn key() -> Key {
    Key::new("test", &random::<16>())
}

fn swap(key: Key, seen: Option<Version>, value: impl Into<Vec<u8>>) -> Swap {
    let (version, keep_for) = (Version::new(), Duration::from_secs(3600));
    Swap { key, seen, version, value: value.into(), keep_for, note: None }
}

async fn done(store: &Arc<dyn Store>, swap: Swap) -> Version {
    let version = swap.version;
    let came = store.swap(swap).await.unwrap();
    assert!(matches!(came, Swapped::Done(_)), "{came:?}");
    version
}

/// Waits until `probe` has something.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// Longer than anything here takes on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

//! Responses that go on, on pingora's way: each ends when its session does.
//!
//! A request that is forwarded for a session is noted down and struck out when it is over; that is all that an
//! ordinary one costs. One task per worker looks at those that have lasted, and cuts whom the gate says. The fast path
//! asks for itself, where it waits anyway.
//!
//! ```text
//! watch ─▶ request_filter: hold ─▶ … ─▶ over: struck out
//!                           │ every second, those that last: gate ─▶ cut: the future is dropped
//! ```
//!
//! What is dropped is one request: of an HTTP/2 connection the other streams go on (RFC 9113 §5.4.2), an HTTP/1.1
//! connection ends short, so that nobody takes what came for the whole. A WebSocket is given a moment to end well.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::live::Live;
use crate::gate::head::RequestId;
use crate::gate::stream::{Stream, StreamEnd};

/// How often a response that goes on is looked at. Denials reach every replica within 5 s; this comes on top of what
/// they need for it.
pub(super) const LOOK: Duration = Duration::from_secs(1);

tokio::task_local! {
    static CUT: Arc<Cut>;
}

/// One worker's. The lock is the worker's own: nobody else ever waits for it.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<HashMap<RequestId, Arc<Held>>>);

/// A request that may have to end before its response.
#[derive(Debug)]
struct Held {
    live: Arc<Live>,
    stream: Stream,
    started: Instant,
    cut: Arc<Cut>,
}

/// Where a request is told that it must end.
#[derive(Debug, Default)]
struct Cut {
    why: OnceLock<StreamEnd>,
    told: Notify,
    /// Whether there is something to say before the end: then the next read of the client fails, which is how pingora
    /// comes to let us say it.
    farewell: AtomicBool,
}

/// A request's place among those that are looked at, for as long as it is served.
#[derive(Debug)]
pub(super) struct Hold {
    streams: Arc<Streams>,
    id: RequestId,
    cut: Arc<Cut>,
}

/// Drives a request until it is over or must end; `None` where it was cut.
pub(super) async fn watch<T>(request: impl Future<Output = T>) -> Option<T> {
    let cut = Arc::new(Cut::default());
    let mut request = pin!(CUT.scope(Arc::clone(&cut), request));
    // Cancel safety: a request that is dropped is cut, which is what is wanted.
    tokio::select! {
        biased;
        done = &mut request => return Some(done),
        () = cut.told.notified() => {}
    }
    if !cut.farewell.load(Ordering::Relaxed) {
        return None;
    }
    tokio::time::timeout(FAREWELL, request).await.ok()
}

/// Whether a read of the client's connection is to fail now.
pub(super) fn interrupts() -> bool {
    let must = |cut: &Arc<Cut>| cut.why.get().is_some() && cut.farewell.swap(false, Ordering::Relaxed);
    CUT.try_with(must).unwrap_or(false)
}

/// How long the end of a WebSocket may take.
const FAREWELL: Duration = Duration::from_secs(1);

impl Streams {
    /// Notes a request down. `None` where nobody drives it by [`watch`].
    pub(super) fn hold(
        self: &Arc<Self>,
        id: RequestId,
        live: &Arc<Live>,
        stream: Stream,
        started: Instant,
    ) -> Option<Hold> {
        let cut = CUT.try_with(Arc::clone).ok()?;
        let held = Held { live: Arc::clone(live), stream, started, cut: Arc::clone(&cut) };
        self.lock().insert(id, Arc::new(held));
        Some(Hold { streams: Arc::clone(self), id, cut })
    }

    /// Looks at those that last, for as long as it is polled.
    pub(super) async fn keep_watched(&self) {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            let lasting: Vec<_> =
                self.lock().values().filter(|held| held.started.elapsed() >= LOOK).cloned().collect();
            // Together: one that must ask the store holds up none of the others.
            join_all(lasting.iter().map(|held| held.look())).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Arc<Held>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    async fn look(&self) {
        if let Some(why) = self.live.gate.stream_end(&self.stream, self.started.elapsed()).await
            && self.cut.why.set(why).is_ok()
        {
            self.cut.told.notify_one();
        }
    }
}

impl Hold {
    /// Has the end told to the client before the connection is closed.
    pub(super) fn wish_farewell(&self) {
        self.cut.farewell.store(true, Ordering::Relaxed);
    }

    /// Why the request was cut, if it was.
    pub(super) fn why(&self) -> Option<StreamEnd> {
        self.cut.why.get().copied()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
    }
}

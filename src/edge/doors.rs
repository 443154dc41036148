//! Who may come in, who is inside, and when everyone must leave.
//!
//! ```text
//! open ─close─▶ lingering (nobody new; idle connections may send one more request) ─leave─▶ over
//! ```
//!
//! Closing idle connections at once loses the request that a busy client sends in that moment; hence the linger.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Shared by all workers of an edge.
#[derive(Debug)]
pub(super) struct Doors {
    closing: CancellationToken,
    leaving: CancellationToken,
    open: AtomicUsize,
    limit: usize,
    empty: Notify,
    gauge: Gauge,
}

/// One worker's view. Its tokens are its own, so that waiting on them touches no lock of another core.
#[derive(Debug)]
pub(super) struct Signals {
    /// Nobody new comes in.
    pub(super) closing: CancellationToken,
    /// The thread ends, and whoever is still inside is cut off.
    pub(super) leaving: CancellationToken,
}

/// A connection's right to exist, from accept to close.
#[derive(Debug)]
pub(super) struct Seat(Arc<Doors>);

impl Doors {
    pub(super) fn new(limit: usize, gauge: Gauge) -> Self {
        Self {
            closing: CancellationToken::new(),
            leaving: CancellationToken::new(),
            open: AtomicUsize::new(0),
            limit,
            empty: Notify::new(),
            gauge,
        }
    }

    pub(super) fn signals(&self) -> Signals {
        Signals { closing: self.closing.child_token(), leaving: self.leaving.child_token() }
    }

    /// A seat, where one is free.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        self.gauge.inc();
        // Made first: its destructor takes back what was counted where there is no seat.
        let seat = Seat(Arc::clone(self));
        (taken < self.limit).then_some(seat)
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    pub(super) fn leave(&self) {
        self.leaving.cancel();
    }

    /// Waits until nobody is inside.
    pub(super) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            // Registered before the count is read, so that the last one to leave is not missed.
            empty.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            empty.await;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.gauge.dec();
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seats_are_limited_and_given_back() {
        let doors = Arc::new(Doors::new(2, Gauge::default()));
        let (first, second) = (doors.seat(), doors.seat());
        assert!(first.is_some() && second.is_some() && doors.seat().is_none());
        drop(first);
        assert!(doors.seat().is_some());
        drop(second);
        doors.emptied().await;
        assert_eq!((doors.open(), doors.gauge.get()), (0, 0));
    }
}

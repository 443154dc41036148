//! Who may come in, who is inside, and when everyone must leave.
//!
//! ```text
//! open ─close─▶ lingering (nobody new; idle connections may send one more request) ─leave─▶ over
//! ```
//!
//! Closing idle connections at once loses the request that a busy client sends in that moment; hence the linger.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::head_scan::Fault;
use super::settings::Limits;

/// Shared by all workers of an edge.
#[derive(Debug)]
pub(super) struct Doors {
    closing: CancellationToken,
    leaving: CancellationToken,
    open: AtomicUsize,
    limit: usize,
    clients: Clients,
    /// Milliseconds.
    linger: AtomicU64,
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
pub(super) struct Seat {
    doors: Arc<Doors>,
    /// Who sits there, where clients are counted.
    client: Option<IpAddr>,
}

impl Doors {
    pub(super) fn new(limits: &Limits, gauge: Gauge) -> Self {
        Self {
            closing: CancellationToken::new(),
            leaving: CancellationToken::new(),
            open: AtomicUsize::new(0),
            limit: limits.connections,
            clients: Clients { limit: limits.connections_per_client, open: Mutex::default() },
            linger: AtomicU64::new(0),
            empty: Notify::new(),
            gauge,
        }
    }

    pub(super) fn signals(&self) -> Signals {
        Signals { closing: self.closing.child_token(), leaving: self.leaving.child_token() }
    }

    /// Whether it matters who comes.
    pub(super) const fn counts_clients(&self) -> bool {
        self.clients.limit.is_some()
    }

    /// The end of one listener: it comes with the closing of all, or before.
    pub(super) fn listener(&self) -> CancellationToken {
        self.closing.child_token()
    }

    /// How long an idle connection may still send a request once the doors are closed.
    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger.load(Ordering::Relaxed))
    }

    pub(super) fn set_linger(&self, linger: Duration) {
        self.linger.store(u64::try_from(linger.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A seat, where one is free, for a client that is counted or for somebody.
    pub(super) fn seat(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Seat, Fault> {
        let taken = self.open.fetch_add(1, Ordering::AcqRel);
        self.gauge.inc();
        // Made first: its destructor takes back what was counted where there is no seat.
        let mut seat = Seat { doors: Arc::clone(self), client: None };
        if taken >= self.limit {
            return Err(Fault::Full);
        }
        if let Some(client) = client.map(network) {
            self.clients.enter(client)?;
            seat.client = Some(client);
        }
        Ok(seat)
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
        if let Some(client) = self.client {
            self.doors.clients.leave(client);
        }
        self.doors.gauge.dec();
        if self.doors.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.doors.empty.notify_waiters();
        }
    }
}

/// How many connections each client has. Its lock is taken when a connection opens and when it closes.
#[derive(Debug)]
struct Clients {
    limit: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Clients {
    fn enter(&self, client: IpAddr) -> Result<(), Fault> {
        let Some(limit) = self.limit else { return Ok(()) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        if *count >= limit {
            return Err(Fault::Crowd);
        }
        *count += 1;
        Ok(())
    }

    fn leave(&self, client: IpAddr) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&client);
            }
        }
    }
}

/// What one client can choose addresses from: of IPv6, the network of one link (RFC 4291 §2.5.4).
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seats_are_limited_and_given_back() {
        let limits = Limits { connections: 2, ..Limits::small() };
        let doors = Arc::new(Doors::new(&limits, Gauge::default()));
        let (first, second) = (doors.seat(None), doors.seat(None));
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(doors.seat(None).err(), Some(Fault::Full));
        drop(first);
        assert!(doors.seat(None).is_ok());
        drop(second);
        doors.emptied().await;
        assert_eq!((doors.open(), doors.gauge.get()), (0, 0));
    }

    #[test]
    fn a_client_has_a_limit_of_its_own() {
        let limits = Limits { connections: 100, connections_per_client: Some(2), ..Limits::small() };
        let doors = Arc::new(Doors::new(&limits, Gauge::default()));
        let seat = |client: &str| doors.seat(Some(client.parse().unwrap()));
        for (same, other) in [
            (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], "192.0.2.2"),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::"], "2001:db8:0:1::1"),
        ] {
            let (first, second) = (seat(same[0]), seat(same[1]));
            assert!(first.is_ok() && second.is_ok());
            assert_eq!(seat(same[2]).err(), Some(Fault::Crowd));
            assert!(seat(other).is_ok() && doors.seat(None).is_ok());
            drop(first);
            assert!(seat(same[2]).is_ok());
        }
        assert_eq!((doors.open(), doors.gauge.get()), (0, 0));
        assert!(doors.clients.open.lock().unwrap().is_empty(), "nobody who left is remembered");
    }
}

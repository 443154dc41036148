//! Idle connections to upstreams, of one worker.
//!
//! One that became readable while it was idle is closed, or holds bytes that nobody asked for: in either case what
//! comes next is not the answer to the next request. std:118

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::wire::Wire;
use crate::edge::upstream::{Address, Plain};

/// The lock is the worker's own: nobody else ever waits for it.
#[derive(Debug, Default)]
pub(in crate::edge) struct Pool(Mutex<HashMap<Address, Vec<Idle>>>);

#[derive(Debug)]
struct Idle {
    wire: Wire,
    until: Instant,
}

impl Idle {
    fn is_good(&self, now: Instant) -> bool {
        let mut byte = [0];
        now < self.until
            && matches!(self.wire.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

impl Pool {
    /// The connection to `address` that was used last, where there is a good one.
    pub(super) fn take(&self, address: &Address) -> Option<Wire> {
        let mut all = self.lock();
        let idle = all.get_mut(address)?;
        let now = Instant::now();
        while let Some(one) = idle.pop() {
            if one.is_good(now) {
                return Some(one.wire);
            }
        }
        None
    }

    /// Keeps a connection that may carry another request.
    pub(super) fn put(&self, address: Address, wire: Wire, plain: &Plain) {
        let mut all = self.lock();
        let idle = all.entry(address).or_default();
        if idle.len() < plain.idle {
            idle.push(Idle { wire, until: Instant::now() + plain.idle_timeout });
        }
    }

    /// Closes what was idle for too long or is no good any more.
    fn sweep(&self) {
        let now = Instant::now();
        self.lock().retain(|_, idle| {
            idle.retain(|one| one.is_good(now));
            !idle.is_empty()
        });
    }

    /// Sweeps for as long as it is polled.
    pub(in crate::edge) async fn keep_swept(&self) {
        let mut tick = tokio::time::interval(SWEEP);
        loop {
            tick.tick().await;
            self.sweep();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Vec<Idle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// A connection that its upstream closed is held for no longer than this.
const SWEEP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const MOST_IDLE: usize = 20;
    const LONG: Plain = plain(Duration::from_secs(60));
    const NONE: Plain = plain(Duration::ZERO);

    const fn plain(idle_timeout: Duration) -> Plain {
        Plain {
            connect_timeout: Duration::ZERO,
            read_timeout: Duration::ZERO,
            write_timeout: Duration::ZERO,
            idle_timeout,
            head_timeout: None,
            idle: MOST_IDLE,
        }
    }

    async fn pair(listener: &TcpListener) -> (Wire, TcpStream) {
        let ours = Wire::connect(&at(listener)).await.unwrap();
        (ours, listener.accept().await.unwrap().0)
    }

    fn at(listener: &TcpListener) -> Address {
        Address::Inet(listener.local_addr().unwrap())
    }

    fn tcp(wire: &Wire) -> &TcpStream {
        let Wire::Tcp(tcp) = wire else { panic!("a socket file") };
        tcp
    }

    #[tokio::test]
    async fn the_last_used_good_connection_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = at(&listener);
        let pool = Pool::default();
        assert!(pool.take(&address).is_none());
        let (good, _open) = pair(&listener).await;
        let port = tcp(&good).local_addr().unwrap();
        let (closed, theirs) = pair(&listener).await;
        let (talks, mut talker) = pair(&listener).await;
        let (expired, _also_open) = pair(&listener).await;
        drop(theirs);
        talker.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tcp(&closed).readable().await.unwrap();
        tcp(&talks).readable().await.unwrap();
        pool.put(address.clone(), good, &LONG);
        pool.put(address.clone(), closed, &LONG);
        pool.put(address.clone(), talks, &LONG);
        pool.put(address.clone(), expired, &NONE);
        assert_eq!(tcp(&pool.take(&address).unwrap()).local_addr().unwrap(), port);
        assert!(pool.take(&address).is_none());
    }

    #[tokio::test]
    async fn idle_connections_are_bounded_and_swept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = at(&listener);
        let pool = Pool::default();
        let (expired, mut theirs) = pair(&listener).await;
        pool.put(address.clone(), expired, &NONE);
        pool.sweep();
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        assert!(pool.lock().is_empty());
        let mut others = Vec::new();
        for _ in 0..MOST_IDLE + 3 {
            let (ours, theirs) = pair(&listener).await;
            pool.put(address.clone(), ours, &LONG);
            others.push(theirs);
        }
        pool.sweep();
        assert_eq!(pool.lock()[&address].len(), MOST_IDLE);
    }
}

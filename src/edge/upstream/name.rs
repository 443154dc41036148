//! The addresses of a host's name, looked up again and again.
//!
//! What is known is read without a lock and without waiting: a look-up that is due is made beside the requests. A name
//! that stops resolving keeps its last addresses. One that refused a connection is passed over for a while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::time::{Duration, Instant, timeout};

use super::moment::Moment;
use crate::edge::worker::spawn;

/// A host's name and its addresses.
pub(super) struct Name {
    host: String,
    port: u16,
    found: ArcSwap<Found>,
    looking: AtomicBool,
    next: AtomicUsize,
    #[cfg(test)]
    told: std::sync::Mutex<Option<Vec<SocketAddr>>>,
}

struct Found {
    addresses: Vec<Candidate>,
    /// When to look again.
    due: Instant,
}

struct Candidate {
    address: SocketAddr,
    /// Until when others are preferred.
    avoided: AtomicU64,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Arc<Self> {
        Arc::new(Self {
            host: host.to_owned(),
            port,
            found: ArcSwap::from_pointee(Found { addresses: Vec::new(), due: Instant::now() }),
            looking: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            #[cfg(test)]
            told: std::sync::Mutex::default(),
        })
    }

    /// Whose turn it is.
    pub(super) fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// How many addresses are known.
    pub(super) fn known(&self) -> usize {
        self.found.load().addresses.len()
    }

    /// The address whose turn it is, or the next one that was not avoided; `None` where there is none at all.
    pub(super) async fn address(self: &Arc<Self>, turn: usize) -> Option<SocketAddr> {
        if self.known() == 0 {
            self.look_up().await;
        } else if self.found.load().due <= Instant::now() && !self.looking.swap(true, Ordering::AcqRel) {
            let name = Arc::clone(self);
            spawn(async move {
                let _done = Looking(&name.looking);
                name.look_up().await;
            });
        }
        self.found.load().choose(turn)
    }

    /// Prefers other addresses for a while.
    pub(super) fn avoid(&self, address: SocketAddr) {
        let found = self.found.load();
        for candidate in found.addresses.iter().filter(|candidate| candidate.address == address) {
            candidate.avoided.store(Moment::now().plus(AVOIDED).to_bits(), Ordering::Relaxed);
        }
    }

    async fn look_up(&self) {
        let answer = timeout(LOOK_UP, self.ask()).await.ok().flatten().filter(|all| !all.is_empty());
        let known = self.found.load_full();
        let found = match answer {
            Some(addresses) => Found {
                addresses: addresses.into_iter().map(|address| known.candidate(address)).collect(),
                due: Instant::now() + FRESH,
            },
            None => {
                tracing::warn!(host = self.host, "a name does not resolve: its last addresses are kept");
                Found {
                    addresses: known.addresses.iter().map(|one| known.candidate(one.address)).collect(),
                    due: Instant::now() + AGAIN,
                }
            }
        };
        self.found.store(Arc::new(found));
    }

    async fn ask(&self) -> Option<Vec<SocketAddr>> {
        #[cfg(test)]
        if let Some(told) = &*self.told.lock().unwrap() {
            return Some(told.clone());
        }
        Some(tokio::net::lookup_host((self.host.as_str(), self.port)).await.ok()?.collect())
    }

    /// What the resolver says from now on.
    #[cfg(test)]
    pub(super) fn tell(&self, addresses: &[SocketAddr]) {
        *self.told.lock().unwrap() = Some(addresses.to_vec());
    }
}

impl Found {
    /// A candidate with what was learnt of its address.
    fn candidate(&self, address: SocketAddr) -> Candidate {
        let known = self.addresses.iter().find(|known| known.address == address);
        let avoided = known.map_or(Moment::NEVER.to_bits(), |known| known.avoided.load(Ordering::Relaxed));
        Candidate { address, avoided: AtomicU64::new(avoided) }
    }

    fn choose(&self, turn: usize) -> Option<SocketAddr> {
        let first = turn.checked_rem(self.addresses.len())?;
        let (before, from) = self.addresses.split_at_checked(first)?;
        // The clock is only asked where something is avoided.
        let good = |candidate: &&Candidate| {
            let avoided = candidate.avoided.load(Ordering::Relaxed);
            avoided == Moment::NEVER.to_bits() || Moment::from_bits(avoided) <= Moment::now()
        };
        let chosen = from.iter().chain(before).find(good).or_else(|| from.first())?;
        Some(chosen.address)
    }
}

/// Ends a look-up, also when the runtime that made it goes.
struct Looking<'a>(&'a AtomicBool);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

// Short enough to follow a moved service, long enough to ask a resolver rarely.
const FRESH: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(2);
const LOOK_UP: Duration = Duration::from_secs(5);
// As long as an answer is used: the next one may not name it any more.
const AVOIDED: Duration = FRESH;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses<const N: usize>(last: [u8; N]) -> [SocketAddr; N] {
        last.map(|last| SocketAddr::from(([192, 0, 2, last], 81)))
    }

    /// Lets a look-up that was started run.
    async fn settle(name: &Name) {
        while name.looking.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_name_is_resolved_when_it_is_needed() {
        let name = Name::new("localhost", 81);
        assert_eq!(name.known(), 0);
        assert_eq!(name.address(0).await.unwrap().port(), 81);
        assert_eq!(Name::new("no.invalid", 81).address(0).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_answers_are_used_and_one_that_fails_is_avoided_for_a_while() {
        let name = Name::new("a.invalid", 81);
        let [a, b, c] = addresses([1, 2, 3]);
        name.tell(&[a, b, c]);
        for (turn, expected) in [(0, a), (1, b), (2, c), (3, a)] {
            assert_eq!(name.address(turn).await, Some(expected));
        }
        name.avoid(b);
        assert_eq!(name.address(1).await, Some(c));
        // A new answer does not forget it.
        tokio::time::advance(AVOIDED - Duration::from_millis(10)).await;
        name.look_up().await;
        assert_eq!(name.address(1).await, Some(c));
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(name.address(1).await, Some(b));
        // Where all are, each has its turn.
        for address in [a, b, c] {
            name.avoid(address);
        }
        assert_eq!((name.address(0).await, name.address(1).await), (Some(a), Some(b)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_moved_is_followed_and_one_that_is_gone_keeps_its_addresses() {
        let name = Name::new("a.invalid", 81);
        let [a, b] = addresses([1, 2]);
        name.tell(&[a]);
        assert_eq!(name.address(0).await, Some(a));
        name.tell(&[b]);
        assert_eq!(name.address(0).await, Some(a), "it is still fresh");
        tokio::time::advance(FRESH).await;
        // Nobody waits for the look-up that is due.
        assert_eq!(name.address(0).await, Some(a));
        settle(&name).await;
        assert_eq!(name.address(0).await, Some(b));
        name.tell(&[]);
        tokio::time::advance(FRESH).await;
        name.address(0).await;
        settle(&name).await;
        assert_eq!(name.address(0).await, Some(b));
        // It is asked again before long.
        name.tell(&[a]);
        tokio::time::advance(AGAIN).await;
        name.address(0).await;
        settle(&name).await;
        assert_eq!(name.address(0).await, Some(a));
    }
}

//! Where requests are forwarded: endpoints, and which of them serves a request.
//!
//! The upstream of a request comes from configuration alone (std:125). A certificate is always verified, and
//! against a name: pingora would skip the verification where the name is empty, and cannot verify an address. Both
//! paths choose by this code and count here.

mod address;
mod balance;
mod budget;
mod endpoint;
mod moment;
mod name;
mod peer;
mod probe;
mod standing;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

pub(super) use self::address::Address;
use self::balance::{By, Set};
use self::budget::Budget;
use self::endpoint::Endpoint;
pub(super) use self::endpoint::Seat;
pub(super) use self::probe::Probes;
use self::standing::Others;
pub(super) use self::standing::Standing;
pub use self::standing::Standings;
use self::trust::Trust;
use super::settings::{Balance, Health, Upstream};
use crate::base::tls;
use crate::gate::settings::UpstreamId;

/// All upstreams, by their place in the configuration.
pub struct Upstreams {
    all: Vec<Target>,
    ca_file: Option<String>,
}

/// Why upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL has no host, or another scheme than `http` and `https`.
    #[error("upstream {0}: the URL must be http or https and name a host")]
    Url(String),
    /// It has no endpoint, or too many, or some that speak TLS and some that do not.
    #[error("upstream {0}: it needs between one endpoint and 64, which all speak TLS or all do not")]
    Endpoints(String),
    /// No socket can have such a path.
    #[error("upstream {0}: the path of its socket is too long")]
    Socket(String),
    /// A certificate cannot be verified against an address.
    #[error("upstream {0}: https needs a name, not an address, for its certificate to be verified")]
    Name(String),
    /// What we would show of ourselves cannot be used.
    #[error("upstream {name}: the client certificate cannot be used")]
    Identity {
        /// Which one.
        name: String,
        /// What is wrong.
        #[source]
        source: tls::TlsError,
    },
    /// The certificates that vouch for it cannot be used.
    #[error("upstream {name}: its certificate could never be verified")]
    Ca {
        /// Which one.
        name: String,
        /// What is wrong.
        #[source]
        source: tls::TlsError,
    },
}

/// One upstream.
struct Target {
    name: String,
    endpoints: Vec<Arc<Endpoint>>,
    balance: Balance,
    health: Option<Health>,
    budget: Budget,
    /// Told when a request of an endpoint with a limit ends.
    freed: Arc<Notify>,
    /// How long a free seat is waited for.
    patience: Duration,
    /// Counts its requests.
    next: AtomicUsize,
    /// Where it speaks HTTP/1.1 without TLS.
    plain: Option<Plain>,
}

/// The patience with an upstream that speaks HTTP/1.1 without TLS.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) head_timeout: Option<Duration>,
    /// Idle connections that one core keeps to one address.
    pub(super) idle: usize,
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// The upstream has no endpoint that could be tried.
    Nowhere,
    /// All seats were taken for as long as was waited.
    Full,
}

/// What endpoints are made with.
#[derive(Clone, Copy)]
struct Known<'a> {
    trust: &'a Trust,
    standings: &'a Standings,
}

/// The attempts of one request to reach its upstream.
#[derive(Default)]
pub(super) struct Attempts {
    /// Where the one under way goes.
    seat: Option<Seat>,
    place: usize,
    tried: Set,
    /// Attempts that failed.
    failed: u8,
    reach: Reach,
}

/// How far a request came.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Reach {
    #[default]
    Nobody,
    /// A connection was there, and something may have been sent.
    Connected,
}

impl Attempts {
    /// Where the attempt under way goes.
    pub(super) fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|target| &target.name)).finish()
    }
}

impl Upstreams {
    /// Prepares upstreams; what `standings` knows of their endpoints goes on. Nothing is resolved or connected: an
    /// upstream that is down at start is not an error.
    ///
    /// # Errors
    /// Where one could never be reached or verified.
    pub fn new(settings: &[Upstream], standings: &Standings) -> Result<Self, UpstreamError> {
        let trust = Trust::of(settings);
        let known = Known { trust: &trust, standings };
        let all = settings.iter().map(|one| Target::new(one, known));
        let all = all.collect::<Result<_, _>>()?;
        Ok(Self { all, ca_file: trust.common() })
    }

    /// The name of an upstream, for logs.
    pub fn name(&self, id: UpstreamId) -> &str {
        self.all.get(id.0).map_or("", |target| target.name.as_str())
    }

    /// What the first endpoint of an upstream is told as `Host`; `None` for what the client sent.
    pub(super) fn host(&self, id: UpstreamId) -> Option<&HeaderValue> {
        self.all.get(id.0)?.endpoints.first()?.host.as_ref()
    }

    /// The trust anchors that pingora loads for all upstreams.
    pub(super) fn ca_file(&self) -> Option<String> {
        self.ca_file.clone()
    }

    /// How an upstream is spoken to, where that is HTTP/1.1 without TLS.
    pub(super) fn plain(&self, id: UpstreamId) -> Option<Plain> {
        self.all.get(id.0)?.plain
    }

    /// Whether all upstreams are of that kind.
    pub(super) fn all_plain(&self) -> bool {
        self.all.iter().all(|target| target.plain.is_some())
    }

    /// The seat of the attempt under way, or of a new one, for as long as connecting may take.
    pub(super) async fn seat<'a>(
        &self,
        id: UpstreamId,
        attempts: &'a mut Attempts,
        key: impl Fn() -> u64,
    ) -> Result<&'a mut Seat, NoSeat> {
        if attempts.seat.is_none() {
            let target = self.all.get(id.0).ok_or(NoSeat::Nowhere)?;
            if target.sit(attempts, &key) == Err(NoSeat::Full) {
                target.wait_and_sit(attempts, &key).await?;
            }
        }
        attempts.seat.as_mut().ok_or(NoSeat::Nowhere)
    }

    /// Counts an attempt to connect that failed, and says whether another may follow. Nothing was sent yet: it goes
    /// to another endpoint, or to another address of this one, and is safe for every method.
    pub(super) fn may_try_another(&self, id: UpstreamId, attempts: &mut Attempts) -> bool {
        attempts.failed += 1;
        let Some(target) = self.all.get(id.0) else { return false };
        let Some(seat) = attempts.seat.as_mut() else { return false };
        seat.move_on();
        seat.endpoint().failed(|| target.others(attempts.place));
        attempts.tried.add(attempts.place);
        if attempts.failed >= target.budget.attempts() {
            return false;
        }
        let elsewhere = !target.usable().without(attempts.tried).is_empty();
        if elsewhere && target.may_retry().is_some() {
            attempts.seat = None;
            return true;
        }
        // Another address costs the endpoint nothing, so it costs nothing of the budget.
        seat.endpoint().known_addresses() > usize::from(attempts.failed)
    }

    /// Counts an attempt whose connection died before a byte of the response, and says whether another may follow.
    /// Whether the request may be repeated at all is for the caller to know.
    pub(super) fn may_repeat(&self, id: UpstreamId, attempts: &mut Attempts) -> bool {
        attempts.failed += 1;
        let Some(target) = self.all.get(id.0) else { return false };
        attempts.failed < target.budget.attempts() && target.may_retry().is_some()
    }
}

impl Upstreams {
    /// Notes that there is a connection.
    pub(super) fn connected(attempts: &mut Attempts) {
        attempts.reach = Reach::Connected;
    }

    /// Notes that the endpoint has answered.
    pub(super) fn answered(&self, id: UpstreamId, attempts: &Attempts, status: StatusCode) {
        let Some((target, seat)) = self.all.get(id.0).zip(attempts.seat()) else { return };
        seat.endpoint().answered(status, || target.others(attempts.place));
    }

    /// Notes that the connection broke, or that no answer came in time.
    pub(super) fn broke(&self, id: UpstreamId, attempts: &Attempts) {
        let Some((target, seat)) = self.all.get(id.0).zip(attempts.seat()) else { return };
        seat.endpoint().failed(|| target.others(attempts.place));
    }

    /// When to come back, where nothing was sent and no endpoint was known to be good.
    pub(super) fn out_for(&self, id: UpstreamId, attempts: &Attempts) -> Option<Duration> {
        let target = self.all.get(id.0)?;
        if attempts.reach == Reach::Connected {
            return None;
        }
        let until_probed = target.health.as_ref().map(|health| health.interval).unwrap_or_default();
        let mut soonest = LONGEST_ABSENCE;
        for endpoint in &target.endpoints {
            soonest = soonest.min(endpoint.out_for(until_probed)?);
        }
        Some(soonest)
    }
}

impl Target {
    fn new(settings: &Upstream, known: Known<'_>) -> Result<Self, UpstreamError> {
        let mut kinds = settings.endpoints.iter().map(|endpoint| endpoint.place.speaks_tls());
        let first = kinds.next();
        if first.is_none()
            || settings.endpoints.len() > balance::MOST
            || kinds.any(|kind| Some(kind) != first)
        {
            return Err(UpstreamError::Endpoints(settings.name.clone()));
        }
        let freed = Arc::new(Notify::new());
        let endpoints = settings.endpoints.iter();
        let endpoints = endpoints.map(|one| Endpoint::new(one, settings, known, &freed).map(Arc::new));
        let plain = (first == Some(false) && !settings.http2).then_some(Plain {
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            write_timeout: settings.write_timeout,
            idle_timeout: settings.idle_timeout,
            head_timeout: settings.head_timeout,
            idle: settings.pool.idle,
        });
        Ok(Self {
            name: settings.name.clone(),
            endpoints: endpoints.collect::<Result<_, _>>()?,
            balance: settings.balance,
            health: settings.health.clone(),
            budget: Budget::new(&settings.retries),
            freed,
            patience: settings.connect_timeout,
            next: AtomicUsize::new(0),
            plain,
        })
    }

    /// Those that are good; all, where none is.
    fn usable(&self) -> Set {
        let good = Set::of(&self.endpoints, Endpoint::is_good);
        if good.is_empty() { Set::of(&self.endpoints, |_| true) } else { good }
    }

    /// Whether others than the one at `place` are good.
    fn others(&self, place: usize) -> Others {
        let mut this = Set::EMPTY;
        this.add(place);
        let good = Set::of(&self.endpoints, Endpoint::is_good).without(this);
        if good.is_empty() { Others::None } else { Others::Some }
    }

    fn may_retry(&self) -> Option<()> {
        self.budget.take(self.next.load(Ordering::Relaxed))
    }

    async fn wait_and_sit(&self, attempts: &mut Attempts, key: &impl Fn() -> u64) -> Result<(), NoSeat> {
        let until = Instant::now() + self.patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(NoSeat::Full);
            }
            // One that sat down before a reload tells nobody here.
            drop(timeout(left.min(LOOK_AGAIN), self.freed.notified()).await);
            match self.sit(attempts, key) {
                Err(NoSeat::Full) => {}
                done => return done,
            }
        }
    }

    fn sit(&self, attempts: &mut Attempts, key: &impl Fn() -> u64) -> Result<(), NoSeat> {
        // What is tried again is not counted again.
        let turn = match attempts.failed {
            0 => self.next.fetch_add(1, Ordering::Relaxed),
            _ => self.next.load(Ordering::Relaxed),
        };
        let place = match self.endpoints.as_slice() {
            [_] => 0,
            all => {
                let set = self.usable().without(attempts.tried);
                if set.is_empty() {
                    return Err(NoSeat::Nowhere);
                }
                let set = set.without(Set::of(all, |endpoint| !endpoint.has_room()));
                let key = if self.balance == Balance::SessionHash { key() } else { 0 };
                balance::choose(all, set, By { balance: self.balance, turn, key }).ok_or(NoSeat::Full)?
            }
        };
        let endpoint = self.endpoints.get(place).ok_or(NoSeat::Nowhere)?;
        attempts.place = place;
        attempts.seat = Some(Seat::at(endpoint).ok_or(NoSeat::Full)?);
        Ok(())
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
// Nobody is sent away for longer, whatever is known.
const LONGEST_ABSENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;

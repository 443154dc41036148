//! The one face of this room: opens, admits, begins and ends sessions.
//!
//! Holds the clock, the sealer and the registry, and carries out what the record decides: starts flights, revokes
//! in the background, waits where a request must wait.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::watch;
use tokio::time::Instant;

use super::codec::{self, Start, Unreadable};
use super::cookie::attributes::{Life, set_cookie};
use super::cookie::chunk::{self, MAX_CHUNKS};
use super::cookie::jar::{Jar, Names};
use super::cookie::seal::{KeyRefused, OpenError, Purpose, Sealer};
use super::fleet::follow::{self, Following};
use super::fleet::{Fleet, Means};
use super::model::Session;
use super::mutation::{self, Mutation};
use super::refresh::flight;
use super::refresh::record::{Admission, Ask, Attempt, EndCause, Outcome, Policy, Refused, Repeat};
use super::registry::{Answer, Company, Registry, Sight};
use super::settings::{Key, Settings};
use super::ticket::{Presented, Ticket};
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};
use crate::oidc::Provider;
use crate::telemetry::audit::{AuditEvent, SessionTag};
use crate::telemetry::metrics::{Metrics, RefreshOutcome};
pub use by_operator::Selected;
pub use login::{BeginError, Login};
pub use pulse::Pulse;

pub mod by_operator;
mod duties;
mod ending;
mod login;
mod pulse;

/// How often what is over is dropped from the registry.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// All sessions of this replica.
#[derive(Debug, Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

/// What flights need as well.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) provider: Arc<Provider>,
    pub(crate) registry: Registry,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Metrics,
    names: Names,
    sealer: Sealer,
    draining: AtomicBool,
    /// The other replicas, where there is a store.
    pub(crate) fleet: Option<Arc<Fleet>>,
    following: watch::Sender<Following>,
}

/// What sessions are surrounded by.
#[derive(Debug)]
pub struct Surroundings {
    /// Tells the time; the one of `fleet`, where there is one.
    pub clock: Arc<dyn Clock>,
    /// Where flights run.
    pub tasks: Tasks,
    /// Where things are counted.
    pub metrics: Metrics,
    /// The other replicas, where there is a store.
    pub fleet: Option<Means>,
}

/// What a request's cookies get.
#[derive(Debug)]
pub enum Admitted {
    /// A session with a good access token.
    Ticket(Ticket),
    /// There is no session cookie, or none that opens.
    Nobody,
    /// There is an authentic one, and it gets nothing.
    Refused {
        /// Why.
        refused: Refused,
        /// What was presented.
        presented: Presented,
    },
}

thread_local! {
    /// Joined chunks and the opened bytes of one request.
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Sessions {
    /// No sessions yet.
    ///
    /// # Errors
    /// Where the key ring cannot be used.
    pub fn new(
        settings: Settings,
        provider: Arc<Provider>,
        surroundings: Surroundings,
    ) -> Result<Self, KeyRefused> {
        let Surroundings { clock, tasks, metrics, fleet } = surroundings;
        let fleet = duties::fleet(fleet, &settings, provider.settings().timeout, &metrics)?;
        let sealer = Sealer::new(&settings.keys, Purpose::Session, &settings.cookie.name)?;
        let policy = Policy {
            lifetime: settings.lifetime,
            grace: settings.grace,
            idle_timeout: settings.idle_timeout,
            rollback: settings.rollback,
            after_unknown: settings.after_unknown,
        };
        let company = if fleet.is_some() { Company::Fleet } else { Company::Alone };
        let registry = Registry::new(policy, settings.capacity, company);
        let names = Names::new(&settings.cookie.name);
        let shared = Shared {
            settings,
            provider,
            registry,
            clock,
            tasks,
            metrics,
            names,
            sealer,
            draining: AtomicBool::new(false),
            fleet,
            following: watch::Sender::new(Following::Loading),
        };
        let sessions = Self { shared: Arc::new(shared) };
        sessions.sweep_forever();
        sessions.follow_forever();
        Ok(sessions)
    }

    fn sweep_forever(&self) {
        let shared = Arc::downgrade(&self.shared);
        self.shared.tasks.spawn_endless(async move {
            loop {
                tokio::time::sleep(SWEEP_INTERVAL).await;
                let Some(shared) = shared.upgrade() else { return };
                shared.registry.sweep(shared.clock.now());
            }
        });
    }

    fn follow_forever(&self) {
        let shared = &self.shared;
        if shared.fleet.is_none() {
            shared.following.send_replace(Following::Loaded);
            return;
        }
        let following = shared.following.clone();
        shared.tasks.spawn_endless(follow::denials(Arc::downgrade(shared), following));
        shared.tasks.spawn_endless(follow::notes(Arc::downgrade(shared)));
        shared.tasks.spawn_endless(follow::returns(Arc::downgrade(shared)));
        shared.tasks.spawn_endless(follow::absences(Arc::downgrade(shared)));
    }

    /// Tells when the sessions that were ended elsewhere are known: before that a replica is not ready (rule 9).
    pub fn following(&self) -> watch::Receiver<Following> {
        self.shared.following.subscribe()
    }

    #[cfg(test)]
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The names of our cookies.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// What the configuration says about sessions.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// How many sessions are remembered.
    pub fn remembered(&self) -> usize {
        self.shared.registry.len()
    }

    /// Judges the session cookie of a request; waits, at most `refresh_wait`, where only a refresh helps.
    ///
    /// Cancel safety: dropping the future stops the wait, never the refresh.
    pub async fn admit(&self, jar: &Jar<'_>, ask: Ask) -> Admitted {
        let now = self.shared.clock.now();
        let draining = self.shared.draining.load(Ordering::Relaxed);
        let ask = if draining && ask == Ask::Usual { Ask::OnlyIfExpired } else { ask };
        if self.shared.fleet.as_ref().is_some_and(|fleet| fleet.is_blind()) {
            return self.shared.refuse_blindly(jar);
        }
        let Some((presented, seen_at, answer)) = self.shared.open_and_present(jar, ask, now) else {
            return Admitted::Nobody;
        };
        if mutation::is(Mutation::StoreOnTheWay)
            && let Some(fleet) = &self.shared.fleet
        {
            drop(fleet.look_up(presented.sid).await);
        }
        let answer = match answer {
            Answer::PastItsTime(cause) => {
                match Box::pin(self.shared.second_opinion((presented, seen_at), ask, cause)).await {
                    Ok(answer) => answer,
                    Err(refused) => return Admitted::Refused { refused, presented },
                }
            }
            answer @ (Answer::Unknown | Answer::Known { .. }) => answer,
        };
        match self.shared.act(presented, answer) {
            Acted::Done(admitted) => admitted,
            Acted::Wait(settled) => Box::pin(self.wait((presented, seen_at), settled, ask)).await,
        }
    }

    async fn wait(
        &self,
        cookie: (Presented, Timestamp),
        mut settled: watch::Receiver<()>,
        ask: Ask,
    ) -> Admitted {
        let deadline = Instant::now() + self.shared.settings.refresh_wait;
        let presented = cookie.0;
        let refused = |refused| Admitted::Refused { refused, presented };
        let again = if ask == Ask::RefreshNow { Ask::Usual } else { ask };
        // An error of `changed` is the signal: the sender is dropped when the flight is settled.
        while tokio::time::timeout_at(deadline, settled.changed()).await.is_ok() {
            if self.shared.fleet.as_ref().is_some_and(|fleet| fleet.is_blind()) {
                return refused(Refused::StoreUnavailable(Duration::from_secs(1)));
            }
            let answer = self.shared.registry.present(cookie, None, again, self.shared.clock.now());
            if !matches!(answer, Answer::Known { .. }) {
                // Forgotten to make room while it waited: the next request adopts it anew.
                break;
            }
            match self.shared.act(presented, answer) {
                Acted::Done(admitted) => return admitted,
                Acted::Wait(next) => settled = next,
            }
        }
        refused(Refused::Unavailable(Duration::from_secs(1)))
    }

    /// Ends the session of a jar, whatever state its tokens are in. `None` where there is none.
    pub fn end(&self, jar: &Jar<'_>, cause: EndCause) -> Option<Arc<Session>> {
        let session = self.shared.open(jar)?;
        let aftermath = self.shared.registry.end(&session, cause);
        let ended_now = aftermath.ended.is_some();
        self.shared.follow_up(aftermath);
        ended_now.then_some(session)
    }

    /// The `Set-Cookie` values that a response must carry, decided now from the newest generation (rule 4).
    pub fn cookies_due(&self, ticket: &Ticket) -> Vec<HeaderValue> {
        if !ticket.carries_cookie {
            return Vec::new();
        }
        if mutation::is(Mutation::CookieOfTheTicket) {
            let cookies = self.shared.seal(&ticket.session, self.shared.clock.now());
            return cookies.map(|cookies| cookies.to_vec()).unwrap_or_default();
        }
        self.newest_cookies(&ticket.presented)
    }

    /// The same for a request that was refused although its session lives.
    pub fn newest_cookies(&self, presented: &Presented) -> Vec<HeaderValue> {
        let shared = &self.shared;
        let now = shared.clock.now();
        let seal = |session: &Session| match shared.seal(session, now) {
            Ok(cookies) => Some(cookies),
            Err(error) => {
                tracing::error!(session = %session.sid.log_id(), %error, "the session cookie cannot be written");
                None
            }
        };
        match shared.registry.cookies_due(presented, now, seal) {
            None => Vec::new(),
            Some(cookies) => {
                let surplus = shared.surplus(cookies.len(), presented.chunks);
                cookies.iter().cloned().chain(surplus).collect()
            }
        }
    }

    /// Deletes every session cookie that a browser sent: `chunks` of them.
    pub fn deletion(&self, chunks: usize) -> Vec<HeaderValue> {
        self.shared.surplus(0, chunks.max(1)).collect()
    }

    /// Seals with the first of `keys` from now on, and opens with all of them. A session that is known here is sealed
    /// anew with its next refresh.
    ///
    /// # Errors
    /// Where they cannot be used; nothing is changed then.
    pub fn replace_keys(&self, keys: &[Key]) -> Result<(), KeyRefused> {
        self.shared.sealer.replace(keys)?;
        match &self.shared.fleet {
            Some(fleet) => fleet.replace_keys(keys),
            None => Ok(()),
        }
    }

    /// From now on no refresh begins beside a request: its successor would have nobody to carry it.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Waits until every refresh under way is finished and kept (rule 10).
    pub async fn finish(&self, limit: Duration) -> bool {
        mutation::is(Mutation::DrainLeavesFlights) || self.shared.tasks.finish(limit).await
    }
}

enum Acted {
    Done(Admitted),
    Wait(watch::Receiver<()>),
}

impl Shared {
    /// Opens the jar's session cookie and asks the registry, copying the session only where it is not known.
    fn open_and_present(
        &self,
        jar: &Jar<'_>,
        ask: Ask,
        now: Timestamp,
    ) -> Option<(Presented, Timestamp, Answer)> {
        self.with_opened(jar, |bytes| {
            let Start { sid, generation, seen_at, .. } = codec::decode_start(bytes)?;
            let presented = Presented { sid, generation, chunks: jar.chunks() };
            let cookie = (presented, seen_at);
            let mut answer = self.registry.present(cookie, None, ask, now);
            if matches!(answer, Answer::Unknown) {
                let session = Arc::new(codec::session(bytes)?);
                answer = self.registry.present(cookie, Some(session), ask, now);
            }
            Ok((presented, seen_at, answer))
        })
    }

    /// Nobody knows whether the session of `jar` was ended. It is not presented: nothing may follow from it.
    fn refuse_blindly(&self, jar: &Jar<'_>) -> Admitted {
        let presented = self.with_opened(jar, |bytes| {
            let Start { sid, generation, .. } = codec::decode_start(bytes)?;
            Ok(Presented { sid, generation, chunks: jar.chunks() })
        });
        let refused = Refused::StoreUnavailable(Duration::from_secs(1));
        presented.map_or(Admitted::Nobody, |presented| Admitted::Refused { refused, presented })
    }

    fn open(&self, jar: &Jar<'_>) -> Option<Arc<Session>> {
        self.with_opened(jar, |bytes| codec::session(bytes).map(Arc::new))
    }

    fn with_opened<T>(&self, jar: &Jar<'_>, then: impl FnOnce(&[u8]) -> Result<T, Unreadable>) -> Option<T> {
        if jar.was_tossed() {
            self.metrics.cookie_rejected("tossed");
            return None;
        }
        jar.session.first().copied().flatten()?;
        BUFFERS.with_borrow_mut(|(joined, plain)| {
            let opened = match chunk::join(&jar.session, joined) {
                Some(sealed) => self.sealer.open(sealed, plain).map_err(OpenError::label),
                None => Err("incomplete"),
            };
            let result = opened.and_then(|bytes| then(bytes).map_err(Unreadable::label));
            // `Zeroize` would go byte by byte, on every request. The buffer is kept, so the write cannot be left out.
            plain.fill(0);
            result.map_err(|label| self.metrics.cookie_rejected(label)).ok()
        })
    }

    /// Carries out what the registry decided.
    fn act(self: &Arc<Self>, presented: Presented, answer: Answer) -> Acted {
        let Answer::Known { admission, aftermath, settled, sight } = answer else {
            return Acted::Done(Admitted::Nobody);
        };
        if sight == Sight::First && self.fleet.is_some() {
            self.look_up(presented.sid);
        }
        let rolled_back = aftermath.ended == Some(EndCause::Rollback)
            || matches!(admission, Admission::Refuse(Refused::RolledBack));
        self.follow_up(aftermath);
        match admission {
            Admission::Serve(session, attempt) => {
                if let Some(attempt) = attempt {
                    self.start(attempt);
                }
                Acted::Done(Admitted::Ticket(Ticket { session, presented, carries_cookie: true }))
            }
            Admission::Wait(attempt) => {
                if let Some(attempt) = attempt {
                    self.start(attempt);
                }
                match settled {
                    Some(settled) => Acted::Wait(settled),
                    None => Acted::Done(Admitted::Nobody),
                }
            }
            Admission::Refuse(refused) => {
                if rolled_back {
                    let session = SessionTag::of(presented.sid.as_bytes());
                    AuditEvent::Rollback { session, presented: presented.generation }.emit();
                }
                Acted::Done(Admitted::Refused { refused, presented })
            }
        }
    }

    /// Rule 2: a refresh is a task of its own.
    fn start(self: &Arc<Self>, attempt: Attempt) {
        let flight = flight::fly(Arc::clone(self), attempt);
        #[cfg(test)]
        let flight = mutation::of_the_client(flight);
        self.tasks.spawn(flight);
    }

    /// A flight reports.
    pub(crate) fn settle(
        self: &Arc<Self>,
        from: &Arc<Session>,
        outcome: Outcome,
        (label, repeat): (RefreshOutcome, Repeat),
    ) {
        self.metrics.refresh(label);
        if repeat == Repeat::AfterUnknown {
            self.metrics.refresh(RefreshOutcome::RepeatedAfterUnknown);
        }
        let session = SessionTag::of(from.sid.as_bytes());
        if matches!(label, RefreshOutcome::Rotated | RefreshOutcome::Kept) {
            tracing::debug!(%session, generation = from.generation + 1, "token refreshed");
        } else {
            AuditEvent::RefreshFailed { session, outcome: label }.emit();
        }
        let aftermath = self.registry.settle(from, outcome, self.clock.now());
        self.follow_up(aftermath);
    }

    fn seal(&self, session: &Session, now: Timestamp) -> Result<Arc<[HeaderValue]>, BeginError> {
        self.sealed(session, now).map(|(_, cookies)| cookies)
    }

    /// A generation's sealed value, and the cookies that carry it.
    fn sealed(&self, session: &Session, now: Timestamp) -> Result<(String, Arc<[HeaderValue]>), BeginError> {
        let bytes = codec::encode(session).map_err(|_| BeginError::NotSealed)?;
        let sealed = self.sealer.seal(bytes).map_err(|_| BeginError::NotSealed)?;
        let cookies = self.cookies_of(&sealed, session, now)?;
        Ok((sealed, cookies))
    }

    fn cookies_of(
        &self,
        sealed: &str,
        session: &Session,
        now: Timestamp,
    ) -> Result<Arc<[HeaderValue]>, BeginError> {
        let values = chunk::split(sealed, &self.settings.cookie.name, session.generation)?;
        let life = Life::For(session.expires_at.since(now));
        let cookies = values.iter().enumerate().map(|(index, value)| {
            set_cookie(&self.names.chunk(index), value, life, &self.settings.cookie)
                .ok_or(BeginError::NotSealed)
        });
        cookies.collect::<Result<Vec<_>, _>>().map(Arc::from)
    }

    /// Deletions of the chunks that a shorter set leaves over (std:90).
    fn surplus(&self, count: usize, presented: usize) -> impl Iterator<Item = HeaderValue> {
        (count..presented.min(MAX_CHUNKS))
            .filter_map(|index| set_cookie(&self.names.chunk(index), "", Life::Delete, &self.settings.cookie))
    }
}

impl OpenError {
    /// The word for it in metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownVersion => "unknown_version",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
        }
    }
}

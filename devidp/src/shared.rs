//! What all connections of a provider share.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::clock::Clock;
use crate::crypto::random_below;
use crate::faults::Faults;
use crate::http_io::Call;
use crate::keys::{Keys, SigningKey};
use crate::seen::{ClientAuth, Seen};
use crate::settings::{Client, Rotation, Settings};
use crate::state::State;

/// What all connections of a provider share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) issuer: String,
    pub(crate) address: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) seen: Seen,
    state: Mutex<State>,
    keys: Mutex<Keys>,
    habits: Mutex<Habits>,
}

/// The settings that can be changed while the provider runs.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    pub(crate) rotation: Rotation,
    pub(crate) token_delay: RangeInclusive<Duration>,
    pub(crate) access_token_life: Duration,
}

impl Shared {
    pub(crate) fn new(settings: Settings, address: SocketAddr) -> io::Result<Self> {
        let host = settings.host.clone().unwrap_or_else(|| address.ip().to_string());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let habits = Habits {
            rotation: settings.rotation,
            token_delay: settings.token_delay.clone(),
            access_token_life: settings.access_token_life,
        };
        Ok(Self {
            issuer: format!("http://{host}:{}", address.port()),
            address,
            clock: Clock::default(),
            faults: Faults::default(),
            seen: Seen::new(),
            state: Mutex::new(State::new(&settings)),
            keys: Mutex::new(Keys::generate(settings.signing)?),
            habits: Mutex::new(habits),
            settings,
        })
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn habits(&self) -> MutexGuard<'_, Habits> {
        self.habits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pause from the configured range.
    pub(crate) fn token_delay(&self) -> Duration {
        let range = self.habits().token_delay.clone();
        let span = range.end().saturating_sub(*range.start());
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        *range.start() + Duration::from_micros(random_below(span.saturating_add(1)))
    }

    pub(crate) fn rotate_keys(&self) -> io::Result<()> {
        let next = SigningKey::generate(self.settings.signing)?;
        self.keys().rotate(next);
        Ok(())
    }

    /// The name of the login cookie. Cookies do not know ports, so the port is in it.
    pub(crate) fn cookie_name(&self) -> String {
        format!("devidp_{}", self.address.port())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// RFC 6749 §2.3.1: HTTP Basic or the form, not both.
    pub(crate) fn authenticated_client(&self, call: &Call) -> Option<Client> {
        let form = call.form();
        let (id, secret, method) = match (call.basic(), form.one("client_secret")) {
            (Some((id, secret)), None) if form.one("client_id").is_none_or(|named| named == id) => {
                (id, secret, ClientAuth::Basic)
            }
            (None, Some(secret)) => (form.one("client_id")?.to_owned(), secret.to_owned(), ClientAuth::Post),
            (Some(_), _) | (None, None) => return None,
        };
        let client = self.state().authenticate(&id, &secret)?;
        self.seen.client_authenticated(method);
        Some(client)
    }
}

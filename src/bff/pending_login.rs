//! A login between the redirect to the provider and its callback.
//!
//! Everything the callback needs (issuer, verifier, nonce, return target, expiry) travels sealed in `state`, so any
//! number of tabs can log in at once without a cookie each. One small cookie, the same for all of them, binds the
//! `state` to this browser (std:12, std:14, std:15). A login is redeemed once: its id is burned before the code is
//! sent (std:28).

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::secret::{Secret, constant_time_eq, random, random_text, sha256};
use crate::base::time::Timestamp;
use crate::session::cookie::seal::{KeyRefused, Purpose, Sealer};
use crate::session::settings::Key;

/// How long a user may take at the provider (std:14).
pub const LOGIN_LIFE: Duration = Duration::from_secs(600);

/// How often a login that lost its browser binding starts again by itself.
pub const MOST_ATTEMPTS: u8 = 2;

/// The most logins that are redeemed within [`LOGIN_LIFE`].
const MOST_BURNED: usize = 100_000;

/// Ties logins to one browser: 128 random bits, held by its login cookie.
pub struct Binding(Secret<String>);

impl Binding {
    /// The one a browser has, or a new one.
    pub fn of(cookie: Option<&[u8]>) -> Self {
        Self::existing(cookie).unwrap_or_else(|| Self(Secret::new(random_text::<16>())))
    }

    /// The one a browser has.
    pub fn existing(cookie: Option<&[u8]>) -> Option<Self> {
        let text = std::str::from_utf8(cookie?).ok()?;
        let well_formed =
            text.len() == 22 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        well_formed.then(|| Self(Secret::new(text.to_owned())))
    }

    /// The cookie's value.
    pub fn value(&self) -> &str {
        self.0.expose()
    }
}

/// A login under way.
#[derive(Serialize, Deserialize)]
pub struct PendingLogin {
    id: [u8; 16],
    binding: [u8; 32],
    /// The PKCE verifier.
    pub verifier: String,
    /// The nonce.
    pub nonce: String,
    /// Where it ends.
    pub return_to: String,
    /// The issuer that was asked (RFC 9700 §4.4.2).
    pub issuer: String,
    expires_at: Timestamp,
    /// How often it started again by itself.
    pub attempt: u8,
    /// Parameters for the provider that the login began with, for the case that it starts again.
    pub extra: Vec<(String, String)>,
}

impl std::fmt::Debug for PendingLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingLogin").field("return_to", &self.return_to).finish_non_exhaustive()
    }
}

impl Drop for PendingLogin {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.verifier);
    }
}

impl PendingLogin {
    /// A new one, bound to a browser.
    pub fn new(binding: &Binding, issuer: &str, return_to: &str, now: Timestamp) -> Self {
        Self {
            id: random(),
            binding: sha256(binding.value().as_bytes()),
            verifier: random_text::<32>(),
            nonce: random_text::<16>(),
            return_to: return_to.to_owned(),
            issuer: issuer.to_owned(),
            expires_at: now.plus(LOGIN_LIFE),
            attempt: 0,
            extra: Vec::new(),
        }
    }

    /// Whether this browser started it.
    pub fn is_bound_to(&self, binding: &Binding) -> bool {
        constant_time_eq(&self.binding, &sha256(binding.value().as_bytes()))
    }
}

/// Seals logins into `state`, opens them, and remembers which were redeemed.
pub struct PendingLogins {
    sealer: Sealer,
    burned: Mutex<Burned>,
}

impl std::fmt::Debug for PendingLogins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingLogins")
    }
}

impl PendingLogins {
    /// None under way.
    ///
    /// # Errors
    /// Where the key ring cannot be used.
    pub fn new(keys: &[Key]) -> Result<Self, KeyRefused> {
        Ok(Self { sealer: Sealer::new(keys, Purpose::Login, "state")?, burned: Mutex::default() })
    }

    /// Goes on with another key ring.
    ///
    /// # Errors
    /// Where it cannot be used; nothing is changed then.
    pub fn replace_keys(&self, keys: &[Key]) -> Result<(), KeyRefused> {
        self.sealer.replace(keys)
    }

    /// The `state` of a login. `None` where it cannot be sealed, which does not happen with checked keys.
    pub fn seal(&self, login: &PendingLogin) -> Option<String> {
        self.sealer.seal(postcard::to_stdvec(login).ok()?).ok()
    }

    /// Opens a `state`; `None` where it is not ours or too old.
    pub fn open(&self, state: &str, now: Timestamp) -> Option<PendingLogin> {
        let mut buffer = Vec::new();
        let plain = self.sealer.open(state.as_bytes(), &mut buffer).ok()?;
        let login: PendingLogin = postcard::from_bytes(plain).ok()?;
        zeroize::Zeroize::zeroize(&mut buffer);
        (now < login.expires_at).then_some(login)
    }

    /// Burns a login: true the first time, false ever after. False also where so many are being redeemed that no
    /// more can be remembered: a login that cannot be burned is not redeemed.
    pub fn burn(&self, login: &PendingLogin, now: Timestamp) -> bool {
        self.burned.lock().unwrap_or_else(PoisonError::into_inner).insert(login.id, now)
    }
}

/// The logins of the last one to two [`LOGIN_LIFE`]s that were redeemed, in two halves of which the older one is
/// dropped as a whole: remembering one costs the same however many there are.
#[derive(Default)]
struct Burned {
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    turned_at: Option<Timestamp>,
}

impl Burned {
    fn insert(&mut self, id: [u8; 16], now: Timestamp) -> bool {
        let turned_at = *self.turned_at.get_or_insert(now);
        if now.since(turned_at) >= LOGIN_LIFE {
            self.old = std::mem::take(&mut self.young);
            self.turned_at = Some(now);
        }
        !self.old.contains(&id) && self.young.len() < MOST_BURNED && self.young.insert(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn logins() -> PendingLogins {
        PendingLogins::new(&[Key { id: "k".into(), bytes: Secret::new([1; 32]) }]).unwrap()
    }

    #[test]
    fn a_login_travels_in_state_and_opens_until_it_is_too_old() {
        let logins = logins();
        let login = PendingLogin::new(&Binding::of(None), "https://id.example.com", "/a", NOW);
        let state = logins.seal(&login).unwrap();
        assert!(state.len() < 500, "{}", state.len());
        assert!(!state.contains(&login.verifier));
        let opened = logins.open(&state, NOW.plus(LOGIN_LIFE / 2)).unwrap();
        assert_eq!(
            (&opened.verifier, &opened.nonce, &opened.return_to),
            (&login.verifier, &login.nonce, &login.return_to)
        );
        assert!(logins.open(&state, NOW.plus(LOGIN_LIFE)).is_none());
        assert!(logins.open("1.k.AAAA", NOW).is_none());
    }

    #[test]
    fn it_is_bound_to_one_browser_and_all_its_tabs() {
        let browser = Binding::of(None);
        let tab = Binding::of(Some(browser.value().as_bytes()));
        let other = Binding::of(None);
        let login = PendingLogin::new(&browser, "https://id.example.com", "/", NOW);
        assert!(login.is_bound_to(&tab));
        assert!(!login.is_bound_to(&other));
        for malformed in [&b""[..], b"short", b"0123456789012345678901", b"01234567890123456789=1"] {
            let kept = Binding::existing(Some(malformed)).is_some();
            assert_eq!(kept, malformed == b"0123456789012345678901");
        }
    }

    #[test]
    fn it_is_redeemed_once() {
        // std:28
        let logins = logins();
        let login = PendingLogin::new(&Binding::of(None), "https://id.example.com", "/", NOW);
        assert!(logins.burn(&login, NOW));
        assert!(!logins.burn(&login, NOW));
        assert!(!logins.burn(&login, NOW.plus(LOGIN_LIFE)), "as long as its `state` opens, and longer");
        let later = PendingLogin::new(&Binding::of(None), "https://id.example.com", "/", NOW);
        assert!(logins.burn(&later, NOW.plus(LOGIN_LIFE)));
        assert!(!logins.burn(&login, NOW.plus(LOGIN_LIFE)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut burned = Burned::default();
        for number in 0..MOST_BURNED {
            assert!(burned.insert((number as u128).to_be_bytes(), NOW));
        }
        assert!(!burned.insert(u128::MAX.to_be_bytes(), NOW));
        assert!(burned.insert(u128::MAX.to_be_bytes(), NOW.plus(LOGIN_LIFE)));
    }
}

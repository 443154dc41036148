//! A session as data: who, since when, with which tokens.
//!
//! Plain values, no behaviour that needs I/O.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::base::secret::{Secret, random, sha256};
use crate::base::time::Timestamp;

/// Claims of the user, by name.
pub type Claims = Map<String, Value>;

/// Names a session: 128 random bits made at login, the same across refreshes (std:97).
///
/// Never printed: `Debug` and [`SessionId::log_id`] show a hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new one.
    pub fn new() -> Self {
        Self(random())
    }

    /// One that is already known, for tests and stores.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 128 bits.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What logs may show of it (std:180).
    pub fn log_id(&self) -> String {
        let [a, b, c, d, e, f, ..] = sha256(&self.0);
        format!("{:012x}", u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }
}

impl Default for SessionId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.log_id())
    }
}

/// How often a session's refresh token was rotated.
pub type Generation = u64;

/// One generation of one session.
#[derive(Debug)]
pub struct Session {
    /// Its name.
    pub sid: SessionId,
    /// Which generation this is.
    pub generation: Generation,
    /// Whose it is and where from: fixed at login.
    pub identity: Identity,
    /// When the login was.
    pub login_at: Timestamp,
    /// When the token request that brought these tokens was sent.
    pub refreshed_at: Timestamp,
    /// When the session was last known to be in use, for the idle limit across restarts.
    pub seen_at: Timestamp,
    /// When it ends whatever happens (std:80).
    pub expires_at: Timestamp,
    /// Its tokens.
    pub tokens: Tokens,
    /// The claims that were chosen to be kept, as of the last refresh.
    pub claims: Claims,
}

/// Whose session it is: what a refreshed ID token is compared with (OIDC Core §12.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's issuer identifier.
    pub issuer: String,
    /// The user's `sub` there.
    pub subject: String,
    /// The provider's own session id, if it named one.
    pub provider_sid: Option<String>,
    /// When the user authenticated, if the provider said so; seconds since the epoch.
    pub auth_time: Option<i64>,
    /// The nonce of the login.
    pub nonce: String,
}

/// The tokens of one generation.
#[derive(Debug)]
pub struct Tokens {
    /// `Bearer <access token>`, made once.
    pub bearer: HeaderValue,
    /// When the access token is no longer forwarded.
    pub access_expires_at: Timestamp,
    /// The refresh token, if the provider gave one.
    pub refresh: Option<Secret<String>>,
    /// The ID token, where it is kept for `id_token_hint`.
    pub id_token: Option<Secret<String>>,
    /// The granted scope, space-separated.
    pub scope: String,
}

/// The access token has bytes that cannot stand in a header field (RFC 6750 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the access token cannot be sent in a header field")]
pub struct NotABearer;

/// Makes the header field value that carries `access_token`.
///
/// # Errors
/// Where the token has characters outside `token68` of RFC 6750 §2.1.
pub fn bearer(access_token: &str) -> Result<HeaderValue, NotABearer> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if access_token.is_empty() || !access_token.bytes().all(fits) {
        return Err(NotABearer);
    }
    let mut value = HeaderValue::try_from(format!("Bearer {access_token}")).map_err(|_| NotABearer)?;
    value.set_sensitive(true);
    Ok(value)
}

impl Tokens {
    /// The access token inside the header field value.
    pub fn access(&self) -> &str {
        self.bearer.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
    }

    fn duplicate(&self) -> Self {
        Self {
            bearer: self.bearer.clone(),
            access_expires_at: self.access_expires_at,
            refresh: self.refresh.as_ref().map(Secret::duplicate),
            id_token: self.id_token.as_ref().map(Secret::duplicate),
            scope: self.scope.clone(),
        }
    }
}

impl Session {
    /// The same generation, seen in use at `now`.
    #[must_use]
    pub fn seen(&self, now: Timestamp) -> Self {
        Self {
            sid: self.sid,
            generation: self.generation,
            identity: self.identity.clone(),
            login_at: self.login_at,
            refreshed_at: self.refreshed_at,
            seen_at: now,
            expires_at: self.expires_at,
            tokens: self.tokens.duplicate(),
            claims: self.claims.clone(),
        }
    }

    /// How long these tokens' access token lives in all.
    pub fn access_life(&self) -> Duration {
        self.tokens.access_expires_at.since(self.refreshed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_never_prints_itself() {
        let sid = SessionId::from_bytes([0xab; 16]);
        assert!(!format!("{sid:?}").contains("abab"));
        assert_eq!(sid.log_id().len(), 12);
    }

    #[test]
    fn only_a_token68_becomes_a_bearer() {
        assert_eq!(bearer("abc-._~+/=").unwrap(), "Bearer abc-._~+/=");
        for wrong in ["", "a b", "a\nb", "a\"b", "ä"] {
            assert_eq!(bearer(wrong), Err(NotABearer), "{wrong:?}");
        }
    }
}

//! What the configuration says about sessions.

use std::time::Duration;

use crate::base::secret::Secret;

/// Keys, cookie and lives of sessions.
#[derive(Debug)]
pub struct Settings {
    /// The first key seals, all open. Never empty.
    pub keys: Vec<Key>,
    /// The cookie.
    pub cookie: Cookie,
    /// How long a session lasts whatever happens.
    pub lifetime: Duration,
    /// How long a session may be unused.
    pub idle_timeout: Duration,
    /// How long a superseded cookie still works.
    pub grace: Duration,
    /// What a cookie superseded longer ago does.
    pub rollback: Rollback,
    /// What follows a refresh whose outcome stays unknown.
    pub after_unknown: AfterUnknown,
    /// How long a request waits for a refresh before it is answered 503.
    pub refresh_wait: Duration,
    /// Claims kept in the session besides `sub`.
    pub claims: Vec<String>,
    /// Whether the ID token is kept, for `id_token_hint` at logout.
    pub keep_id_token: KeepIdToken,
    /// How many sessions one replica remembers.
    pub capacity: usize,
}

/// A key of the ring: 256 bits and the id that stands in clear before what it sealed.
#[derive(Debug)]
pub struct Key {
    /// 1 to 16 characters of `A-Z a-z 0-9 _ -`.
    pub id: String,
    /// The key.
    pub bytes: Secret<[u8; 32]>,
}

/// The session cookie's name and attributes.
#[derive(Debug, Clone)]
pub struct Cookie {
    /// `__Host-bearward` on https, `bearward` on a loopback development origin.
    pub name: String,
    /// `SameSite`
    pub same_site: SameSite,
    /// `Secure`: always on https.
    pub secure: Secure,
}

/// The `SameSite` attribute (6265bis §4.1.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// `Lax`
    Lax,
    /// `Strict`
    Strict,
}

/// The `Secure` attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secure {
    /// Sent over https only.
    Required,
    /// Also sent over http: a loopback development origin.
    Loopback,
}

/// What a cookie that was superseded longer than the grace ago does to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// The session is ended for everyone who holds it.
    End,
    /// The request is refused, the session lives on.
    Reject,
}

/// What follows a refresh whose outcome is unknown: sent, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterUnknown {
    /// One more attempt with the same refresh token.
    RetryOnce,
    /// No attempt: a login when the access token has run out.
    Login,
}

/// Whether the ID token is kept in the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepIdToken {
    /// Dropped once its claims were read.
    Drop,
    /// Kept for `id_token_hint`.
    ForLogoutHint,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Settings as a test needs them: one key, the documented defaults.
    pub(crate) fn settings() -> Settings {
        Settings {
            keys: vec![Key { id: "k".to_owned(), bytes: Secret::new([7; 32]) }],
            cookie: Cookie {
                name: "__Host-bearward".to_owned(),
                same_site: SameSite::Lax,
                secure: Secure::Required,
            },
            lifetime: Duration::from_secs(12 * 3600),
            idle_timeout: Duration::from_secs(3600),
            grace: Duration::from_secs(300),
            rollback: Rollback::End,
            after_unknown: AfterUnknown::RetryOnce,
            refresh_wait: Duration::from_secs(10),
            claims: Vec::new(),
            keep_id_token: KeepIdToken::Drop,
            capacity: 100,
        }
    }
}

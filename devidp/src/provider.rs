//! The handle of a running provider.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::unix;
use crate::crypto::random_string;
use crate::faults::Faults;
use crate::seen::Seen;
use crate::server::Listening;
use crate::settings::{Client, Rotation, Settings, User};
use crate::shared::Shared;
use crate::tokens;

/// A running provider. Clones are the same provider; it stops with the last of them.
#[derive(Debug, Clone)]
pub struct Provider {
    shared: Arc<Shared>,
    listening: Arc<Listening>,
}

impl Provider {
    /// Binds, and serves on the runtime that this is called from.
    ///
    /// # Errors
    /// The address or the host is not loopback, or it cannot be bound.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let (listening, listener) = Listening::bind(&settings)?;
        let shared = Arc::new(Shared::new(settings, listening.address())?);
        listening.serve(listener, Arc::clone(&shared)).await;
        Ok(Self { shared, listening: Arc::new(listening) })
    }

    /// The issuer, such as `http://127.0.0.1:40123`.
    pub fn issuer(&self) -> String {
        self.shared.issuer.clone()
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The switches for misbehaviour.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// What has been seen.
    pub fn seen(&self) -> &Seen {
        &self.shared.seen
    }

    /// Stops for good. Every connection is closed.
    pub async fn stop(self) {
        self.listening.stop().await;
    }

    /// Goes down: every connection is closed and new ones are refused once this returns. What is remembered
    /// stays.
    pub async fn stop_listening(&self) {
        self.listening.stop().await;
    }

    /// Comes up again on the same port. Nothing happens if it is up.
    ///
    /// # Errors
    /// The port was given by the settings and somebody else has taken it.
    pub async fn resume_listening(&self) -> io::Result<()> {
        self.listening.resume(Arc::clone(&self.shared)).await
    }

    /// Adds a client, or replaces the one of that id.
    pub fn register(&self, client: Client) {
        self.shared.state().register(client);
    }

    /// Adds a user, or replaces the one of that subject.
    pub fn add_user(&self, user: User) {
        self.shared.state().add_user(user);
    }

    /// Changes a user; seen at the next refresh. `false` if there is none of that subject.
    pub fn update_user(&self, sub: &str, change: impl FnOnce(&mut User)) -> bool {
        self.shared.state().update_user(sub, change)
    }

    /// No login any more, and the next refresh ends in `invalid_grant`. `false` if there is no such user.
    pub fn disable_user(&self, sub: &str) -> bool {
        self.shared.state().set_enabled(sub, false)
    }

    /// Undoes [`Self::disable_user`], but grants that were ended stay so.
    pub fn enable_user(&self, sub: &str) -> bool {
        self.shared.state().set_enabled(sub, true)
    }

    /// Signs with a new key from now on; the old ones stay in the key set.
    ///
    /// # Errors
    /// No key could be made.
    pub fn rotate_keys(&self) -> io::Result<()> {
        self.shared.rotate_keys()
    }

    /// Takes all but the newest key out of the key set.
    pub fn forget_old_keys(&self) {
        self.shared.keys().forget_old();
    }

    /// Changes what happens to refresh tokens that are used from now on.
    pub fn set_rotation(&self, rotation: Rotation) {
        self.shared.habits().rotation = rotation;
    }

    /// Changes the pause before token answers.
    pub fn set_token_delay(&self, delay: RangeInclusive<Duration>) {
        self.shared.habits().token_delay = delay;
    }

    /// Changes the life of access tokens that are issued from now on.
    pub fn set_access_token_life(&self, life: Duration) {
        self.shared.habits().access_token_life = life;
    }

    /// Moves the provider's clock ahead: tokens age, and new ones are stamped with the later time.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.clock.advance(by);
    }

    /// Moves the provider's clock back.
    pub fn set_clock_back(&self, by: Duration) {
        self.shared.clock.set_back(by);
    }

    /// Whether any grant of the user is alive.
    pub fn grant_alive(&self, sub: &str) -> bool {
        self.live_grants(sub) > 0
    }

    /// How many grants of the user are alive.
    pub fn live_grants(&self, sub: &str) -> usize {
        self.shared.state().live_grants(sub)
    }

    /// Ends all grants of the user, as an administrator would; how many were alive.
    pub fn end_grants(&self, sub: &str) -> usize {
        self.shared.state().end_grants(sub)
    }

    /// The newest refresh token of the user's newest login.
    pub fn newest_refresh_token(&self, sub: &str) -> Option<String> {
        self.shared.state().newest_refresh_token(sub)
    }

    /// Whether an access token is known, neither expired nor revoked, and its grant alive.
    pub fn access_token_is_live(&self, token: &str) -> bool {
        self.access_token_subject(token).is_some()
    }

    /// Whose live access token that is.
    pub fn access_token_subject(&self, token: &str) -> Option<String> {
        tokens::live_access_token(&self.shared, token).map(|live| live.sub)
    }

    /// An access token that belongs to no login, for API clients that bring their own.
    pub fn issue_access_token(&self, sub: &str, client_id: &str, scope: &str, life: Duration) -> String {
        tokens::issue_loose_access_token(&self.shared, sub, client_id, scope, life)
    }

    /// Signs any claims with the current key, under its `alg` and `kid`; `header` is laid over them.
    pub fn sign(&self, header: &Map<String, Value>, claims: &Value) -> String {
        let key = self.shared.keys().current();
        let mut all = key.header("JWT");
        all.extend(header.clone());
        key.sign(&all, &claims.to_string())
    }

    /// A correct back-channel logout token for a subject, a provider's session, or both.
    pub fn logout_token(&self, client_id: &str, sub: Option<&str>, sid: Option<&str>) -> String {
        let now = unix(self.shared.now());
        let mut claims = json!({
            "iss": self.shared.issuer, "aud": client_id, "iat": now, "exp": now + 120, "jti": random_string(),
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        if let Value::Object(claims) = &mut claims {
            claims.extend(sub.map(|sub| ("sub".to_owned(), sub.into())));
            claims.extend(sid.map(|sid| ("sid".to_owned(), sid.into())));
        }
        let mut header = Map::new();
        header.insert("typ".into(), "logout+jwt".into());
        self.sign(&header, &claims)
    }
}

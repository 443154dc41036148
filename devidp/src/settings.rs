//! What a provider is started with: its clients, its users, its habits.
//!
//! Everything has a default that behaves like a strict provider; a test changes only what it is about.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

/// What a provider is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen. Only loopback addresses are bound; port 0 takes a free one.
    pub address: SocketAddr,
    /// The host name in the issuer, `localhost` or below it; the address itself if not given.
    pub host: Option<String>,
    /// The clients that are known from the start; more come with [`crate::Provider::register`].
    pub clients: Vec<Client>,
    /// Who can log in.
    pub users: Vec<User>,
    /// How long an access token lives.
    pub access_token_life: Duration,
    /// How long a refresh token lives, counted anew for each successor.
    pub refresh_token_life: Duration,
    /// How long an ID token lives.
    pub id_token_life: Duration,
    /// How long an authorization code can be redeemed.
    pub code_life: Duration,
    /// What an access token looks like.
    pub access_token_format: AccessTokenFormat,
    /// `aud` of access tokens.
    pub access_token_audience: String,
    /// How tokens are signed.
    pub signing: SigningAlgorithm,
    /// The pause before each answer of the token endpoint, random within the range. The code or the refresh
    /// token is spent before the pause, never after it.
    pub token_delay: RangeInclusive<Duration>,
    /// What happens to a refresh token that was used.
    pub rotation: Rotation,
    /// Whether authorization responses carry `iss` and the metadata says so (RFC 9207).
    pub advertise_iss_parameter: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            host: None,
            clients: Vec::new(),
            users: User::built_in(),
            access_token_life: Duration::from_secs(300),
            refresh_token_life: Duration::from_secs(24 * 3600),
            id_token_life: Duration::from_secs(300),
            code_life: Duration::from_secs(60),
            access_token_format: AccessTokenFormat::default(),
            access_token_audience: "api".to_owned(),
            signing: SigningAlgorithm::default(),
            token_delay: Duration::ZERO..=Duration::ZERO,
            rotation: Rotation::default(),
            advertise_iss_parameter: true,
        }
    }
}

/// What an access token looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessTokenFormat {
    /// RFC 9068, `typ` is `at+jwt`.
    #[default]
    Jwt,
    /// A random string that only this provider understands.
    Opaque,
}

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256. The default, because its keys are made in no time.
    #[default]
    Es256,
    /// RSA 2048 with PKCS#1 v1.5, what most providers use.
    Rs256,
}

impl SigningAlgorithm {
    /// The name in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// What happens to a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// It is spent at once; presenting it again ends the grant.
    #[default]
    Strict,
    /// It stays good, and every answer repeats it.
    Off,
    /// It is accepted again for this long, each time with a new successor; later it ends the grant.
    Overlap(Duration),
}

/// A client of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// `client_secret`.
    pub secret: String,
    /// Compared exactly, as RFC 9700 §4.1.3 wants.
    pub redirect_uris: Vec<String>,
    /// Where the browser may be sent after logout; compared exactly.
    pub post_logout_redirect_uris: Vec<String>,
    /// Whether `offline_access` is granted, and with it a refresh token.
    pub allow_offline: bool,
}

impl Client {
    /// A client with one redirect URI that gets refresh tokens.
    pub fn new(id: impl Into<String>, secret: impl Into<String>, redirect_uri: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            redirect_uris: vec![redirect_uri.into()],
            post_logout_redirect_uris: Vec::new(),
            allow_offline: true,
        }
    }

    /// The same client with one more address after logout.
    #[must_use]
    pub fn after_logout(mut self, uri: impl Into<String>) -> Self {
        self.post_logout_redirect_uris.push(uri.into());
        self
    }
}

/// Somebody who can log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The subject, also `preferred_username` and what `login_hint` names.
    pub sub: String,
    /// The full name.
    pub name: String,
    /// The address, always verified.
    pub email: String,
    /// The groups.
    pub groups: Vec<String>,
    /// More claims for the ID token and userinfo; they win over the ones above.
    pub claims: Map<String, Value>,
}

impl User {
    /// A user with an address at `example.com`.
    pub fn new(sub: &str, name: &str, groups: &[&str]) -> Self {
        Self {
            sub: sub.to_owned(),
            name: name.to_owned(),
            email: format!("{sub}@example.com"),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            claims: Map::new(),
        }
    }

    /// Alice of the staff, Bob the customer, Carol who administers.
    pub fn built_in() -> Vec<Self> {
        vec![
            Self::new("alice", "Alice Archer", &["staff"]),
            Self::new("bob", "Bob Baker", &["customers"]),
            Self::new("carol", "Carol Cooper", &["staff", "admins"]),
        ]
    }

    /// The claims that describe the user, `sub` included.
    pub(crate) fn all_claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("sub".into(), self.sub.as_str().into());
        claims.insert("name".into(), self.name.as_str().into());
        claims.insert("preferred_username".into(), self.sub.as_str().into());
        claims.insert("email".into(), self.email.as_str().into());
        claims.insert("email_verified".into(), true.into());
        claims.insert("groups".into(), self.groups.as_slice().into());
        claims.extend(self.claims.clone());
        claims
    }
}

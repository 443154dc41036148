//! The misbehaviours: one switch each, settable while the provider runs.
//!
//! A switch is a queue of faults for the next requests, then perhaps one that stays. Nothing here acts; the
//! endpoints ask.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Every switch of a provider.
#[derive(Debug, Default)]
pub struct Faults {
    /// The token endpoint, separately for codes and for refresh tokens.
    pub token: PerGrant<TokenFault>,
    /// The ID tokens, separately at login and on refresh.
    pub id_token: PerGrant<IdTokenFault>,
    /// The redirect back to the client.
    pub callback: Switch<CallbackFault>,
    /// The key set.
    pub jwks: Switch<JwksFault>,
    /// The metadata.
    pub discovery: Switch<DiscoveryFault>,
    /// The revocation endpoint.
    pub revocation: Switch<PlainFault>,
    /// The introspection endpoint.
    pub introspection: Switch<PlainFault>,
    /// Userinfo.
    pub userinfo: Switch<UserinfoFault>,
}

impl Faults {
    /// Behaves again.
    pub fn clear(&self) {
        self.token.clear();
        self.id_token.clear();
        self.callback.clear();
        self.jwks.clear();
        self.discovery.clear();
        self.revocation.clear();
        self.introspection.clear();
        self.userinfo.clear();
    }
}

/// One switch for redeeming codes, one for refreshing.
#[derive(Debug)]
pub struct PerGrant<T> {
    /// `grant_type=authorization_code`.
    pub code: Switch<T>,
    /// `grant_type=refresh_token`.
    pub refresh: Switch<T>,
}

impl<T: Clone> PerGrant<T> {
    /// Both, until cleared.
    pub fn set(&self, fault: T) {
        self.code.set(fault.clone());
        self.refresh.set(fault);
    }

    /// Neither.
    pub fn clear(&self) {
        self.code.clear();
        self.refresh.clear();
    }
}

impl<T> Default for PerGrant<T> {
    fn default() -> Self {
        Self { code: Switch::default(), refresh: Switch::default() }
    }
}

/// A fault that can be switched on.
pub struct Switch<T> {
    armed: Mutex<Armed<T>>,
}

struct Armed<T> {
    next: VecDeque<T>,
    standing: Option<T>,
}

impl<T: Clone> Switch<T> {
    /// Every request from now on, until [`Self::clear`]; queued faults come first.
    pub fn set(&self, fault: T) {
        self.lock().standing = Some(fault);
    }

    /// The next `count` requests, after those that are queued already.
    pub fn for_next(&self, count: usize, fault: T) {
        let mut armed = self.lock();
        armed.next.extend(std::iter::repeat_n(fault, count));
    }

    /// Off, and the queue is empty.
    pub fn clear(&self) {
        let mut armed = self.lock();
        armed.next.clear();
        armed.standing = None;
    }

    /// Whether the next request will meet a fault.
    pub fn is_armed(&self) -> bool {
        let armed = self.lock();
        armed.standing.is_some() || !armed.next.is_empty()
    }

    pub(crate) fn take(&self) -> Option<T> {
        let mut armed = self.lock();
        armed.next.pop_front().or_else(|| armed.standing.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Armed<T>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Switch<T> {
    fn default() -> Self {
        Self { armed: Mutex::new(Armed { next: VecDeque::new(), standing: None }) }
    }
}

impl<T> fmt::Debug for Switch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switch").finish_non_exhaustive()
    }
}

/// What the token endpoint does wrong. The first group leaves the code or refresh token unspent, the second
/// spends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFault {
    /// Unspent. This status with an empty body.
    Status(u16),
    /// Unspent. This status with `Retry-After` in seconds.
    Busy(u16, Duration),
    /// Unspent. This OAuth error code: `invalid_client` with 401, every other with 400.
    Refused(&'static str),
    /// Unspent. The connection stays open and nothing is answered.
    Hang,
    /// Unspent. The connection is closed without a byte.
    Reset,
    /// Unspent. A redirect with 307.
    Redirect(String),
    /// Spent. A correct answer, this much later.
    Delay(Duration),
    /// Spent. The answer is lost: the connection is closed without a byte.
    AnswerLost,
    /// Spent. The connection stays open and nothing is answered.
    HangAfterRotation,
    /// Spent. This status with an empty body.
    StatusAfterRotation(u16),
    /// Spent. The whole length is announced, half of the body is sent, the connection is closed.
    Truncated,
    /// Spent. `application/json`, but it is none.
    Garbage,
    /// Spent. A page with status 200.
    Html,
    /// Spent. The right body as `text/plain`.
    WrongContentType,
    /// Spent. The right body, and 10 MB more in it.
    Oversize,
    /// No `refresh_token` in the answer. On refresh the presented one is not spent.
    OmitRefreshToken,
    /// Spent. No `access_token` in the answer.
    OmitAccessToken,
    /// Spent. No `id_token` in the answer.
    OmitIdToken,
    /// Spent. No `expires_in` in the answer.
    OmitExpiresIn,
    /// Spent. `expires_in` is a string of digits.
    ExpiresInText,
    /// Spent. `expires_in` is this JSON number.
    ExpiresIn(i64),
    /// Spent. This `token_type`.
    TokenType(&'static str),
    /// Spent. Two members named `access_token`.
    DuplicateMember,
}

/// What is wrong with an ID token. All claims that are not named are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdTokenFault {
    /// Another issuer.
    WrongIss,
    /// No `iss`.
    MissingIss,
    /// Another audience.
    WrongAud,
    /// No `aud`.
    MissingAud,
    /// Two audiences, the client and a stranger, without `azp`.
    ExtraAud,
    /// `aud` is an array with only the client: correct, and must be accepted.
    AudAsArray,
    /// Two audiences and `azp` is the stranger.
    WrongAzp,
    /// No `sub`.
    MissingSub,
    /// The subject `mallory`.
    OtherSub,
    /// No `iat`.
    MissingIat,
    /// `iat` an hour ahead.
    FutureIat,
    /// No `exp`.
    MissingExp,
    /// `exp` an hour ago.
    Expired,
    /// `nbf` an hour ahead.
    FutureNbf,
    /// Another nonce, also on refresh.
    WrongNonce,
    /// No `nonce`.
    MissingNonce,
    /// The hash of another access token.
    WrongAtHash,
    /// `alg` is `none`, the signature empty.
    AlgNone,
    /// One bit of the signature is flipped.
    BadSignature,
    /// HS256 with the client's secret.
    Hs256ClientSecret,
    /// HS256 with the public key (its `SubjectPublicKeyInfo` in DER) as the secret.
    Hs256PublicKey,
    /// A `kid` that is not in the key set.
    UnknownKid,
    /// No `kid`: correct while the set has one key.
    AbsentKid,
    /// `auth_time` ten minutes later than the login's.
    OtherAuthTime,
    /// `crit` names an extension that nobody knows.
    UnknownCrit,
    /// `typ` of a logout token.
    TypLogout,
    /// `typ` of an access token.
    TypAccessToken,
    /// `sub` twice, the second is `mallory`.
    DuplicateMember,
    /// Correct, but the keys are rotated just before: the `kid` is new to everybody.
    KeysRotated,
}

/// What is wrong with the redirect back to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbackFault {
    /// Another `iss`.
    WrongIss,
    /// No `iss`.
    MissingIss,
    /// Another `state`.
    WrongState,
    /// No `state`.
    MissingState,
    /// No `code`.
    MissingCode,
    /// `code` twice.
    DuplicateCode,
    /// `state` twice.
    DuplicateState,
    /// This error code, with a description that contains HTML.
    Error(&'static str),
    /// This error code, and another `iss`.
    ErrorWithWrongIss(&'static str),
    /// `access_token` and `id_token` beside the code.
    TokensInFrontChannel,
}

/// What is wrong with the key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksFault {
    /// What any endpoint can do wrong.
    Plain(PlainFault),
    /// Every key twice, the second time with another key under the same `kid`.
    DuplicateKids,
    /// The keys without `kid`.
    NoKids,
    /// `{"keys":[]}`.
    Empty,
}

/// What is wrong with the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoveryFault {
    /// What any endpoint can do wrong.
    Plain(PlainFault),
    /// Another issuer.
    WrongIssuer,
    /// No authorization endpoint, token endpoint and key set.
    MissingEndpoints,
}

/// What is wrong with userinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserinfoFault {
    /// What any endpoint can do wrong.
    Plain(PlainFault),
    /// The subject `mallory`.
    OtherSub,
}

/// What any endpoint can do wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainFault {
    /// This status with an empty body.
    Status(u16),
    /// The connection stays open and nothing is answered.
    Hang,
    /// The connection is closed without a byte.
    Reset,
    /// A redirect with 302.
    Redirect(String),
    /// `application/json`, but it is none.
    Garbage,
    /// 10 MB of JSON.
    Oversize,
}

//! The words in which a session's record is told things and answers.

use std::sync::Arc;
use std::time::Duration;

use super::generations::Generations;
use crate::base::secret::Secret;
use crate::session::model::{Generation, Session};
use crate::session::mutation::{self, Mutation};
use crate::session::settings::{AfterUnknown, Rollback};
pub use crate::telemetry::metrics::EndCause;

impl EndCause {
    /// Whether the session's refresh token is to be revoked: a replaced session's grant may be the new session's too,
    /// a refused one is gone already.
    pub(crate) const fn is_revocable(self) -> bool {
        !matches!(self, Self::Replaced | Self::InvalidGrant)
    }
}

/// The rules that are configured.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long a session lasts whatever happens.
    pub lifetime: Duration,
    /// How long a superseded cookie still works.
    pub grace: Duration,
    /// How long a session may be unused.
    pub idle_timeout: Duration,
    /// What a cookie superseded longer ago does.
    pub rollback: Rollback,
    /// What follows an unknown outcome.
    pub after_unknown: AfterUnknown,
}

/// How much a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Whatever is good; a refresh if due.
    Usual,
    /// Whatever is good; its response cannot carry a cookie, so it starts no refresh (rule 8).
    NoRefresh,
    /// A refresh now, even if not due.
    RefreshNow,
    /// While this process ends: whatever is good; a refresh only where nothing else helps, because a successor that
    /// comes beside the response would have nobody to carry it.
    OnlyIfExpired,
}

/// What a presented cookie gets.
#[derive(Debug)]
pub enum Admission {
    /// The tokens of this generation, and perhaps a refresh beside the request.
    Serve(Arc<Session>, Option<Attempt>),
    /// A wait for the refresh under way; `Some` if the caller must start it.
    Wait(Option<Attempt>),
    /// Nothing.
    Refuse(Refused),
}

/// The right and duty to make one token request. There is one per session at a time.
#[derive(Debug)]
pub struct Attempt {
    /// The generation whose refresh token is to be spent.
    pub from: Arc<Session>,
    /// Whether the same token was already sent once without an answer.
    pub repeat: Repeat,
}

/// Whether an attempt repeats one whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The token is sent for the first time.
    First,
    /// It was sent before and never answered (the exception of rule 1).
    AfterUnknown,
}

/// Why a presented cookie gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The session was ended.
    Ended(EndCause),
    /// A superseded cookie came back after its grace; the session lives on.
    RolledBack,
    /// The access token ran out and there is no refresh token.
    NoRefreshToken,
    /// The access token ran out and this request may not refresh.
    RefreshNotAllowed,
    /// The provider wants a login; its error code.
    LoginRequired(String),
    /// A refresh was sent and never answered, and no attempt is left.
    RefreshUnknown,
    /// The provider failed; trying again makes sense after this long.
    Unavailable(Duration),
    /// The store is away, and without its leave nothing is sent; trying again makes sense after this long.
    StoreUnavailable(Duration),
}

/// How an attempt came out.
#[derive(Debug)]
pub enum Outcome {
    /// The next generation, its ID token judged.
    Rotated(Arc<Session>),
    /// A new refresh token came, but no usable access token: it is kept, and a pause follows.
    RotatedOnly(Arc<Session>),
    /// The provider could not be reached, or is unwell, or says that we are misconfigured: no fault of the session.
    Failed {
        /// What the provider asked for, if it did.
        wait: Option<Duration>,
    },
    /// Sent, never answered.
    Unknown,
    /// `invalid_grant`
    InvalidGrant,
    /// Another OAuth error that a login can mend.
    LoginRequired(String),
    /// The new ID token is not the login's.
    IdTokenRejected,
    /// Another replica made a newer generation.
    Elsewhere(Lesson),
    /// Another replica ended the session.
    EndedElsewhere(EndCause),
    /// The store did not answer, and nothing was sent.
    Deferred,
    /// For the fleet, the token was sent and never answered, and no attempt is left.
    Spent,
}

/// What another replica knows of a session.
#[derive(Debug)]
pub struct Lesson {
    /// The newest generation, where it can be read.
    pub newest: Option<Arc<Session>>,
    /// What browsers have shown.
    pub(crate) generations: Generations,
}

/// What follows an event besides its answer.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// The session was ended just now.
    pub ended: Option<EndCause>,
    /// Its newest generation, where it was ended.
    pub session: Option<Arc<Session>>,
    /// A session whose refresh token is to be revoked in the background.
    pub revoke: Option<Arc<Session>>,
    /// A generation that a browser has shown for the first time, and the newest one.
    pub acknowledged: Option<(Generation, Arc<Session>)>,
}

impl Aftermath {
    /// The refresh token to revoke.
    pub fn token_to_revoke(&self) -> Option<&Secret<String>> {
        self.revoke.as_ref().and_then(|session| session.tokens.refresh.as_ref())
    }
}

/// What a flight leaves to be revoked, where its session was ended meanwhile; `spent` is what it was spending.
pub(super) fn left_over(spent: Option<Arc<Session>>, outcome: Outcome) -> Option<Arc<Session>> {
    match outcome {
        _ if mutation::is(Mutation::LateTokenLives) => None,
        Outcome::Rotated(next) | Outcome::RotatedOnly(next) => Some(next),
        Outcome::Failed { .. }
        | Outcome::Unknown
        | Outcome::LoginRequired(_)
        | Outcome::Deferred
        | Outcome::Spent
        // Perhaps it was this replica that ended it, while the flight waited for its lease.
        | Outcome::EndedElsewhere(_)
        | Outcome::IdTokenRejected => spent,
        Outcome::Elsewhere(lesson) => lesson.newest.or(spent),
        Outcome::InvalidGrant => None,
    }
}

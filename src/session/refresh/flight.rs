//! One refresh under way: the token request, its meaning, the report.
//!
//! A flight is a task of its own: a client that leaves, or a request that stops waiting, never cancels it (rule 2).
//! It reports exactly once, even where it panics. It never sees the browser's HTTP. Where there is a store, nothing
//! is sent without its lease, and what came is in the store before anyone uses it.

use std::sync::Arc;
use std::time::Duration;

use super::lease::{self, Fate, Lease, Leave};
use super::record::{Attempt, EndCause, Outcome, Repeat};
use super::stored::Release;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::jwt::Rejection;
use crate::oidc::{IdTokenError, LoginIdentity, VerifiedIdToken, access_token_claims};
use crate::oidc::{OAuthError, TokenAnswer, TokenError};
use crate::session::claims;
use crate::session::model::{Session, Tokens, bearer};
use crate::session::mutation::{self, Mutation};
use crate::session::sessions::Shared;
use crate::session::settings::KeepIdToken;
use crate::telemetry::metrics::RefreshOutcome;

/// Makes the one token request of `attempt` and settles it.
pub(crate) async fn fly(shared: Arc<Shared>, attempt: Attempt) {
    let mut report = Report { shared: &shared, from: &attempt.from, repeat: attempt.repeat, done: false };
    let Some(refresh_token) = &attempt.from.tokens.refresh else {
        return;
    };
    let lease = match &shared.fleet {
        None => None,
        Some(fleet) => {
            // What takes its time and spends nothing comes before the lease.
            if let Err(error) = shared.provider.metadata().await {
                let (outcome, label) = sort(&attempt.from, TokenError::Unavailable(error));
                return report.settle(outcome, label);
            }
            match lease::obtain(&shared, fleet, &attempt).await {
                Leave::Lease(lease) => Some(lease),
                Leave::Alone => None,
                Leave::Nothing(outcome, label) => return report.settle(outcome, label),
            }
        }
    };
    report.repeat = lease.as_ref().map_or(attempt.repeat, |lease| lease.repeat);
    if report.repeat == Repeat::AfterUnknown {
        shared.registry.repeats(&attempt.from.sid);
    }
    let (outcome, label) = match &lease {
        None => spend(&shared, &attempt.from, refresh_token, None).await,
        Some(held) => held.during(spend(&shared, &attempt.from, refresh_token, lease.as_ref())).await,
    };
    report.settle(outcome, label);
}

/// The one token request, and what it comes to.
async fn spend(
    shared: &Arc<Shared>,
    from: &Arc<Session>,
    refresh_token: &Secret<String>,
    lease: Option<&Lease>,
) -> (Outcome, RefreshOutcome) {
    let (outcome, label) = match shared.provider.refresh(refresh_token).await {
        Ok(answer) => return judge(shared, from, answer, lease).await,
        Err(error) => sort(from, error),
    };
    let Some(lease) = lease else {
        // Without the store nobody knows whether another replica has a newer generation (rule 6).
        let is_doubtful = matches!(outcome, Outcome::InvalidGrant)
            && shared.fleet.is_some()
            && !mutation::is(Mutation::RefusalIsFinal);
        return (if is_doubtful { Outcome::Spent } else { outcome }, label);
    };
    match outcome {
        // A refresh token came without a usable access token.
        Outcome::RotatedOnly(next) => match keep(shared, &next, Some(lease), Stage::Final).await {
            Some(overruled) => (overruled, label),
            None => (Outcome::RotatedOnly(next), label),
        },
        Outcome::InvalidGrant => match lease.grant_is_gone(shared).await {
            None => (Outcome::InvalidGrant, label),
            Some(other) => (other, RefreshOutcome::Elsewhere),
        },
        Outcome::Unknown => {
            lease.release(shared, Release::Unknown).await;
            (Outcome::Unknown, label)
        }
        Outcome::Rotated(_)
        | Outcome::Failed { .. }
        | Outcome::LoginRequired(_)
        | Outcome::IdTokenRejected
        | Outcome::Elsewhere(_)
        | Outcome::EndedElsewhere(_)
        | Outcome::Deferred
        | Outcome::Spent => {
            lease.release(shared, Release::Unspent).await;
            (outcome, label)
        }
    }
}

/// How far a generation is judged when it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its ID token is still to be looked at.
    Fresh,
    /// It is as it stays.
    Final,
}

/// Keeps the next generation, here and in the store, before anyone uses it (rule 3). `Some` where something else is
/// to be used instead.
async fn keep(
    shared: &Arc<Shared>,
    next: &Arc<Session>,
    lease: Option<&Lease>,
    stage: Stage,
) -> Option<Outcome> {
    if stage == Stage::Fresh {
        shared.registry.keep(Arc::clone(next));
    }
    shared.fleet.as_ref()?;
    let Some((sealed, cookies)) = shared.seal_for_all(next) else {
        // Too long for cookies, which is said where one is due.
        shared.fall_behind(&next.sid);
        return None;
    };
    if stage == Stage::Final {
        shared.registry.carry(&next.sid, next.generation, cookies);
    }
    #[cfg(test)]
    if mutation::is(Mutation::KeptAfterUse) {
        shared.use_before_it_is_kept(next).await;
    }
    let fate = match (lease, stage) {
        _ if mutation::is(Mutation::KeptHereOnly) => Fate::Newest,
        (None, _) => Fate::Untold,
        (Some(lease), Stage::Fresh) => lease.keep(shared, &sealed).await,
        (Some(lease), Stage::Final) => lease.finish(shared, &sealed).await,
    };
    match fate {
        Fate::Newest => None,
        Fate::Untold => {
            shared.fall_behind(&next.sid);
            None
        }
        Fate::Overruled(outcome) => {
            if let Outcome::EndedElsewhere(cause) = &outcome
                && *cause != EndCause::Replaced
                && !mutation::is(Mutation::LateTokenLives)
            {
                // Rule 5: a refresh token that still arrives is revoked.
                shared.revoke_soon(Arc::clone(next));
            }
            Some(outcome)
        }
    }
}

/// Settles an attempt when it is over, or when its task is lost.
struct Report<'a> {
    shared: &'a Arc<Shared>,
    from: &'a Arc<Session>,
    repeat: Repeat,
    done: bool,
}

impl Report<'_> {
    fn settle(&mut self, outcome: Outcome, label: RefreshOutcome) {
        self.done = true;
        self.shared.settle(self.from, outcome, (label, self.repeat));
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.settle(Outcome::Unknown, RefreshOutcome::NoAnswer);
        }
    }
}

/// The token endpoint answered 200 with tokens.
async fn judge(
    shared: &Arc<Shared>,
    from: &Arc<Session>,
    answer: TokenAnswer,
    lease: Option<&Lease>,
) -> (Outcome, RefreshOutcome) {
    let Ok(next) = next_generation(shared, from, &answer) else {
        let rotated = answer.refresh_token;
        let outcome = unusable(from, rotated, answer.sent_at);
        if let Outcome::RotatedOnly(next) = &outcome
            && let Some(overruled) = keep(shared, next, lease, Stage::Final).await
        {
            return (overruled, RefreshOutcome::BadAnswer);
        }
        if let (Some(lease), Outcome::Failed { .. }) = (lease, &outcome) {
            lease.release(shared, Release::Unspent).await;
        }
        return (outcome, RefreshOutcome::BadAnswer);
    };
    // Rule 3: kept before the new ID token is looked at, which may need a request of its own.
    let mut next = next;
    let kept = Arc::new(next.seen(next.seen_at));
    if let Some(overruled) = keep(shared, &kept, lease, Stage::Fresh).await {
        return (overruled, RefreshOutcome::Elsewhere);
    }
    let login = LoginIdentity {
        iss: from.identity.issuer.clone(),
        sub: from.identity.subject.clone(),
        aud: Vec::new(),
        auth_time: from.identity.auth_time,
        nonce: Some(from.identity.nonce.clone()),
    };
    let label = if answer.refresh_token.is_some() { RefreshOutcome::Rotated } else { RefreshOutcome::Kept };
    let next = match shared.provider.verify_refreshed(&answer, &login).await {
        Ok(id_token) => {
            renew_claims(shared, &mut next, id_token, &answer);
            Arc::new(next)
        }
        // The keys cannot be fetched now, and what the token says is the login's: TLS vouches for it
        // (OIDC Core §3.1.3.7 (6)). A failing JWKS ends no session (rule 6).
        Err(IdTokenError::KeysUnavailable | IdTokenError::Missing) => kept,
        Err(IdTokenError::Rejected(rejection)) if !is_somebody_else(rejection) => {
            // A key that is published late, or clocks that differ: a fault, and a fault is never a logout. The
            // tokens came over TLS from the token endpoint, and the claims stay those of before.
            tracing::warn!(session = %from.sid.log_id(), rule = rejection.label(), "refreshed ID token set aside");
            kept
        }
        Err(IdTokenError::Rejected(rejection)) => {
            tracing::warn!(session = %from.sid.log_id(), rule = rejection.label(), "refreshed ID token rejected");
            // The record is ended with the session; until then the lease keeps others from what was kept.
            return (Outcome::IdTokenRejected, RefreshOutcome::IdTokenMismatch);
        }
    };
    match keep(shared, &next, lease, Stage::Final).await {
        Some(overruled) => (overruled, RefreshOutcome::Elsewhere),
        None => (Outcome::Rotated(next), label),
    }
}

/// Whether a refreshed ID token speaks of another login (rule 7, OIDC Core §12.2), or is a forgery.
fn is_somebody_else(rejection: Rejection) -> bool {
    matches!(
        rejection,
        Rejection::Issuer
            | Rejection::Subject
            | Rejection::Audience
            | Rejection::UntrustedAudience
            | Rejection::AuthorizedParty
            | Rejection::AuthTime
            | Rejection::Nonce
            | Rejection::Signature
            | Rejection::Algorithm
            | Rejection::Missing(_)
            | Rejection::WrongType(_)
    )
}

/// The token endpoint did not give tokens.
fn sort(from: &Arc<Session>, error: TokenError) -> (Outcome, RefreshOutcome) {
    let failed = |wait| Outcome::Failed { wait };
    match error {
        TokenError::Unavailable(_) | TokenError::NotSent => (failed(None), RefreshOutcome::NotSent),
        TokenError::NoAnswer if mutation::is(Mutation::SilenceEnds) => {
            (Outcome::InvalidGrant, RefreshOutcome::InvalidGrant)
        }
        TokenError::NoAnswer => (Outcome::Unknown, RefreshOutcome::NoAnswer),
        TokenError::Busy { retry_after } => (failed(retry_after), RefreshOutcome::Busy),
        TokenError::BadAnswer { rotated: None, .. } => (Outcome::Unknown, RefreshOutcome::BadAnswer),
        TokenError::BadAnswer { rotated, .. } => {
            (unusable(from, rotated, from.refreshed_at), RefreshOutcome::BadAnswer)
        }
        TokenError::Refused(OAuthError::InvalidGrant) => {
            (Outcome::InvalidGrant, RefreshOutcome::InvalidGrant)
        }
        TokenError::Refused(error) if is_our_fault(&error) => {
            tracing::error!(error = error.code(), "the provider refuses this gateway's token requests");
            (failed(None), RefreshOutcome::Refused)
        }
        TokenError::Refused(error) if !is_a_verdict(&error) => (failed(None), RefreshOutcome::Busy),
        TokenError::Refused(error) => {
            (Outcome::LoginRequired(error.code().to_owned()), RefreshOutcome::LoginRequired)
        }
    }
}

/// Whether an error says no to this user. What no OAuth server would write (`Forbidden`, a number) comes from
/// something in front of it, and some words only ask for patience.
fn is_a_verdict(error: &OAuthError) -> bool {
    let OAuthError::Other(code) = error else { return true };
    let passing =
        ["malformed", "server_error", "internal_error", "slow_down", "too_many_requests", "rate_limited"];
    code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !passing.contains(&code.as_str())
}

/// Errors that name a fault of the configuration, here or at the provider: they end nobody's session (std:43).
fn is_our_fault(error: &OAuthError) -> bool {
    matches!(
        error,
        OAuthError::InvalidClient
            | OAuthError::UnauthorizedClient
            | OAuthError::InvalidRequest
            | OAuthError::InvalidScope
            | OAuthError::UnsupportedGrantType
            | OAuthError::TemporarilyUnavailable
    )
}

/// 200 without a usable access token: a refresh token that came with it must not be lost.
fn unusable(from: &Arc<Session>, rotated: Option<Secret<String>>, sent_at: Timestamp) -> Outcome {
    match rotated {
        Some(token) => {
            let mut next = from.seen(from.seen_at.max(sent_at));
            next.generation += 1;
            next.tokens.refresh = Some(token);
            Outcome::RotatedOnly(Arc::new(next))
        }
        None => Outcome::Failed { wait: None },
    }
}

/// The session as the answer leaves it, with the claims of before.
fn next_generation(
    shared: &Shared,
    from: &Arc<Session>,
    answer: &TokenAnswer,
) -> Result<Session, crate::session::model::NotABearer> {
    let bearer = bearer(answer.access_token.expose())?;
    let old = &from.tokens;
    let lifetime_ends = from.login_at.plus(shared.settings.lifetime);
    Ok(Session {
        sid: from.sid,
        generation: from.generation + 1,
        identity: from.identity.clone(),
        login_at: from.login_at,
        refreshed_at: answer.sent_at,
        seen_at: from.seen_at.max(answer.sent_at),
        expires_at: bounded(lifetime_ends, answer),
        tokens: Tokens {
            bearer,
            access_expires_at: answer.access_expires_at,
            // Rule 7: a response without a refresh token keeps the old one (RFC 6749 §6).
            refresh: answer
                .refresh_token
                .as_ref()
                .or(old.refresh.as_ref().filter(|_| !mutation::is(Mutation::RefreshTokenForgotten)))
                .map(Secret::duplicate),
            id_token: match shared.settings.keep_id_token {
                KeepIdToken::Drop => None,
                KeepIdToken::ForLogoutHint => {
                    answer.id_token.as_ref().or(old.id_token.as_ref()).map(Secret::duplicate)
                }
            },
            scope: answer.scope.clone().unwrap_or_else(|| old.scope.clone()),
        },
        claims: from.claims.clone(),
    })
}

/// The session's end, not after the provider's own bound for the refresh token (std:81).
pub(crate) fn bounded(lifetime_ends: Timestamp, answer: &TokenAnswer) -> Timestamp {
    match answer.session_expires_in {
        Some(bound) if bound > Duration::ZERO => {
            lifetime_ends.min(answer.sent_at.plus(bound).max(answer.access_expires_at))
        }
        _ => lifetime_ends,
    }
}

fn renew_claims(
    shared: &Shared,
    next: &mut Session,
    id_token: Option<VerifiedIdToken>,
    answer: &TokenAnswer,
) {
    let from_access = access_token_claims(&answer.access_token).unwrap_or_default();
    let from_id = id_token.map(|token| token.claims).unwrap_or_default();
    next.claims = claims::renew(&shared.settings.claims, &from_id, &from_access, &next.claims);
}

#[cfg(test)]
mod tests;

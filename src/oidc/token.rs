//! The token endpoint: a code or a refresh token against tokens.
//!
//! RFC 6749 §4.1.3, §5, §6; RFC 7636 §4.5. One call is one request: nothing here is ever repeated, because a
//! refresh token that is sent twice ends the session at a strict provider. Errors are sorted by what the caller
//! may do next. ID tokens are passed on unjudged; `id_token` judges them.

mod answer;

use std::time::Duration;

use super::client_auth::Form;
use super::discovery::{DiscoveryError, Metadata};
use super::link::{Link, chain};
use super::oauth_error::OAuthError;
use crate::base::http_client::TransportError;
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

/// What the token endpoint granted.
#[derive(Debug)]
pub struct TokenAnswer {
    /// Visible ASCII, at most 16 KiB.
    pub access_token: Secret<String>,
    /// The next refresh token; `None` keeps the old one (RFC 6749 §6).
    pub refresh_token: Option<Secret<String>>,
    /// Unjudged.
    pub id_token: Option<Secret<String>>,
    /// When the access token must no longer be forwarded: counted from before the request was sent, less a second.
    pub access_expires_at: Timestamp,
    /// Before the request was sent.
    pub sent_at: Timestamp,
    /// `scope`, where it differs from what was asked for.
    pub scope: Option<String>,
    /// How long the provider lets the session or the refresh token live: an upper bound (std:81).
    pub session_expires_in: Option<Duration>,
}

/// Why there are no tokens, sorted by what the caller may do next.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Nothing left this process: trying again is safe.
    #[error("the token request was not sent")]
    NotSent,
    /// Bytes went out, no answer came: code or refresh token may be spent.
    #[error("the token endpoint did not answer")]
    NoAnswer,
    /// 429, 5xx, or an error that is not OAuth's: the provider is unwell, the session is not to blame.
    #[error("the token endpoint is busy")]
    Busy {
        /// `Retry-After`, at most an hour.
        retry_after: Option<Duration>,
    },
    /// An OAuth error. Only `invalid_grant` may end a session.
    #[error("the token endpoint refused: {}", .0.code())]
    Refused(OAuthError),
    /// Success that fails our checks.
    #[error("the token endpoint sent an unusable answer: {what}")]
    BadAnswer {
        /// The check that failed.
        what: &'static str,
        /// The refresh token that came with it: the old one is spent.
        rotated: Option<Secret<String>>,
    },
    /// The endpoint is not known: nothing was sent.
    #[error("the provider's metadata are not known")]
    Unavailable(#[source] DiscoveryError),
}

impl TokenError {
    /// A short name for logs and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::NoAnswer => "no_answer",
            Self::Busy { .. } => "busy",
            Self::Refused(error) => error.label(),
            Self::BadAnswer { .. } => "bad_answer",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Redeems a code (RFC 6749 §4.1.3). The caller makes sure that each code comes here once (std:28).
pub(super) async fn exchange_code(
    link: &Link,
    metadata: &Metadata,
    code: &Secret<String>,
    verifier: &Secret<String>,
) -> Result<TokenAnswer, TokenError> {
    let form = Form::new(&link.settings)
        .field("grant_type", "authorization_code")
        .field("code", code.expose())
        .field("redirect_uri", link.settings.redirect_uri.as_str())
        .field("code_verifier", verifier.expose())
        .configured();
    send(link, form.into_request(&metadata.token_endpoint)).await
}

/// Spends a refresh token (RFC 6749 §6). No `scope` is sent, so none can widen (std:69).
pub(super) async fn refresh(
    link: &Link,
    metadata: &Metadata,
    refresh_token: &Secret<String>,
) -> Result<TokenAnswer, TokenError> {
    let form = Form::new(&link.settings)
        .field("grant_type", "refresh_token")
        .field("refresh_token", refresh_token.expose())
        .configured();
    send(link, form.into_request(&metadata.token_endpoint)).await
}

async fn send(
    link: &Link,
    request: Result<http::Request<bytes::Bytes>, TransportError>,
) -> Result<TokenAnswer, TokenError> {
    let request = request.map_err(|error| unanswered(&error))?;
    // Before the request leaves: the token's life began at the latest when the answer was made.
    let sent_at = link.now();
    let response = link.send(request).await.map_err(|error| unanswered(&error))?;
    answer::read(&response, &link.settings, sent_at, link.now())
}

fn unanswered(error: &TransportError) -> TokenError {
    tracing::warn!(why = error.label(), error = chain(error), "token endpoint did not answer");
    match error {
        TransportError::NotSent { .. } => TokenError::NotSent,
        TransportError::NoAnswer { .. } => TokenError::NoAnswer,
    }
}

#[cfg(test)]
mod tests;

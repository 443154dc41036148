//! Token revocation.
//!
//! RFC 7009. Success means that the token is of no use any more, also where the provider never knew it; 503 means
//! that it still works and the caller must try again later (std:155).

use http::StatusCode;
use serde_json::{Map, Value};

use super::client_auth::Form;
use super::discovery::Metadata;
use super::link::{Link, chain};
use super::oauth_error::OAuthError;
use crate::base::secret::Secret;

/// What kind of token is revoked: `token_type_hint` (RFC 7009 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `access_token`
    Access,
    /// `refresh_token`
    Refresh,
}

impl TokenKind {
    const fn hint(self) -> &'static str {
        match self {
            Self::Access => "access_token",
            Self::Refresh => "refresh_token",
        }
    }
}

/// Why a token was perhaps not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The provider has no revocation endpoint.
    #[error("the provider offers no revocation")]
    NotOffered,
    /// It could not be asked or could not do it now; asking again is safe and needed.
    #[error("the token could not be revoked now")]
    Retry,
    /// It will not; asking again is of no use.
    #[error("the provider refused to revoke: {}", .0.code())]
    Refused(OAuthError),
}

/// Revokes `token`.
pub(super) async fn revoke(
    link: &Link,
    metadata: &Metadata,
    token: &Secret<String>,
    kind: TokenKind,
) -> Result<(), RevokeError> {
    let endpoint = metadata.revocation_endpoint.as_ref().ok_or(RevokeError::NotOffered)?;
    let form = Form::new(&link.settings).field("token", token.expose()).field("token_type_hint", kind.hint());
    let sent = match form.into_request(endpoint) {
        Ok(request) => link.send(request).await,
        Err(error) => Err(error),
    };
    let response = sent.map_err(|error| {
        tracing::warn!(why = error.label(), error = chain(&error), "revocation endpoint did not answer");
        RevokeError::Retry
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(RevokeError::Retry);
    }
    let members = serde_json::from_slice::<Map<String, Value>>(response.body()).unwrap_or_default();
    let code = members.get("error").and_then(Value::as_str).unwrap_or_default();
    Err(RevokeError::Refused(OAuthError::from_code(code)))
}

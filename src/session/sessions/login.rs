//! A login that passed every check becomes a session.

use std::sync::Arc;

use http::HeaderValue;

use super::{Sessions, Shared};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::oidc::{TokenAnswer, VerifiedIdToken, access_token_claims};
use crate::session::claims;
use crate::session::cookie::chunk::TooLong;
use crate::session::cookie::jar::Jar;
use crate::session::model::{Identity, NotABearer, Session, SessionId, Tokens, bearer};
use crate::session::refresh::flight::bounded;
use crate::session::refresh::record::EndCause;
use crate::session::settings::KeepIdToken;

/// A login that passed every check.
#[derive(Debug)]
pub struct Login {
    /// The tokens.
    pub answer: TokenAnswer,
    /// The ID token.
    pub id_token: VerifiedIdToken,
    /// The login's nonce.
    pub nonce: String,
}

/// Why a login could not become a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    /// The tokens are too long for cookies.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The access token cannot be sent upstream.
    #[error(transparent)]
    NotABearer(#[from] NotABearer),
    /// Sealing failed; does not happen with keys that were checked.
    #[error("the session could not be sealed")]
    NotSealed,
}

impl Sessions {
    /// Makes a session of a login and returns its cookies. The session that the browser had before is over
    /// (std:30).
    ///
    /// # Errors
    /// Where the session cannot be put into cookies; nothing was begun then.
    pub fn begin(&self, login: Login, jar: &Jar<'_>) -> Result<(Arc<Session>, Vec<HeaderValue>), BeginError> {
        let now = self.shared.clock.now();
        let session = Arc::new(self.shared.session_of(login, now)?);
        let mut cookies = self.shared.seal(&session, now)?.to_vec();
        cookies.extend(self.shared.surplus(cookies.len(), jar.chunks()));
        if let Some(previous) = self.shared.open(jar) {
            let aftermath = self.shared.registry.end(&previous, EndCause::Replaced);
            self.shared.follow_up(aftermath);
        }
        self.shared.registry.insert(Arc::clone(&session), now);
        Ok((session, cookies))
    }
}

impl Shared {
    fn session_of(&self, login: Login, now: Timestamp) -> Result<Session, NotABearer> {
        let Login { answer, id_token, nonce } = login;
        let from_access = access_token_claims(&answer.access_token).unwrap_or_default();
        Ok(Session {
            sid: SessionId::new(),
            generation: 1,
            login_at: now,
            refreshed_at: answer.sent_at,
            seen_at: now,
            expires_at: bounded(now.plus(self.settings.lifetime), &answer),
            claims: claims::choose(&self.settings.claims, &[&id_token.claims, &from_access]),
            identity: Identity {
                issuer: self.provider.settings().issuer.clone(),
                subject: id_token.sub,
                provider_sid: id_token.sid,
                auth_time: id_token.auth_time,
                nonce,
            },
            tokens: Tokens {
                bearer: bearer(answer.access_token.expose())?,
                access_expires_at: answer.access_expires_at,
                refresh: answer.refresh_token.as_ref().map(Secret::duplicate),
                id_token: match self.settings.keep_id_token {
                    KeepIdToken::Drop => None,
                    KeepIdToken::ForLogoutHint => answer.id_token.as_ref().map(Secret::duplicate),
                },
                // RFC 6749 §5.1: what was asked for, where the answer says nothing.
                scope: answer.scope.unwrap_or_else(|| self.provider.settings().scopes.join(" ")),
            },
        })
    }
}

//! The provider as the rest of the gateway sees it.
//!
//! Decides when metadata and keys are fetched. Metadata: when first needed, then behind a request every hour. Keys:
//! when first needed, again at the first need after ten minutes, and once per half minute for a token whose key is
//! unknown (std:149, std:150). Failures never drop a good copy; without one they are remembered for a second, so
//! that an outage costs the provider one request per second and is over for users as soon as it is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use super::authorize::{self, AuthorizationRequest, IssuerMismatch};
use super::discovery::{self, DiscoveryError, Metadata};
use super::end_session;
use super::id_token::{self, IdTokenError, Judged, LoginIdentity, VerifiedIdToken};
use super::jwks::{self, JwksError};
use super::link::{Link, chain, waited};
use super::revoke::{self, RevokeError, TokenKind};
use super::settings::Settings;
use super::shelf::{Shelf, View};
use super::token::{self, TokenAnswer, TokenError};
use crate::base::http_client::HttpClient;
use crate::base::secret::Secret;
use crate::base::time::{Clock, Timestamp};
use crate::jwt::{KeySet, Rejection, verify};

type MetadataShelf = Shelf<Metadata, DiscoveryError>;
type Keys = View<KeySet, JwksError>;

/// One OpenID provider and our client there. Its async functions are to be called on a tokio runtime, any one.
#[derive(Debug)]
pub struct Provider {
    link: Arc<Link>,
    metadata: Arc<MetadataShelf>,
    keys: Arc<Shelf<KeySet, JwksError>>,
    /// When an unknown key last led to a fetch.
    missed_at: Mutex<Option<Timestamp>>,
}

/// What `/readyz` tells of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderStatus {
    /// Nobody needed it yet.
    Unknown,
    /// Its metadata are known.
    Ready,
    /// Its metadata were never fetched, and the last attempt failed.
    Failing {
        /// [`DiscoveryError::label`]
        why: &'static str,
        /// When the first attempt failed.
        since: Timestamp,
    },
}

impl Provider {
    /// Sends nothing.
    pub fn new(settings: Settings, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        Self {
            link: Arc::new(Link { settings, http, clock }),
            metadata: Shelf::new(),
            keys: Shelf::new(),
            missed_at: Mutex::new(None),
        }
    }

    /// What was configured.
    pub fn settings(&self) -> &Settings {
        &self.link.settings
    }

    /// The provider's metadata: the last good copy, or the first.
    ///
    /// # Errors
    /// Where no copy was ever fetched and the attempt fails, or one failed within the last second.
    pub async fn metadata(&self) -> Result<Arc<Metadata>, DiscoveryError> {
        metadata(&self.link, &self.metadata).await
    }

    /// Whether the provider's metadata are known. Asks nobody.
    pub fn status(&self) -> ProviderStatus {
        let view = self.metadata.view();
        match (view.copy, view.failure) {
            (Some(_), _) => ProviderStatus::Ready,
            (None, Some(failure)) => {
                ProviderStatus::Failing { why: failure.error.label(), since: failure.since }
            }
            (None, None) => ProviderStatus::Unknown,
        }
    }

    /// Where the browser goes to log in.
    ///
    /// # Errors
    /// Where the metadata are not known.
    pub async fn authorization_url(&self, login: &AuthorizationRequest<'_>) -> Result<Url, DiscoveryError> {
        Ok(authorize::url(self.settings(), &*self.metadata().await?, login))
    }

    /// Whether an authorization response that names `iss`, or nobody, is this provider's. To be asked before
    /// anything else of the response is believed, errors included (std:26).
    ///
    /// # Errors
    /// Where it is somebody else's.
    pub fn check_callback_issuer(
        &self,
        metadata: &Metadata,
        iss: Option<&str>,
    ) -> Result<(), IssuerMismatch> {
        authorize::check_callback_issuer(metadata, iss)
    }

    /// Redeems a code, with one request.
    ///
    /// # Errors
    /// By what the caller may do next.
    pub async fn exchange_code(
        &self,
        code: &Secret<String>,
        verifier: &Secret<String>,
    ) -> Result<TokenAnswer, TokenError> {
        let metadata = self.metadata().await.map_err(TokenError::Unavailable)?;
        token::exchange_code(&self.link, &metadata, code, verifier).await
    }

    /// Spends a refresh token, with exactly one request. Dropping the future breaks the connection off and leaves
    /// the token perhaps spent: run it in a task of its own.
    ///
    /// # Errors
    /// By what the caller may do next.
    pub async fn refresh(&self, refresh_token: &Secret<String>) -> Result<TokenAnswer, TokenError> {
        let metadata = self.metadata().await.map_err(TokenError::Unavailable)?;
        token::refresh(&self.link, &metadata, refresh_token).await
    }

    /// Verifies the ID token of a login. Until it holds, no token of the answer may be used (std:39).
    ///
    /// # Errors
    /// Where none came, a rule is broken, or the keys are not known.
    pub async fn verify_login(
        &self,
        answer: &TokenAnswer,
        nonce: &str,
    ) -> Result<VerifiedIdToken, IdTokenError> {
        let judged = id_token::judge_login(answer, self.settings(), nonce, self.link.now())?;
        self.verify(judged).await
    }

    /// Verifies the ID token of a refresh, where one came.
    ///
    /// # Errors
    /// Where it is not of this login, a rule is broken, or the keys are not known.
    pub async fn verify_refreshed(
        &self,
        answer: &TokenAnswer,
        login: &LoginIdentity,
    ) -> Result<Option<VerifiedIdToken>, IdTokenError> {
        match id_token::judge_refreshed(answer, self.settings(), login, self.link.now())? {
            Some(judged) => self.verify(judged).await.map(Some),
            None => Ok(None),
        }
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// By whether to try again.
    pub async fn revoke(&self, token: &Secret<String>, hint: TokenKind) -> Result<(), RevokeError> {
        let metadata = self.metadata().await.map_err(|_unknown| RevokeError::Retry)?;
        revoke::revoke(&self.link, &metadata, token, hint).await
    }

    /// Where the browser goes to log out at the provider; `None` where that is not known or not offered.
    pub async fn end_session_url(
        &self,
        hint: Option<&Secret<String>>,
        logout_hint: Option<&str>,
        state: &str,
    ) -> Option<Url> {
        let metadata = self.metadata().await.ok()?;
        end_session::url(self.settings(), &metadata, hint, logout_hint, state)
    }

    /// Verifies the signature, last of all rules.
    async fn verify(&self, judged: Judged<'_>) -> Result<VerifiedIdToken, IdTokenError> {
        if let Some(outcome) = judged.verify_with_secret(&self.settings().client_auth) {
            outcome?;
            return Ok(judged.verified()?);
        }
        let seen = self.keys().await;
        let mut outcome = self.check(&judged, &seen);
        if may_know_newer(&judged, outcome) {
            let newer = self.newer_keys(&seen).await;
            outcome = self.check(&judged, &newer);
            // With keys that cannot be renewed an unknown key proves nothing (std:151).
            if newer.failure.is_some() && outcome == Err(Rejection::UnknownKey.into()) {
                outcome = Err(IdTokenError::KeysUnavailable);
            }
        }
        outcome?;
        Ok(judged.verified()?)
    }

    /// Whether the keys at hand made the signature.
    fn check(&self, judged: &Judged<'_>, keys: &Keys) -> Result<(), IdTokenError> {
        let current = keys.copy.as_ref().filter(|(_, at)| self.link.now().since(*at) < KEYS_END);
        let (keys, _) = current.ok_or(IdTokenError::KeysUnavailable)?;
        Ok(verify::with_keys(judged.token(), keys)?)
    }

    /// The keys, fetched where there are none or they are old.
    async fn keys(&self) -> Keys {
        let now = self.link.now();
        let seen = self.keys.view();
        let (age, pause) = match &seen.copy {
            Some((_, at)) => (waited(now, *at, KEYS_AGE), PAUSE_WITH_KEYS),
            None => (true, PAUSE),
        };
        let paused = seen.failure.as_ref().is_some_and(|failure| !waited(now, failure.at, pause));
        if !age || paused {
            return seen;
        }
        self.fetch_keys(&seen).await
    }

    /// Keys newer than those seen, unless they were fetched for such a reason a moment ago.
    async fn newer_keys(&self, seen: &Keys) -> Keys {
        let now = self.link.now();
        let current = self.keys.view();
        if current.attempts != seen.attempts {
            return current;
        }
        if let Some(failure) = &current.failure {
            // Nothing was learnt by it, so a short pause will do.
            if !waited(now, failure.at, PAUSE) {
                return current;
            }
        } else {
            let mut missed_at = self.missed_at.lock().unwrap_or_else(PoisonError::into_inner);
            if missed_at.is_some_and(|then| !waited(now, then, PAUSE_AFTER_MISS)) {
                return current;
            }
            *missed_at = Some(now);
        }
        self.fetch_keys(seen).await
    }

    async fn fetch_keys(&self, seen: &Keys) -> Keys {
        let (link, shelf) = (Arc::clone(&self.link), Arc::clone(&self.metadata));
        let work = async move {
            let outcome = match metadata(&link, &shelf).await {
                Ok(metadata) => jwks::fetch(&link, &metadata).await,
                Err(error) => Err(JwksError::Discovery(error)),
            };
            if let Err(error) = &outcome {
                tracing::warn!(error = chain(error), "provider's keys not fetched");
            }
            outcome
        };
        self.keys.renew(seen, &self.link.clock, work).await;
        self.keys.view()
    }
}

async fn metadata(link: &Arc<Link>, shelf: &Arc<MetadataShelf>) -> Result<Arc<Metadata>, DiscoveryError> {
    let now = link.now();
    let seen = shelf.view();
    let pause = if seen.copy.is_some() { PAUSE_WITH_METADATA } else { PAUSE };
    let recent = seen.failure.as_ref().filter(|failure| !waited(now, failure.at, pause));
    let own = Arc::clone(link);
    let work = async move {
        let outcome = discovery::fetch(&own).await;
        match &outcome {
            Ok(found) if found.supports_pkce => {}
            // Sent all the same; `state` and `nonce` are checked in any case (std:6).
            Ok(_) => tracing::warn!("provider does not announce PKCE by S256"),
            Err(error) => {
                tracing::warn!(why = error.label(), error = chain(error), "provider's metadata not fetched");
            }
        }
        outcome
    };
    if let Some((copy, at)) = &seen.copy {
        if recent.is_none() && waited(now, *at, METADATA_AGE) {
            shelf.renew_behind(&seen, &link.clock, work);
        }
        return Ok(Arc::clone(copy));
    }
    if let Some(failure) = recent {
        return Err(failure.error.clone());
    }
    shelf.renew(&seen, &link.clock, work).await;
    let View { copy, failure, .. } = shelf.view();
    match (copy, failure) {
        (Some((copy, _)), _) => Ok(copy),
        (None, Some(failure)) => Err(failure.error),
        (None, None) => Err(DiscoveryError::Interrupted),
    }
}

/// Whether keys newer than those at hand could change the outcome: the key is unknown, or the token names none and
/// those that fit did not make the signature.
fn may_know_newer(judged: &Judged<'_>, outcome: Result<(), IdTokenError>) -> bool {
    match outcome {
        Err(IdTokenError::Rejected(Rejection::UnknownKey)) => true,
        Err(IdTokenError::Rejected(Rejection::Signature)) => judged.token().key_id().is_none(),
        Ok(()) | Err(IdTokenError::KeysUnavailable | IdTokenError::Missing | IdTokenError::Rejected(_)) => {
            false
        }
    }
}

/// Endpoints move rarely, and announced.
const METADATA_AGE: Duration = Duration::from_secs(3600);
/// How soon to try again behind a request while the good copy serves.
const PAUSE_WITH_METADATA: Duration = Duration::from_secs(60);
/// How long a removed key may still be believed.
const KEYS_AGE: Duration = Duration::from_secs(600);
/// How long keys serve that cannot be fetched again: a day's outage, not a forgotten provider.
const KEYS_END: Duration = Duration::from_secs(24 * 3600);
/// How soon to try again while the old keys serve; somebody waits for each attempt.
const PAUSE_WITH_KEYS: Duration = Duration::from_secs(30);
/// How soon to fetch again for an unknown key: bounds what forged key ids can cost the provider.
const PAUSE_AFTER_MISS: Duration = Duration::from_secs(30);
/// How long a failure without a copy to fall back on is remembered.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;

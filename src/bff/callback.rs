//! `GET callback`: finishes a login.
//!
//! Every check that needs no request comes first; the code is redeemed once; no token is used before the ID token
//! holds (std:22–33, std:39). A callback that fails sets no session and touches none.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::endpoints::{Bff, add_cookies, query_pairs, redirect};
use super::login::Start;
use super::pages::{self, LoginFailure};
use super::pending_login::{Binding, MOST_ATTEMPTS, PendingLogin};
use crate::base::secret::Secret;
use crate::gate::head::RequestHead;
use crate::oidc::{IdTokenError, OAuthError, TokenAnswer, TokenError};
use crate::session::cookie::jar::Jar;
use crate::session::refresh::record::Ask;
use crate::session::sessions::{Admitted, BeginError, Login};
use crate::telemetry::audit::{AuditEvent, SessionTag};
use crate::telemetry::metrics::LoginOutcome;

/// Why a callback came to nothing.
#[derive(Debug, PartialEq, Eq)]
enum CallbackError {
    /// The query is not one that a provider sends.
    Malformed(&'static str),
    /// `state` is missing, not ours, too old, or was used before.
    NoLogin,
    /// `state` is another browser's, and this one has no login under way.
    NotThisBrowser,
    /// `state` is of an earlier login of this browser, whose binding was lost: it may start again.
    Rebind(Again),
    /// The response names another issuer, or none where it must (RFC 9207 §2.4).
    WrongIssuer,
    /// The provider answered with an error.
    Refused(OAuthError),
    /// The provider cannot be reached or is unwell.
    Unavailable,
    /// The token endpoint refused the code or this client.
    CodeRefused(OAuthError),
    /// The tokens did not pass the checks.
    BadTokens(&'static str),
    /// No refresh token came, and the configuration wants one.
    NoRefreshToken,
    /// The tokens are too long for cookies.
    TooLong,
}

/// A login that starts again.
#[derive(Debug, PartialEq, Eq)]
struct Again {
    return_to: String,
    attempt: u8,
    extra: Vec<(String, String)>,
}

/// What a callback's query says. Unknown parameters are ignored (RFC 6749 §4.1.2).
#[derive(Debug, Default)]
struct Query {
    state: Option<String>,
    code: Option<Secret<String>>,
    iss: Option<String>,
    error: Option<OAuthError>,
}

impl Query {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, CallbackError> {
        let mut query = Self::default();
        for (name, value) in pairs {
            // std:27: a parameter that comes twice is refused.
            let twice = match name.as_str() {
                "state" => query.state.replace(value).is_some(),
                "code" => query.code.replace(Secret::new(value)).is_some(),
                "iss" => query.iss.replace(value).is_some(),
                "error" => query.error.replace(OAuthError::from_code(&value)).is_some(),
                // std:33: nothing of the implicit flow is accepted.
                "access_token" | "id_token" => return Err(CallbackError::Malformed("token_in_url")),
                _ => false,
            };
            if twice {
                return Err(CallbackError::Malformed("repeated_parameter"));
            }
        }
        Ok(query)
    }
}

impl Bff {
    pub(super) async fn callback(&self, head: &RequestHead<'_>) -> Response<Bytes> {
        match self.finish_login(head).await {
            Ok(response) => response,
            Err(error) => self.login_failed(error, head).await,
        }
    }

    async fn finish_login(&self, head: &RequestHead<'_>) -> Result<Response<Bytes>, CallbackError> {
        let query = Query::read(query_pairs(head))?;
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        let login = self.pending_login(&query, &jar)?;
        // The response is judged to be our provider's before anything else of it is believed, errors too (std:26).
        let metadata = self.provider.metadata().await.map_err(|_| CallbackError::Unavailable)?;
        self.provider
            .check_callback_issuer(&metadata, query.iss.as_deref())
            .map_err(|_| CallbackError::WrongIssuer)?;
        let code = match (query.code, query.error) {
            (Some(code), None) => code,
            (_, Some(error)) => return Err(CallbackError::Refused(error)),
            (None, None) => return Err(CallbackError::Malformed("no_code")),
        };
        // std:28: burned before the code is sent.
        if !self.pending.burn(&login, self.clock.now()) {
            return Err(CallbackError::NoLogin);
        }
        let verifier = Secret::new(login.verifier.clone());
        let answer = self.provider.exchange_code(&code, &verifier).await.map_err(sort_token_error)?;
        self.check_refresh_token(&answer)?;
        let id_token = self.provider.verify_login(&answer, &login.nonce).await.map_err(|error| {
            tracing::warn!(rule = error.label(), request_id = %head.request_id, "the login's ID token was rejected");
            match error {
                // std:151: not known now, not wrong.
                IdTokenError::KeysUnavailable => CallbackError::Unavailable,
                IdTokenError::Missing | IdTokenError::Rejected(_) => CallbackError::BadTokens(error.label()),
            }
        })?;
        // A token that is expired on arrival would send the browser in circles.
        if answer.access_expires_at <= self.clock.now() {
            tracing::error!("access tokens arrive expired: compare this machine's clock with the provider's");
            return Err(CallbackError::BadTokens("access_token_expired"));
        }
        let login_made = Login { answer, id_token, nonce: login.nonce.clone() };
        let (session, cookies) = self.sessions.begin(login_made, &jar).map_err(sort_begin_error)?;
        self.metrics.login(LoginOutcome::Completed);
        let tag = SessionTag::of(session.sid.as_bytes());
        AuditEvent::Login { session: tag, subject: &session.identity.subject }.emit_for(&head.request_id);
        // std:31: the URL with code and state does not stay in the address bar.
        let mut response = redirect(StatusCode::FOUND, &login.return_to);
        add_cookies(&mut response, cookies);
        Ok(response)
    }

    /// The login that a callback belongs to: `state` opens, and this browser started it.
    fn pending_login(&self, query: &Query, jar: &Jar<'_>) -> Result<PendingLogin, CallbackError> {
        let state = query.state.as_deref().ok_or(CallbackError::NoLogin)?;
        let login = self.pending.open(state, self.clock.now()).ok_or(CallbackError::NoLogin)?;
        if login.issuer != self.provider.settings().issuer {
            return Err(CallbackError::NoLogin);
        }
        match Binding::existing(jar.login) {
            Some(binding) if login.is_bound_to(&binding) => Ok(login),
            // Tabs that started at the very same moment each got a binding; the browser kept the last. Nothing of
            // this response is used: the login starts again, at most twice.
            Some(_) if login.attempt < MOST_ATTEMPTS => Err(CallbackError::Rebind(Again {
                return_to: login.return_to.clone(),
                attempt: login.attempt + 1,
                extra: login.extra.clone(),
            })),
            // T4: a callback that another browser began ends here.
            Some(_) | None => Err(CallbackError::NotThisBrowser),
        }
    }

    fn check_refresh_token(&self, answer: &TokenAnswer) -> Result<(), CallbackError> {
        let settings = self.provider.settings();
        if answer.refresh_token.is_some() {
            return Ok(());
        }
        if settings.require_refresh_token {
            return Err(CallbackError::NoRefreshToken);
        }
        self.warn_once_without_refresh_token();
        Ok(())
    }

    /// The answer to a callback that came to nothing. Where the browser has a session all the same (the back
    /// button, a second tab), it is sent on instead of being shown an error.
    async fn login_failed(&self, error: CallbackError, head: &RequestHead<'_>) -> Response<Bytes> {
        let (outcome, failure) = describe(&error);
        let recoverable = matches!(
            error,
            CallbackError::NoLogin | CallbackError::NotThisBrowser | CallbackError::Rebind(_)
        );
        if recoverable && self.has_session(head).await {
            let default = &self.settings.default_return_to;
            let target = if let CallbackError::Rebind(again) = &error { &again.return_to } else { default };
            return redirect(StatusCode::FOUND, target);
        }
        if let CallbackError::Rebind(again) = &error {
            let extra: Vec<_> =
                again.extra.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let start = Start { return_to: &again.return_to, attempt: again.attempt, extra: &extra };
            return self.start_login(head, &start).await;
        }
        self.metrics.login(outcome);
        AuditEvent::LoginFailed { outcome, detail: failure.label }.emit_for(&head.request_id);
        pages::login_failed_page(&failure, head.request_id, &self.links)
    }

    async fn has_session(&self, head: &RequestHead<'_>) -> bool {
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        matches!(self.sessions.admit(&jar, Ask::NoRefresh).await, Admitted::Ticket(_))
    }
}

fn sort_token_error(error: TokenError) -> CallbackError {
    match error {
        TokenError::NotSent | TokenError::NoAnswer | TokenError::Busy { .. } | TokenError::Unavailable(_) => {
            CallbackError::Unavailable
        }
        TokenError::Refused(error) => CallbackError::CodeRefused(error),
        TokenError::BadAnswer { what, .. } => CallbackError::BadTokens(what),
    }
}

fn sort_begin_error(error: BeginError) -> CallbackError {
    tracing::error!(%error, "a login could not become a session");
    match error {
        BeginError::TooLong(_) => CallbackError::TooLong,
        BeginError::NotABearer(_) => CallbackError::BadTokens("not_a_bearer"),
        BeginError::NotSealed => CallbackError::BadTokens("not_sealed"),
    }
}

/// Outcome, status, reason code and plain words for a failure.
fn describe(error: &CallbackError) -> (LoginOutcome, LoginFailure<'_>) {
    use LoginOutcome::{BadAnswer, CodeRefused, Denied, ProviderUnavailable, StateMismatch};
    let (outcome, status, label, text) = match error {
        CallbackError::Malformed(label) => {
            (StateMismatch, 400, *label, "The address that the provider sent you back to is not complete.")
        }
        CallbackError::NoLogin => {
            (StateMismatch, 400, "no_login", "This login took too long, or was finished before.")
        }
        CallbackError::NotThisBrowser | CallbackError::Rebind(_) => (
            StateMismatch,
            400,
            "not_this_browser",
            "This login was started in another browser, or this browser keeps no cookies for this site.",
        ),
        CallbackError::WrongIssuer => {
            (StateMismatch, 400, "wrong_issuer", "The answer did not come from the expected provider.")
        }
        CallbackError::Refused(error) => {
            (Denied, 403, error.code(), "The provider did not allow this login.")
        }
        CallbackError::Unavailable => (
            ProviderUnavailable,
            503,
            "provider_unavailable",
            "The login service does not answer at the moment.",
        ),
        CallbackError::CodeRefused(error) => {
            (CodeRefused, 502, error.code(), "The provider did not accept the login that it had confirmed.")
        }
        CallbackError::BadTokens(label) => {
            (BadAnswer, 502, *label, "What the provider said about you could not be verified.")
        }
        CallbackError::NoRefreshToken => (
            BadAnswer,
            502,
            "no_refresh_token",
            "The provider does not allow this application to keep you logged in.",
        ),
        CallbackError::TooLong => {
            (BadAnswer, 502, "session_too_long", "The provider sent more about you than a browser can keep.")
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (outcome, LoginFailure { status, label, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Query, CallbackError> {
        Query::read(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    #[test]
    fn a_parameter_that_comes_twice_is_refused() {
        // std:27
        for query in ["code=a&code=b", "state=a&state=a", "iss=a&iss=b", "error=a&error=b"] {
            assert_eq!(read(query).unwrap_err(), CallbackError::Malformed("repeated_parameter"), "{query}");
        }
        assert!(read("code=a&state=b&iss=c&session_state=d&session_state=e").is_ok());
    }

    #[test]
    fn tokens_in_the_address_are_refused() {
        // std:33
        for query in ["access_token=a", "state=s&code=c&id_token=t"] {
            assert_eq!(read(query).unwrap_err(), CallbackError::Malformed("token_in_url"));
        }
    }

    #[test]
    fn a_query_of_any_kind_is_read_without_a_panic() {
        // CVE-2023-27496, std:29
        for query in ["", "&&&", "=", "%", "%ff=%ff", "code", &"a=b&".repeat(25_000)] {
            assert!(read(query).is_ok(), "{query:.20}");
        }
    }
}

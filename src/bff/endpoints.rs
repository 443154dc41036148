//! Which endpoint answers a call, and how a refusal reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::{HeaderValue, Response, StatusCode};

use super::pages::{self, Links};
use super::pending_login::PendingLogins;
use super::return_to::LocalTarget;
use super::settings::Settings;
use crate::base::time::Clock;
use crate::gate::denial::{Denial, Remedy};
use crate::gate::head::RequestHead;
use crate::gate::verdict::{AnswerKind, Endpoint, EndpointCall, Preflight, Refusal};
use crate::oidc::Provider;
use crate::session::cookie::seal::KeyRefused;
use crate::session::sessions::Sessions;
use crate::session::settings::Key;
use crate::telemetry::audit::AuditEvent;
use crate::telemetry::metrics::Metrics;

/// Our endpoints.
#[derive(Debug)]
pub struct Bff {
    pub(super) settings: Settings,
    pub(super) links: Links,
    /// Where a login starts, in full.
    login_url: String,
    pub(super) sessions: Sessions,
    pub(super) provider: Arc<Provider>,
    pub(super) pending: PendingLogins,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    told_of_missing_refresh_token: AtomicBool,
}

impl Bff {
    /// Endpoints over the sessions and the provider.
    ///
    /// # Errors
    /// Where the key ring cannot be used.
    pub fn new(
        settings: Settings,
        sessions: Sessions,
        provider: Arc<Provider>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, KeyRefused> {
        let pending = PendingLogins::new(&sessions.settings().keys)?;
        let links = Links::new(&settings.public_url, &settings.base_path);
        let login_url =
            format!("{}{}", settings.public_url.origin().ascii_serialization(), links.login_url());
        let told_of_missing_refresh_token = AtomicBool::new(false);
        Ok(Self {
            settings,
            links,
            login_url,
            sessions,
            provider,
            pending,
            clock,
            metrics,
            told_of_missing_refresh_token,
        })
    }

    /// Goes on with another key ring: for sessions and for logins under way.
    ///
    /// # Errors
    /// Where it cannot be used; nothing is changed then.
    pub fn replace_keys(&self, keys: &[Key]) -> Result<(), KeyRefused> {
        self.pending.replace_keys(keys)?;
        self.sessions.replace_keys(keys)
    }

    /// Answers a call of an endpoint.
    pub async fn serve(&self, call: EndpointCall, head: &RequestHead<'_>, body: Bytes) -> Response<Bytes> {
        // No endpoint reads a body; it was read so that the connection can be used again.
        drop(body);
        let mut response = match (call.endpoint, &call.session) {
            (Endpoint::Login, _) => self.login(head).await,
            (Endpoint::Callback, _) => self.callback(head).await,
            (Endpoint::Logout, _) => self.logout(head).await,
            (Endpoint::LoggedOut, _) => pages::logged_out_page(head.request_id, &self.links),
            (Endpoint::Session | Endpoint::SessionRefresh, Some(ticket)) => {
                self.session_info(&ticket.session)
            }
            (Endpoint::UserInfo, Some(ticket)) => self.userinfo(&ticket.session),
            (Endpoint::Session | Endpoint::SessionRefresh | Endpoint::UserInfo, None) => {
                pages::problem(&Denial::NoSession, head.request_id, Some(self.links.login_url()))
            }
        };
        if let Some(ticket) = &call.session {
            add_cookies(&mut response, self.sessions.cookies_due(ticket));
        }
        if let Some(grant) = &call.cors {
            grant.write(response.headers_mut());
        }
        response
    }

    /// Answers a preflight.
    pub fn preflight(&self, preflight: &Preflight) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        preflight.grant.write_preflight(&preflight.methods, response.headers_mut());
        response
    }

    /// Answers a refused request.
    pub fn refuse(&self, refusal: &Refusal, head: &RequestHead<'_>) -> Response<Bytes> {
        let effects = refusal.denial.effects();
        self.metrics.refusal(effects.label);
        if matches!(refusal.denial, Denial::CrossSite | Denial::OriginNotAllowed) {
            AuditEvent::CsrfBlocked { reason: effects.label, session: None }.emit_for(&head.request_id);
        }
        let target = std::str::from_utf8(head.target)
            .ok()
            .and_then(|raw| LocalTarget::parse(raw, &self.settings.public_url, &self.settings.base_path));
        let links =
            target.as_ref().map_or_else(|| self.links.clone(), |at| self.links.returning_to(at.as_str()));
        let mut response = match (refusal.answer, effects.remedy) {
            (AnswerKind::Page, Remedy::Login) => redirect(StatusCode::FOUND, links.login_url()),
            (AnswerKind::Page, Remedy::LoginByHand | Remedy::Retry | Remedy::Nothing) => {
                pages::error_page(&refusal.denial, head.request_id, &links)
            }
            (AnswerKind::Problem, _) => {
                // A path means nothing to a page of another origin.
                let login_url = match refusal.cors {
                    Some(_) => &self.login_url,
                    None => self.links.login_url(),
                };
                pages::problem(&refusal.denial, head.request_id, Some(login_url))
            }
        };
        add_cookies(&mut response, refusal.cookies.iter().cloned());
        if let Some(grant) = &refusal.cors {
            grant.write(response.headers_mut());
        }
        response
    }

    /// Says once that sessions end with their access tokens, because the provider gives no refresh token.
    pub(super) fn warn_once_without_refresh_token(&self) {
        if !self.told_of_missing_refresh_token.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                client_id = %self.provider.settings().client_id,
                "the provider gives no refresh token: sessions end with their access token; \
                 ask for `offline_access`, and allow it for this client at the provider"
            );
        }
    }

    /// The page or document for a provider that does not answer.
    pub(super) fn provider_unavailable(&self, head: &RequestHead<'_>) -> Response<Bytes> {
        let denial = Denial::ProviderUnavailable { retry_after: Duration::from_secs(2) };
        self.metrics.refusal(denial.effects().label);
        match crate::gate::admit::answer_kind(head) {
            AnswerKind::Page => pages::error_page(&denial, head.request_id, &self.links),
            AnswerKind::Problem => pages::problem(&denial, head.request_id, None),
        }
    }
}

/// A redirect that nobody stores and that tells the next page nothing (std:31).
pub(super) fn redirect(status: StatusCode, location: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // A target was checked to be fit for a header field; anything else leads to the start page.
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Adds `Set-Cookie` fields.
pub(super) fn add_cookies(response: &mut Response<Bytes>, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// The query of a request as decoded pairs.
pub(super) fn query_pairs(head: &RequestHead<'_>) -> Vec<(String, String)> {
    let query = head.target.iter().position(|&byte| byte == b'?').and_then(|at| head.target.get(at + 1..));
    url::form_urlencoded::parse(query.unwrap_or_default()).into_owned().collect()
}

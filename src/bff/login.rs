//! `GET login`: sends the browser to the provider.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};

use super::endpoints::{Bff, add_cookies, query_pairs, redirect};
use super::pending_login::{Binding, LOGIN_LIFE, PendingLogin};
use super::return_to::LocalTarget;
use crate::base::secret::Secret;
use crate::gate::head::RequestHead;
use crate::oidc::AuthorizationRequest;
use crate::session::cookie::attributes::{Life, set_cookie};
use crate::session::cookie::jar::Jar;

/// The longest value that is passed on to the provider; all of them travel in `state`.
const LONGEST_PARAMETER: usize = 256;

/// A login to start.
pub(super) struct Start<'a> {
    pub(super) return_to: &'a str,
    /// How often it started again by itself.
    pub(super) attempt: u8,
    /// Parameters for the provider, allow-listed.
    pub(super) extra: &'a [(&'a str, &'a str)],
}

impl Bff {
    pub(super) async fn login(&self, head: &RequestHead<'_>) -> Response<Bytes> {
        let query = query_pairs(head);
        let wanted = query.iter().find(|(name, _)| name == "rd").map(|(_, value)| value.as_str());
        let target = wanted
            .and_then(|raw| LocalTarget::parse(raw, &self.settings.public_url, &self.settings.base_path));
        let return_to = target.as_ref().map_or(self.settings.default_return_to.as_str(), LocalTarget::as_str);
        // std:20: only what the configuration lists is passed on.
        let extra: Vec<(&str, &str)> = query
            .iter()
            .filter(|(name, value)| {
                self.settings.login_params.contains(name) && value.len() <= LONGEST_PARAMETER
            })
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.start_login(head, &Start { return_to, attempt: 0, extra: &extra }).await
    }

    pub(super) async fn start_login(&self, head: &RequestHead<'_>, start: &Start<'_>) -> Response<Bytes> {
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        // Tabs that log in at once share one binding (std:15).
        let binding = Binding::of(jar.login);
        let issuer = &self.provider.settings().issuer;
        let mut login = PendingLogin::new(&binding, issuer, start.return_to, self.clock.now());
        login.attempt = start.attempt;
        login.extra =
            start.extra.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let Some(state) = self.pending.seal(&login) else {
            return self.provider_unavailable(head);
        };
        let verifier = Secret::new(login.verifier.clone());
        let request = AuthorizationRequest {
            state: &state,
            nonce: &login.nonce,
            verifier: &verifier,
            extra: start.extra,
        };
        let url = match self.provider.authorization_url(&request).await {
            Ok(url) => url,
            Err(error) => {
                tracing::warn!(%error, request_id = %head.request_id, "a login could not start");
                return self.provider_unavailable(head);
            }
        };
        // 302: a client that asked by another method goes on with GET (std:19).
        let mut response = redirect(StatusCode::FOUND, url.as_str());
        add_cookies(&mut response, self.binding_cookie(&binding));
        response
    }

    fn binding_cookie(&self, binding: &Binding) -> Option<HeaderValue> {
        let name = self.sessions.names().login();
        set_cookie(name, binding.value(), Life::For(LOGIN_LIFE), &self.sessions.settings().cookie)
    }
}

//! `POST logout`: ends the session here, then at the provider.
//!
//! The order matters: the local session is ended first, the refresh token is revoked in the background, the browser
//! is sent on to the provider's logout last; no failure of a later step undoes an earlier one (std:154).

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::endpoints::{Bff, add_cookies, redirect};
use crate::base::secret::random_text;
use crate::gate::head::RequestHead;
use crate::session::cookie::jar::Jar;
use crate::session::refresh::record::EndCause;
use crate::telemetry::audit::{AuditEvent, SessionTag};

impl Bff {
    pub(super) async fn logout(&self, head: &RequestHead<'_>) -> Response<Bytes> {
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        let session = self.sessions.end(&jar, EndCause::Logout);
        let tag = session.as_ref().map(|session| SessionTag::of(session.sid.as_bytes()));
        let subject = session.as_ref().map(|session| session.identity.subject.as_str());
        AuditEvent::Logout { session: tag, subject }.emit_for(&head.request_id);

        let state = random_text::<16>();
        let provider_logout = match &session {
            Some(session) => {
                let hint = session.tokens.id_token.as_ref();
                self.provider.end_session_url(hint, None, &state).await.map(String::from)
            }
            None => None,
        };
        let target =
            provider_logout.unwrap_or_else(|| format!("{}/logout/callback", self.settings.base_path));
        let mut response = if wants_json(head) {
            logout_document(&target)
        } else {
            // 303: the browser goes on with GET whatever it asked with.
            redirect(StatusCode::SEE_OTHER, &target)
        };
        add_cookies(&mut response, self.sessions.deletion(jar.chunks()));
        response
    }
}

/// A script cannot follow a redirect to another origin; it gets the address instead.
fn logout_document(target: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(json!({ "logout_url": target }).to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn wants_json(head: &RequestHead<'_>) -> bool {
    let accepts = |kind: &str| {
        let mut values = head.parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.contains(kind))
    };
    accepts("application/json") && !accepts("text/html")
}

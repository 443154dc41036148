//! `GET session` and `GET userinfo`: what a page may know of its session.
//!
//! Never a token (std:98).

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::endpoints::Bff;
use crate::base::time::Timestamp;
use crate::session::model::Session;
use crate::session::refresh::decide::window;

impl Bff {
    pub(super) fn session_info(&self, session: &Session) -> Response<Bytes> {
        let now = self.clock.now();
        let idle_ends = now.plus(self.sessions.settings().idle_timeout).min(session.expires_at);
        let next_refresh = session.tokens.access_expires_at.minus(window(session));
        let refreshable = session.tokens.refresh.is_some();
        let seconds = |until: Timestamp| until.since(now).as_secs();
        document(&json!({
            "session": {
                "active": true,
                "created_at": rfc3339(session.login_at),
                "ends_at": rfc3339(session.expires_at),
                "ends_in_seconds": seconds(session.expires_at),
                "timeout_at": rfc3339(idle_ends),
                "timeout_in_seconds": seconds(idle_ends),
                "generation": session.generation,
                "refreshable": refreshable,
            },
            "tokens": {
                "refreshed_at": rfc3339(session.refreshed_at),
                "expire_at": rfc3339(session.tokens.access_expires_at),
                "expire_in_seconds": seconds(session.tokens.access_expires_at),
                "next_auto_refresh_in_seconds": if refreshable { json!(seconds(next_refresh)) } else { Value::Null },
                "refreshes": session.generation - 1,
            },
            "claims": session.claims,
        }))
    }

    pub(super) fn userinfo(&self, session: &Session) -> Response<Bytes> {
        let claim = |name: &str| session.claims.get(name).cloned().unwrap_or(Value::Null);
        let groups = claim("groups");
        let groups = if groups.is_null() { json!([]) } else { groups };
        let groups = if groups.is_array() { groups } else { json!([groups]) };
        document(&json!({
            "user": session.identity.subject,
            "email": claim("email"),
            "groups": groups,
            "preferredUsername": claim("preferred_username"),
        }))
    }
}

fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map(|at| at.to_string()).unwrap_or_default()
}

fn document(value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

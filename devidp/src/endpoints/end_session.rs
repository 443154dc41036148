//! OpenID Connect RP-Initiated Logout 1.0.
//!
//! Ends the login at the provider. Grants live on, as `offline_access` wants it: whoever logs out revokes them.

use http::StatusCode;
use http::header::SET_COOKIE;
use serde_json::Value;
use url::Url;

use super::authorize::COOKIE_PATHS;
use crate::http_io::{Call, Reply};
use crate::keys::unverified_claims;
use crate::pages;
use crate::shared::Shared;

pub(crate) fn end_session(shared: &Shared, call: &Call) -> Reply {
    shared.seen.count(|counts| counts.end_sessions += 1);
    let query = call.query();
    let request = if query.pairs().is_empty() { call.form() } else { query };
    // A forged hint logs somebody out of a test double; what it may redirect to is registered all the same.
    let hint = request.one("id_token_hint").and_then(unverified_claims).unwrap_or_default();
    let client_id = request.one("client_id").or_else(|| hint.get("aud").and_then(Value::as_str));
    let client = client_id.and_then(|id| shared.state().client(id).cloned());
    let target = request.one("post_logout_redirect_uri");
    let registered = |uri: &str| {
        client.is_some_and(|client| client.post_logout_redirect_uris.iter().any(|own| own == uri))
    };
    if target.is_some_and(|uri| !registered(uri)) {
        let text = "This post_logout_redirect_uri is not registered for the client.";
        return Reply::page(StatusCode::BAD_REQUEST, pages::notice("This request is refused", text));
    }
    let cookie = call.cookie(&shared.cookie_name());
    let ended = shared.state().log_out(cookie, hint.get("sid").and_then(Value::as_str));
    shared.seen.event(shared.now(), "end_session", ended.as_ref().map(|login| login.sub.as_str()));
    let mut reply = match target.and_then(|uri| Url::parse(uri).ok()) {
        Some(mut location) => {
            if let Some(state) = request.one("state") {
                location.query_pairs_mut().append_pair("state", state);
            }
            Reply::redirect(StatusCode::FOUND, location.as_str())
        }
        None => {
            Reply::page(StatusCode::OK, pages::notice("Logged out", "Nobody is logged in here any more."))
        }
    };
    for path in COOKIE_PATHS {
        let name = shared.cookie_name();
        reply = reply.with(SET_COOKIE, &format!("{name}=; Path={path}; HttpOnly; SameSite=Lax; Max-Age=0"));
    }
    reply
}

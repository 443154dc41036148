//! Which path is answered by what.

mod authorize;
mod discovery;
mod end_session;
mod inspect;
mod token;

use http::{Method, StatusCode};

use crate::http_io::{Call, Reply};
use crate::pages;
use crate::shared::Shared;

/// Answers one request.
pub(crate) async fn answer(shared: &Shared, call: &Call) -> Reply {
    let get = call.method == Method::GET;
    let post = call.method == Method::POST;
    match call.uri.path() {
        "/.well-known/openid-configuration" if get => discovery::metadata(shared),
        "/jwks" if get => discovery::jwks(shared),
        "/authorize" if get || post => authorize::authorize(shared, call),
        "/token" if post => token::token(shared, call).await,
        "/userinfo" if get || post => inspect::userinfo(shared, call),
        "/introspect" if post => inspect::introspect(shared, call),
        "/revoke" if post => inspect::revoke(shared, call),
        "/end-session" if get || post => end_session::end_session(shared, call),
        "/events" if get => Reply::json(StatusCode::OK, &shared.seen.events_as_json()),
        "/" if get => Reply::page(StatusCode::OK, pages::notice("devidp", "A provider for development.")),
        _ => Reply::status(404),
    }
}

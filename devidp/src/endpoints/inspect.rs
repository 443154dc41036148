//! Userinfo (OIDC Core §5.3), introspection (RFC 7662), revocation (RFC 7009).

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use serde_json::{Value, json};

use crate::clock::unix;
use crate::faults::UserinfoFault;
use crate::http_io::{Call, Reply};
use crate::shared::Shared;
use crate::state::TokenKind;
use crate::tokens;

pub(crate) fn userinfo(shared: &Shared, call: &Call) -> Reply {
    shared.seen.count(|counts| counts.userinfo += 1);
    let fault = shared.faults.userinfo.take();
    if let Some(UserinfoFault::Plain(fault)) = fault {
        return fault.into();
    }
    let live = call.bearer().and_then(|token| tokens::live_access_token(shared, token));
    let user = live.and_then(|live| shared.state().user(&live.sub).cloned());
    let Some(user) = user else {
        // RFC 6750 §3: no error code where no credentials were sent.
        let challenge = if call.bearer().is_some() { "Bearer error=\"invalid_token\"" } else { "Bearer" };
        return Reply::status(401).with(WWW_AUTHENTICATE, challenge);
    };
    let mut claims = user.all_claims();
    if fault == Some(UserinfoFault::OtherSub) {
        claims.insert("sub".into(), "mallory".into());
    }
    Reply::json(StatusCode::OK, &Value::Object(claims))
}

pub(crate) fn introspect(shared: &Shared, call: &Call) -> Reply {
    shared.seen.count(|counts| counts.introspections += 1);
    if let Some(fault) = shared.faults.introspection.take() {
        return fault.into();
    }
    if shared.authenticated_client(call).is_none() {
        return Reply::oauth_error("invalid_client", "the client did not authenticate");
    }
    let form = call.form();
    let Some(token) = form.one("token") else {
        return Reply::oauth_error("invalid_request", "no token");
    };
    let now = shared.now();
    let live = shared.state().live_token(token, now);
    let Some(live) = live else {
        return Reply::json(StatusCode::OK, &json!({ "active": false }));
    };
    let mut claims = json!({
        "active": true, "iss": shared.issuer, "sub": live.sub, "username": live.sub, "client_id": live.client_id,
        "scope": live.scope, "exp": unix(live.expires_at),
    });
    if let (TokenKind::Access, Value::Object(claims)) = (live.kind, &mut claims) {
        let groups = shared.state().user(&live.sub).map(|user| user.groups.clone()).unwrap_or_default();
        claims.insert("token_type".into(), "Bearer".into());
        claims.insert("aud".into(), shared.settings.access_token_audience.as_str().into());
        claims.insert("groups".into(), groups.into());
    }
    Reply::json(StatusCode::OK, &claims)
}

pub(crate) fn revoke(shared: &Shared, call: &Call) -> Reply {
    shared.seen.count(|counts| counts.revocations += 1);
    if let Some(fault) = shared.faults.revocation.take() {
        return fault.into();
    }
    let Some(client) = shared.authenticated_client(call) else {
        return Reply::oauth_error("invalid_client", "the client did not authenticate");
    };
    let form = call.form();
    let Some(token) = form.one("token") else {
        return Reply::oauth_error("invalid_request", "no token");
    };
    let revoked = shared.state().revoke(token, &client.id);
    if let Some(sub) = revoked {
        shared.seen.revoked(token);
        shared.seen.event(shared.now(), "revocation", Some(&sub));
    }
    // RFC 7009 §2.2: an unknown token is revoked enough.
    Reply::status(200)
}

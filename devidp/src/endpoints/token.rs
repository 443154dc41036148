//! The token endpoint: codes and refresh tokens.
//!
//! RFC 6749 §4.1.3, §6; RFC 7636 §4.6; RFC 9700 §4.14.
//!
//! In this order: what arrived is recorded; a fault that spends nothing answers; the client is checked; the
//! code or refresh token is checked and spent under one lock; the answer is made; only then comes the pause.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::faults::TokenFault;
use crate::http_io::{Call, Content, Parameters, Reply, padding};
use crate::pages;
use crate::seen::{GrantKind, Outcome};
use crate::settings::{Client, Rotation};
use crate::shared::Shared;
use crate::state::{Granted, RefreshRules, Refusal};
use crate::tokens::{self, IdTokenFacts};

pub(crate) async fn token(shared: &Shared, call: &Call) -> Reply {
    let form = call.form();
    let kind = match form.one("grant_type") {
        Some("authorization_code") => GrantKind::Code,
        Some("refresh_token") => GrantKind::Refresh,
        Some(_) => {
            return Reply::oauth_error("unsupported_grant_type", "a code or a refresh token is wanted");
        }
        None => return Reply::oauth_error("invalid_request", "no grant_type"),
    };
    shared.seen.token_arrived(kind, form.pairs());
    let fault = match kind {
        GrantKind::Code => shared.faults.token.code.take(),
        GrantKind::Refresh => shared.faults.token.refresh.take(),
    };
    if let Some(reply) = fault.as_ref().and_then(instead) {
        shared.seen.token_decided(kind, Outcome::Faulted);
        return reply;
    }
    let reply = match decided(shared, call, &form, kind, fault.as_ref()) {
        Ok(members) => wrapped(members, fault.as_ref()),
        Err((error, description)) => Reply::oauth_error(error, description),
    };
    let more = if let Some(TokenFault::Delay(more)) = fault { more } else { Duration::ZERO };
    let pause = shared.token_delay() + more;
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    reply
}

type OAuthError = (&'static str, &'static str);

/// Everything up to the answer's members. What is spent is spent when this returns.
fn decided(
    shared: &Shared,
    call: &Call,
    form: &Parameters,
    kind: GrantKind,
    fault: Option<&TokenFault>,
) -> Result<Map<String, Value>, OAuthError> {
    let refused = |error: OAuthError| {
        shared.seen.token_decided(kind, Outcome::Refused(error.0));
        error
    };
    if form.has_duplicates() {
        return Err(refused(("invalid_request", "a parameter is repeated")));
    }
    let Some(client) = shared.authenticated_client(call) else {
        return Err(refused(("invalid_client", "the client did not authenticate")));
    };
    let habits = shared.habits().clone();
    let keep = matches!((kind, fault), (GrantKind::Refresh, Some(TokenFault::OmitRefreshToken)));
    let rotation = if keep { Rotation::Off } else { habits.rotation };
    let rules = RefreshRules { rotation, life: shared.settings.refresh_token_life, now: shared.now() };
    let granted = match kind {
        GrantKind::Code => redeemed(shared, form, &client, rules),
        GrantKind::Refresh => refreshed(shared, form, &client, rules),
    };
    let event = match (kind, &granted) {
        (GrantKind::Code, Ok(_)) => "code",
        (GrantKind::Refresh, Ok(_)) => "rotation",
        (GrantKind::Code, Err(Refusal::Reused)) => "code_replay",
        (GrantKind::Refresh, Err(Refusal::Reused)) => "reuse",
        (_, Err(Refusal::Invalid | Refusal::Scope)) => "refusal",
    };
    shared.seen.event(rules.now, event, granted.as_ref().ok().map(|granted| granted.user.sub.as_str()));
    match granted {
        Ok(granted) => {
            let members = members(shared, &client, &granted, kind);
            shared.seen.token_decided(kind, Outcome::Granted);
            Ok(members)
        }
        Err(Refusal::Invalid) => Err(refused(("invalid_grant", "unknown, expired, or for something else"))),
        Err(Refusal::Scope) => Err(refused(("invalid_scope", "more than was granted"))),
        Err(Refusal::Reused) => {
            shared.seen.token_decided(kind, Outcome::Reused);
            Err(("invalid_grant", "used before; everything that came of it is revoked"))
        }
    }
}

fn redeemed(
    shared: &Shared,
    form: &Parameters,
    client: &Client,
    rules: RefreshRules,
) -> Result<Granted, Refusal> {
    let code = form.one("code").unwrap_or_default();
    let redirect_uri = form.one("redirect_uri").unwrap_or_default();
    let verifier = form.one("code_verifier").unwrap_or_default();
    shared.state().redeem(code, &client.id, redirect_uri, verifier, rules)
}

fn refreshed(
    shared: &Shared,
    form: &Parameters,
    client: &Client,
    rules: RefreshRules,
) -> Result<Granted, Refusal> {
    let token = form.one("refresh_token").ok_or(Refusal::Invalid)?;
    shared.seen.presented(token);
    shared.state().refresh(token, &client.id, form.one("scope"), rules)
}

fn members(shared: &Shared, client: &Client, granted: &Granted, kind: GrantKind) -> Map<String, Value> {
    let fault = match kind {
        GrantKind::Code => shared.faults.id_token.code.take(),
        GrantKind::Refresh => shared.faults.id_token.refresh.take(),
    };
    let access_token = tokens::issue_access_token(shared, granted);
    let facts = IdTokenFacts { access_token: &access_token, client_secret: &client.secret, fault };
    let id_token = tokens::id_token(shared, granted, facts);
    let life = shared.habits().access_token_life.as_secs();
    let mut members = Map::new();
    members.insert("access_token".into(), access_token.into());
    members.insert("token_type".into(), "Bearer".into());
    members.insert("expires_in".into(), life.into());
    members.insert("scope".into(), granted.scope.as_str().into());
    members.insert("id_token".into(), id_token.into());
    if let Some(refresh_token) = &granted.refresh_token {
        members.insert("refresh_token".into(), refresh_token.as_str().into());
    }
    members
}

/// The answer of a fault that spends nothing.
fn instead(fault: &TokenFault) -> Option<Reply> {
    Some(match fault {
        TokenFault::Status(status) => Reply::status(*status),
        TokenFault::Busy(status, retry_after) => Reply::status(*status).retry_after(retry_after.as_secs()),
        TokenFault::Refused(error) => Reply::oauth_error(error, "refused on purpose"),
        TokenFault::Hang => Reply::Silence,
        TokenFault::Reset => Reply::Reset,
        TokenFault::Redirect(location) => Reply::redirect(StatusCode::TEMPORARY_REDIRECT, location),
        TokenFault::Delay(_)
        | TokenFault::AnswerLost
        | TokenFault::HangAfterRotation
        | TokenFault::StatusAfterRotation(_)
        | TokenFault::Truncated
        | TokenFault::Garbage
        | TokenFault::Html
        | TokenFault::WrongContentType
        | TokenFault::Oversize
        | TokenFault::OmitRefreshToken
        | TokenFault::OmitAccessToken
        | TokenFault::OmitIdToken
        | TokenFault::OmitExpiresIn
        | TokenFault::ExpiresInText
        | TokenFault::ExpiresIn(_)
        | TokenFault::TokenType(_)
        | TokenFault::DuplicateMember => return None,
    })
}

/// The answer with its members, spoilt or not.
fn wrapped(mut members: Map<String, Value>, fault: Option<&TokenFault>) -> Reply {
    if let Some(fault) = fault {
        spoil(&mut members, fault);
    }
    let mut body = Value::Object(members).to_string();
    let ok = StatusCode::OK;
    match fault {
        Some(TokenFault::AnswerLost) => Reply::Reset,
        Some(TokenFault::HangAfterRotation) => Reply::Silence,
        Some(TokenFault::StatusAfterRotation(status)) => Reply::status(*status),
        Some(TokenFault::Truncated) => {
            Reply::body(ok, "application/json", Content::truncated(Bytes::from(body)))
        }
        Some(TokenFault::Garbage) => Reply::garbage(),
        Some(TokenFault::Html) => Reply::page(ok, pages::notice("Welcome", "This is a page, not a token.")),
        Some(TokenFault::WrongContentType) => Reply::body(ok, "text/plain", Content::whole(body.into())),
        Some(TokenFault::DuplicateMember) => {
            body.truncate(body.len().saturating_sub(1));
            body.push_str(",\"access_token\":\"another\"}");
            Reply::body(ok, "application/json", Content::whole(body.into()))
        }
        Some(_) | None => Reply::body(ok, "application/json", Content::whole(body.into())),
    }
}

fn spoil(members: &mut Map<String, Value>, fault: &TokenFault) {
    let omitted = [
        (TokenFault::OmitRefreshToken, "refresh_token"),
        (TokenFault::OmitAccessToken, "access_token"),
        (TokenFault::OmitIdToken, "id_token"),
        (TokenFault::OmitExpiresIn, "expires_in"),
    ];
    members.retain(|name, _| !omitted.iter().any(|(of, omitted)| of == fault && omitted == name));
    if let TokenFault::TokenType(name) = fault {
        members.insert("token_type".into(), (*name).into());
    }
    if let TokenFault::ExpiresIn(seconds) = fault {
        members.insert("expires_in".into(), (*seconds).into());
    }
    if *fault == TokenFault::ExpiresInText {
        let seconds = members.get("expires_in").map(Value::to_string);
        members.insert("expires_in".into(), seconds.unwrap_or_default().into());
    }
    if *fault == TokenFault::Oversize {
        members.insert("padding".into(), padding().into());
    }
}

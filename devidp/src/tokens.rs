//! Access tokens and ID tokens, true ones and those with a fault.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::clock::unix;
use crate::crypto::{half_sha256, random_string};
use crate::faults::IdTokenFault;
use crate::keys::{SigningKey, sign_hs256, unsigned};
use crate::settings::AccessTokenFormat;
use crate::shared::Shared;
use crate::state::{Granted, LiveToken, TokenKind};

/// What an ID token says, apart from what the grant says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdTokenFacts<'a> {
    pub(crate) access_token: &'a str,
    pub(crate) client_secret: &'a str,
    pub(crate) fault: Option<IdTokenFault>,
}

/// Makes an access token for a grant and remembers it.
pub(crate) fn issue_access_token(shared: &Shared, granted: &Granted) -> String {
    let now = shared.now();
    let life = shared.habits().access_token_life;
    let mut claims = json!({
        "sub": granted.user.sub, "client_id": granted.client_id, "scope": granted.scope,
        "sid": granted.sid, "groups": granted.user.groups,
    });
    let token = access_token(shared, &mut claims, now, life);
    shared.state().keep_access_token(&token, granted, now, life);
    token
}

/// Makes an access token that belongs to no grant and remembers it.
pub(crate) fn issue_loose_access_token(
    shared: &Shared,
    sub: &str,
    client_id: &str,
    scope: &str,
    life: Duration,
) -> String {
    let now = shared.now();
    let groups = shared.state().user(sub).map(|user| user.groups.clone()).unwrap_or_default();
    let mut claims = json!({ "sub": sub, "client_id": client_id, "scope": scope, "groups": groups });
    let token = access_token(shared, &mut claims, now, life);
    let live = LiveToken {
        kind: TokenKind::Access,
        client_id: client_id.to_owned(),
        sub: sub.to_owned(),
        scope: scope.to_owned(),
        expires_at: now + life,
    };
    shared.state().keep_loose_access_token(&token, live, now);
    token
}

/// What a live access token says.
pub(crate) fn live_access_token(shared: &Shared, token: &str) -> Option<LiveToken> {
    let live = shared.state().live_token(token, shared.now())?;
    (live.kind == TokenKind::Access).then_some(live)
}

/// RFC 9068, or a random string.
fn access_token(shared: &Shared, claims: &mut Value, now: SystemTime, life: Duration) -> String {
    if shared.settings.access_token_format == AccessTokenFormat::Opaque {
        return random_string();
    }
    if let Value::Object(claims) = claims {
        claims.insert("iss".into(), shared.issuer.as_str().into());
        claims.insert("aud".into(), shared.settings.access_token_audience.as_str().into());
        claims.insert("iat".into(), unix(now).into());
        claims.insert("exp".into(), unix(now + life).into());
        claims.insert("jti".into(), random_string().into());
    }
    let key = shared.keys().current();
    key.sign(&key.header("at+jwt"), &claims.to_string())
}

/// An ID token for a grant.
pub(crate) fn id_token(shared: &Shared, granted: &Granted, facts: IdTokenFacts<'_>) -> String {
    if facts.fault == Some(IdTokenFault::KeysRotated) {
        // Fails only without memory; then the old key signs and the test that asked for a new one says so.
        shared.rotate_keys().ok();
    }
    let key = shared.keys().current();
    let mut claims = true_claims(shared, granted, facts.access_token);
    let mut header = key.header("JWT");
    if let Some(fault) = facts.fault {
        spoil_claims(&mut claims, fault);
        spoil_header(&mut header, fault);
    }
    let mut payload = Value::Object(claims).to_string();
    if facts.fault == Some(IdTokenFault::DuplicateMember) {
        payload.truncate(payload.len().saturating_sub(1));
        payload.push_str(",\"sub\":\"mallory\"}");
    }
    signed(&key, &header, &payload, facts)
}

fn true_claims(shared: &Shared, granted: &Granted, access_token: &str) -> Map<String, Value> {
    let now = shared.now();
    let mut claims = granted.user.all_claims();
    claims.insert("iss".into(), shared.issuer.as_str().into());
    claims.insert("aud".into(), granted.client_id.as_str().into());
    claims.insert("iat".into(), unix(now).into());
    claims.insert("exp".into(), unix(now + shared.settings.id_token_life).into());
    claims.insert("auth_time".into(), unix(granted.auth_time).into());
    claims.insert("sid".into(), granted.sid.as_str().into());
    claims.insert("at_hash".into(), half_sha256(access_token).into());
    if let Some(nonce) = &granted.nonce {
        claims.insert("nonce".into(), nonce.as_str().into());
    }
    claims
}

fn spoil_claims(claims: &mut Map<String, Value>, fault: IdTokenFault) {
    let second = |claims: &Map<String, Value>, name: &str| {
        claims.get(name).and_then(Value::as_u64).unwrap_or_default()
    };
    let iat = second(claims, "iat");
    let auth_time = second(claims, "auth_time");
    let client = claims.get("aud").cloned().unwrap_or_default();
    let (name, value) = match fault {
        IdTokenFault::WrongIss => ("iss", json!("http://wrong-issuer.example")),
        IdTokenFault::MissingIss => ("iss", Value::Null),
        IdTokenFault::WrongAud => ("aud", json!("stranger")),
        IdTokenFault::MissingAud => ("aud", Value::Null),
        IdTokenFault::ExtraAud | IdTokenFault::WrongAzp => ("aud", json!([client, "stranger"])),
        IdTokenFault::AudAsArray => ("aud", json!([client])),
        IdTokenFault::MissingSub => ("sub", Value::Null),
        IdTokenFault::OtherSub => ("sub", json!("mallory")),
        IdTokenFault::MissingIat => ("iat", Value::Null),
        IdTokenFault::FutureIat => ("iat", json!(iat + HOUR)),
        IdTokenFault::MissingExp => ("exp", Value::Null),
        IdTokenFault::Expired => ("exp", json!(iat.saturating_sub(HOUR))),
        IdTokenFault::FutureNbf => ("nbf", json!(iat + HOUR)),
        IdTokenFault::WrongNonce => ("nonce", json!("another-nonce")),
        IdTokenFault::MissingNonce => ("nonce", Value::Null),
        IdTokenFault::WrongAtHash => ("at_hash", json!(half_sha256("another access token"))),
        IdTokenFault::OtherAuthTime => ("auth_time", json!(auth_time + 600)),
        IdTokenFault::AlgNone
        | IdTokenFault::BadSignature
        | IdTokenFault::Hs256ClientSecret
        | IdTokenFault::Hs256PublicKey
        | IdTokenFault::UnknownKid
        | IdTokenFault::AbsentKid
        | IdTokenFault::UnknownCrit
        | IdTokenFault::TypLogout
        | IdTokenFault::TypAccessToken
        | IdTokenFault::DuplicateMember
        | IdTokenFault::KeysRotated => return,
    };
    if value.is_null() {
        claims.remove(name);
    } else {
        claims.insert(name.into(), value);
    }
    if fault == IdTokenFault::WrongAzp {
        claims.insert("azp".into(), "stranger".into());
    }
}

fn spoil_header(header: &mut Map<String, Value>, fault: IdTokenFault) {
    if fault == IdTokenFault::AbsentKid {
        header.remove("kid");
    }
    if fault == IdTokenFault::UnknownCrit {
        header.insert("crit".into(), json!(["unheard-of"]));
    }
    let changes = [
        (IdTokenFault::AlgNone, "alg", "none"),
        (IdTokenFault::Hs256ClientSecret, "alg", "HS256"),
        (IdTokenFault::Hs256PublicKey, "alg", "HS256"),
        (IdTokenFault::UnknownKid, "kid", "nobody-knows-this-key"),
        (IdTokenFault::UnknownCrit, "unheard-of", "yes"),
        (IdTokenFault::TypLogout, "typ", "logout+jwt"),
        (IdTokenFault::TypAccessToken, "typ", "at+jwt"),
    ];
    for (_, name, value) in changes.into_iter().filter(|(of, ..)| *of == fault) {
        header.insert(name.into(), value.into());
    }
}

fn signed(key: &SigningKey, header: &Map<String, Value>, payload: &str, facts: IdTokenFacts<'_>) -> String {
    if facts.fault == Some(IdTokenFault::AlgNone) {
        return unsigned(header, payload);
    }
    if facts.fault == Some(IdTokenFault::BadSignature) {
        return key.sign_badly(header, payload);
    }
    if facts.fault == Some(IdTokenFault::Hs256ClientSecret) {
        return sign_hs256(facts.client_secret.as_bytes(), header, payload);
    }
    if facts.fault == Some(IdTokenFault::Hs256PublicKey) {
        return sign_hs256(key.public_der(), header, payload);
    }
    key.sign(header, payload)
}

const HOUR: u64 = 3600;

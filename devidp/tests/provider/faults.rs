//! Each switch does what it says, and nothing once it is off.

use std::time::Duration;

use base64_simd::URL_SAFE_NO_PAD;
use devidp::{CallbackFault, DiscoveryFault, IdTokenFault, JwksFault, PlainFault, TokenFault, UserinfoFault};
use serde_json::{Value, json};

use crate::client::{VERIFIER, started};

#[tokio::test]
async fn faults_that_spend_nothing_leave_the_refresh_token_good() {
    let (provider, browser) = started().await;
    let token = browser.signed_in("alice").await.text("refresh_token").to_owned();
    let switch = &provider.faults().token.refresh;
    switch.for_next(1, TokenFault::Status(503));
    switch.for_next(1, TokenFault::Busy(429, Duration::from_secs(7)));
    switch.for_next(1, TokenFault::Refused("invalid_client"));
    switch.for_next(1, TokenFault::Refused("temporarily_unavailable"));
    switch.for_next(1, TokenFault::Reset);
    assert_eq!(browser.refresh(&token).await.status, 503);
    let busy = browser.refresh(&token).await;
    assert_eq!((busy.status, busy.header("retry-after")), (429, "7"));
    assert_eq!(browser.refresh(&token).await.status, 401);
    assert_eq!(browser.refresh(&token).await.text("error"), "temporarily_unavailable");
    assert!(browser.try_refresh(&token).await.is_err());
    assert!(!switch.is_armed());
    assert_eq!(browser.refresh(&token).await.status, 200);
    assert_eq!((provider.seen().arrivals(&token), provider.seen().presentations(&token)), (6, 1));
}

#[tokio::test]
async fn a_hanging_token_endpoint_never_answers() {
    let (provider, browser) = started().await;
    let token = browser.signed_in("alice").await.text("refresh_token").to_owned();
    for (fault, refreshes) in [(TokenFault::Hang, 0), (TokenFault::HangAfterRotation, 1)] {
        provider.faults().token.refresh.for_next(1, fault);
        let before = provider.seen().counts().token_refresh;
        tokio::select! {
            answer = browser.try_refresh(&token) => panic!("{answer:?}"),
            _ = provider.seen().wait_for(|counts| counts.token_refresh > before && counts.refreshes == refreshes) => {}
        }
    }
    assert_ne!(provider.newest_refresh_token("alice"), Some(token));
}

#[tokio::test]
async fn spoilt_answers_are_spoilt_as_named() {
    let (provider, browser) = started().await;
    for (fault, name, value) in [
        (TokenFault::OmitIdToken, "id_token", Value::Null),
        (TokenFault::OmitAccessToken, "access_token", Value::Null),
        (TokenFault::OmitExpiresIn, "expires_in", Value::Null),
        (TokenFault::ExpiresInText, "expires_in", json!("300")),
        (TokenFault::ExpiresIn(-5), "expires_in", json!(-5)),
        (TokenFault::TokenType("mac"), "token_type", json!("mac")),
        (TokenFault::OmitRefreshToken, "refresh_token", Value::Null),
    ] {
        let token = browser.signed_in("alice").await.text("refresh_token").to_owned();
        provider.faults().token.refresh.for_next(1, fault.clone());
        let answer = browser.refresh(&token).await;
        assert_eq!((answer.status, &answer.json[name]), (200, &value), "{fault:?}");
        let spent = fault != TokenFault::OmitRefreshToken;
        assert_eq!(browser.refresh(&token).await.status, if spent { 400 } else { 200 }, "{fault:?}");
    }
}

#[tokio::test]
async fn broken_bodies_are_broken() {
    let (provider, browser) = started().await;
    let refreshed_with = async |fault: TokenFault| {
        let token = browser.signed_in("alice").await.text("refresh_token").to_owned();
        provider.faults().token.refresh.for_next(1, fault);
        browser.try_refresh(&token).await
    };
    assert!(refreshed_with(TokenFault::Truncated).await.is_err());
    assert!(refreshed_with(TokenFault::Garbage).await.unwrap().json.is_null());
    assert!(refreshed_with(TokenFault::Html).await.unwrap().header("content-type").starts_with("text/html"));
    assert_eq!(
        refreshed_with(TokenFault::WrongContentType).await.unwrap().header("content-type"),
        "text/plain"
    );
    assert!(refreshed_with(TokenFault::Oversize).await.unwrap().body.len() > 10_000_000);
    assert_eq!(refreshed_with(TokenFault::StatusAfterRotation(502)).await.unwrap().status, 502);
    assert_eq!(
        refreshed_with(TokenFault::DuplicateMember).await.unwrap().body.matches("access_token").count(),
        2
    );
}

/// Header and payload of a token, unverified.
fn parts(token: &str) -> (Value, String) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode_to_vec(part).unwrap());
    let header = serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (header, String::from_utf8(parts.next().unwrap()).unwrap())
}

#[tokio::test]
async fn id_tokens_lie_as_named() {
    let (provider, browser) = started().await;
    let mut tokens = browser.signed_in("alice").await;
    for (fault, name, value) in [
        (IdTokenFault::WrongIss, "iss", json!("http://wrong-issuer.example")),
        (IdTokenFault::MissingIss, "iss", Value::Null),
        (IdTokenFault::ExtraAud, "aud", json!(["app", "stranger"])),
        (IdTokenFault::WrongAzp, "azp", json!("stranger")),
        (IdTokenFault::MissingSub, "sub", Value::Null),
        (IdTokenFault::OtherSub, "sub", json!("mallory")),
        (IdTokenFault::MissingExp, "exp", Value::Null),
        (IdTokenFault::WrongNonce, "nonce", json!("another-nonce")),
    ] {
        provider.faults().id_token.refresh.for_next(1, fault);
        tokens = browser.refresh(tokens.text("refresh_token")).await;
        let (_, payload) = parts(tokens.text("id_token"));
        let claims: Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(claims[name], value, "{fault:?}");
    }
    for (fault, name, value) in [
        (IdTokenFault::AlgNone, "alg", json!("none")),
        (IdTokenFault::Hs256ClientSecret, "alg", json!("HS256")),
        (IdTokenFault::Hs256PublicKey, "alg", json!("HS256")),
        (IdTokenFault::UnknownKid, "kid", json!("nobody-knows-this-key")),
        (IdTokenFault::AbsentKid, "kid", Value::Null),
        (IdTokenFault::UnknownCrit, "crit", json!(["unheard-of"])),
        (IdTokenFault::TypLogout, "typ", json!("logout+jwt")),
    ] {
        provider.faults().id_token.refresh.for_next(1, fault);
        tokens = browser.refresh(tokens.text("refresh_token")).await;
        assert_eq!(parts(tokens.text("id_token")).0[name], value, "{fault:?}");
    }
    provider.faults().id_token.refresh.for_next(1, IdTokenFault::DuplicateMember);
    tokens = browser.refresh(tokens.text("refresh_token")).await;
    assert_eq!(parts(tokens.text("id_token")).1.matches("\"sub\":").count(), 2);
    let before = browser.get("/jwks").await.json;
    provider.faults().id_token.refresh.for_next(1, IdTokenFault::KeysRotated);
    tokens = browser.refresh(tokens.text("refresh_token")).await;
    let kid = parts(tokens.text("id_token")).0["kid"].clone();
    assert!(before["keys"].as_array().unwrap().iter().all(|key| key["kid"] != kid));
    assert_eq!(browser.verified(tokens.text("id_token")).await["sub"], "alice");
}

#[tokio::test]
async fn callbacks_lie_as_named() {
    let (provider, browser) = started().await;
    let all = async |fault: CallbackFault, name: &str| {
        provider.faults().callback.for_next(1, fault);
        browser.callback("alice").await.all(name)
    };
    assert_eq!(all(CallbackFault::WrongIss, "iss").await, ["http://wrong-issuer.example"]);
    assert!(all(CallbackFault::MissingIss, "iss").await.is_empty());
    assert_eq!(all(CallbackFault::WrongState, "state").await, ["another-state"]);
    assert!(all(CallbackFault::MissingState, "state").await.is_empty());
    assert!(all(CallbackFault::MissingCode, "code").await.is_empty());
    assert_eq!(all(CallbackFault::DuplicateCode, "code").await.len(), 2);
    assert_eq!(all(CallbackFault::DuplicateState, "state").await.len(), 2);
    assert_eq!(all(CallbackFault::Error("access_denied"), "error").await, ["access_denied"]);
    let wrong = all(CallbackFault::ErrorWithWrongIss("access_denied"), "iss").await;
    assert_eq!(wrong, ["http://wrong-issuer.example"]);
    assert_eq!(all(CallbackFault::TokensInFrontChannel, "access_token").await.len(), 1);
    provider.faults().clear();
    let code = browser.callback("alice").await.one("code");
    assert_eq!(browser.redeem(&code, VERIFIER).await.status, 200);
}

#[tokio::test]
async fn the_other_endpoints_fail_as_named() {
    let (provider, browser) = started().await;
    let faults = provider.faults();
    faults.jwks.for_next(1, JwksFault::Plain(PlainFault::Status(500)));
    faults.jwks.for_next(1, JwksFault::Plain(PlainFault::Redirect("http://elsewhere.test/".into())));
    faults.jwks.for_next(1, JwksFault::DuplicateKids);
    faults.jwks.for_next(1, JwksFault::NoKids);
    faults.jwks.for_next(1, JwksFault::Empty);
    assert_eq!(browser.get("/jwks").await.status, 500);
    assert_eq!(browser.get("/jwks").await.header("location"), "http://elsewhere.test/");
    let twice = browser.get("/jwks").await.json;
    assert_eq!(twice["keys"][0]["kid"], twice["keys"][1]["kid"]);
    assert_ne!(twice["keys"][0]["x"], twice["keys"][1]["x"]);
    assert!(browser.get("/jwks").await.json["keys"][0].get("kid").is_none());
    assert_eq!(browser.get("/jwks").await.json, json!({ "keys": [] }));

    let path = "/.well-known/openid-configuration";
    faults.discovery.for_next(1, DiscoveryFault::WrongIssuer);
    faults.discovery.for_next(1, DiscoveryFault::MissingEndpoints);
    faults.discovery.for_next(1, DiscoveryFault::Plain(PlainFault::Garbage));
    assert_ne!(browser.get(path).await.json["issuer"], provider.issuer());
    assert!(browser.get(path).await.json.get("token_endpoint").is_none());
    assert!(browser.get(path).await.json.is_null());
    assert_eq!(browser.get(path).await.status, 200);

    faults.revocation.for_next(1, PlainFault::Status(503));
    assert_eq!(browser.form_as_client("/revoke", &[("token", "x")]).await.status, 503);
    let tokens = browser.signed_in("alice").await;
    faults.userinfo.for_next(1, UserinfoFault::OtherSub);
    assert_eq!(browser.userinfo(tokens.text("access_token")).await.json["sub"], "mallory");
}

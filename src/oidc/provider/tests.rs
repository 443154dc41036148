//! Keys over time, revocation, logout.

use serde_json::{Value, json};

use super::*;
use crate::base::http_client::{NoAnswer, NotSent, TransportError};
use crate::jwt::forge::{Forge, P256};
use crate::oidc::oauth_error::OAuthError;
use crate::oidc::script::{NOW, Reply, World, answer, claims, id_token, metadata, secret, settings};

const METADATA: &str = "/realm/.well-known/openid-configuration";

/// Verifies a login whose claims hold at any time of a test.
async fn login(world: &World, key: &Forge, header: Value) -> Result<(), IdTokenError> {
    let mut claims = claims();
    let now = world.clock.now().as_secs();
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 300);
    let answer = answer(Some(key.token("ES256", header, &claims)));
    world.provider.verify_login(&answer, "n").await.map(|_| ())
}

const UNKNOWN: Result<(), IdTokenError> = Err(IdTokenError::Rejected(Rejection::UnknownKey));

#[tokio::test]
async fn a_rotated_key_is_learnt_at_once_and_a_removed_one_forgotten() {
    // std:149, std:153
    let world = World::new();
    let next = Forge::p256();
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    world.script.keys(&[next.jwk(json!({"kid": "b"}))]);
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    assert_eq!(world.script.count("/jwks"), 1);
    assert_eq!(login(&world, &next, json!({"kid": "b"})).await, Ok(()));
    assert_eq!(world.script.count("/jwks"), 2);
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, UNKNOWN);
    // Without any unknown key, removal is learnt by age.
    world.script.keys(&[P256.jwk(json!({"kid": "a"}))]);
    world.advance(599);
    assert_eq!(login(&world, &next, json!({"kid": "b"})).await, Ok(()));
    world.advance(1);
    assert_eq!(login(&world, &next, json!({"kid": "b"})).await, UNKNOWN);
}

#[tokio::test]
async fn unknown_keys_cost_the_provider_one_fetch_per_half_minute() {
    // std:150
    let world = World::new();
    let stranger = Forge::p256();
    for round in 0..100 {
        assert_eq!(login(&world, &stranger, json!({"kid": format!("x{round}")})).await, UNKNOWN);
    }
    assert_eq!(world.script.count("/jwks"), 2);
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    world.advance(30);
    assert_eq!(login(&world, &stranger, json!({"kid": "y"})).await, UNKNOWN);
    assert_eq!(login(&world, &stranger, json!({"kid": "z"})).await, UNKNOWN);
    assert_eq!(world.script.count("/jwks"), 3);
}

#[tokio::test]
async fn a_token_without_key_id_finds_its_key() {
    // std:59
    let world = World::new();
    let next = Forge::p256();
    world.script.keys(&[Forge::p256().jwk(json!({})), P256.jwk(json!({"kid": "a"}))]);
    assert_eq!(login(&world, &P256, json!({})).await, Ok(()));
    // A wrong signature may be that of a key that is not known yet, but only where no key is named.
    world.script.keys(&[next.jwk(json!({}))]);
    assert_eq!(login(&world, &next, json!({"kid": "a"})).await, Err(Rejection::Signature.into()));
    assert_eq!(world.script.count("/jwks"), 1);
    assert_eq!(login(&world, &next, json!({})).await, Ok(()));
    assert_eq!(world.script.count("/jwks"), 2);
}

#[tokio::test]
async fn known_keys_outlive_an_outage_of_the_key_set() {
    // std:151
    let world = World::new();
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    world.script.reply("/jwks", Reply::text(500, ""));
    world.advance(600);
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    assert_eq!(world.script.count("/jwks"), 2);
    // An unknown key proves nothing while the set cannot be fetched.
    let unavailable = Err(IdTokenError::KeysUnavailable);
    assert_eq!(login(&world, &P256, json!({"kid": "b"})).await, unavailable);
    world.advance(1);
    assert_eq!(login(&world, &P256, json!({"kid": "b"})).await, unavailable);
    assert_eq!(world.script.count("/jwks"), 3);
    // It is over as soon as it is over.
    world.script.keys(&[P256.jwk(json!({"kid": "b"}))]);
    world.advance(1);
    assert_eq!(login(&world, &P256, json!({"kid": "b"})).await, Ok(()));
    // And known keys do not serve for ever.
    world.script.reply("/jwks", Reply::text(500, ""));
    world.advance(24 * 3600);
    assert_eq!(login(&world, &P256, json!({"kid": "b"})).await, unavailable);
}

#[tokio::test]
async fn without_keys_a_good_token_is_told_from_a_bad_one() {
    let bad = [
        Reply::text(500, ""),
        Reply::text(200, "<html>"),
        Reply::text(302, "").header("location", "https://evil.example/jwks"),
        Reply(Err(TransportError::no_answer(NoAnswer::Deadline))),
    ];
    for reply in bad {
        let world = World::new();
        world.script.reply("/jwks", reply);
        let outcome = login(&world, &P256, json!({"kid": "a"})).await;
        assert_eq!(outcome, Err(IdTokenError::KeysUnavailable));
        // A token that breaks a rule about claims is rejected without asking.
        let mut wrong = claims();
        wrong["aud"] = json!("other");
        let outcome = world.provider.verify_login(&answer(Some(id_token(&wrong))), "n").await;
        assert_eq!(outcome.unwrap_err(), IdTokenError::Rejected(Rejection::Audience));
        assert_eq!(world.script.count("/jwks"), 1);
        world.script.keys(&[P256.jwk(json!({"kid": "a"}))]);
        assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Err(IdTokenError::KeysUnavailable));
        world.advance(1);
        assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Ok(()));
    }
    let world = World::new();
    world.script.reply(METADATA, Reply::text(500, ""));
    assert_eq!(login(&world, &P256, json!({"kid": "a"})).await, Err(IdTokenError::KeysUnavailable));
    assert_eq!(world.script.count("/jwks"), 0);
}

#[tokio::test]
async fn many_logins_fetch_the_keys_once_even_if_the_first_leaves() {
    let world = World::new();
    world.provider.metadata().await.unwrap();
    let shut = world.script.gate.write().await;
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut call = Box::pin(login(&world, &P256, json!({"kid": "a"})));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context)));
        assert!(polled.await.is_pending());
        calls.push(call);
    }
    let rest: Vec<_> = calls.into_iter().skip(1).collect();
    tokio::task::yield_now().await;
    drop(shut);
    for call in rest {
        assert_eq!(call.await, Ok(()));
    }
    assert_eq!(world.script.count("/jwks"), 1);
}

#[tokio::test]
async fn revocation_is_done_or_to_be_retried_or_refused() {
    // std:155
    let refused = |code: &str| Err(RevokeError::Refused(OAuthError::from_code(code)));
    let cases = [
        (Reply::text(200, ""), Ok(())),
        (Reply::text(200, "<html>"), Ok(())),
        (Reply::text(503, ""), Err(RevokeError::Retry)),
        (Reply::text(500, ""), Err(RevokeError::Retry)),
        (Reply::text(429, ""), Err(RevokeError::Retry)),
        (Reply(Err(TransportError::not_sent(NotSent::Connect))), Err(RevokeError::Retry)),
        (Reply(Err(TransportError::no_answer(NoAnswer::Broken))), Err(RevokeError::Retry)),
        (Reply::json(400, &json!({"error": "unsupported_token_type"})), refused("unsupported_token_type")),
        (Reply::json(401, &json!({"error": "invalid_client"})), refused("invalid_client")),
        (Reply::text(404, "<html>"), refused("")),
    ];
    for (reply, expected) in cases {
        let world = World::new();
        world.script.reply("/revoke", reply);
        assert_eq!(world.provider.revoke(&secret("rt"), TokenKind::Refresh).await, expected);
        let asked = world.script.asked.lock().unwrap();
        let revoke = asked.last().unwrap();
        assert_eq!(
            (revoke.field("token"), revoke.field("token_type_hint")),
            (Some("rt"), Some("refresh_token"))
        );
        assert!(revoke.authorization.is_some());
    }
    let world = World::new();
    let mut document = metadata();
    document["revocation_endpoint"] = json!(null);
    document["end_session_endpoint"] = json!(null);
    world.script.reply(METADATA, Reply::json(200, &document));
    assert_eq!(world.provider.revoke(&secret("rt"), TokenKind::Access).await, Err(RevokeError::NotOffered));
    assert_eq!(world.provider.end_session_url(None, None, "s").await, None);
    let world = World::new();
    world.script.reply(METADATA, Reply::text(500, ""));
    assert_eq!(world.provider.revoke(&secret("rt"), TokenKind::Access).await, Err(RevokeError::Retry));
}

#[tokio::test]
async fn the_logout_url_names_the_user_or_the_client() {
    // std:156
    let world = World::new();
    let target = "post_logout_redirect_uri=https%3A%2F%2Fapp.example.com%2Fbye&state=s+1";
    let hint = secret("x.y.z");
    let with = world.provider.end_session_url(Some(&hint), None, "s 1").await.unwrap();
    assert_eq!(with.as_str(), format!("https://id.example.com/logout?x=1&id_token_hint=x.y.z&{target}"));
    let without = world.provider.end_session_url(None, Some("alice"), "s 1").await.unwrap();
    let expected = format!("https://id.example.com/logout?x=1&client_id=bearward&logout_hint=alice&{target}");
    assert_eq!(without.as_str(), expected);
    let mut settings = settings();
    settings.post_logout_redirect_uri = None;
    let plain = World::with(settings).provider.end_session_url(None, None, "s").await.unwrap();
    assert_eq!(plain.as_str(), "https://id.example.com/logout?x=1&client_id=bearward");
}

#[tokio::test]
async fn the_provider_is_shared_between_threads() {
    fn shareable<T: Send + Sync>(_: &T) {}
    let world = World::new();
    shareable(&world.provider);
    assert_eq!(world.clock.now(), Timestamp::from_secs(NOW));
}

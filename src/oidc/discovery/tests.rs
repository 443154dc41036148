//! Documents good and bad, and how often they are fetched.

use std::sync::Arc;
use std::task::Poll;

use serde_json::json;

use super::*;
use crate::base::http_client::{NoAnswer, NotSent};
use crate::base::time::Timestamp;
use crate::oidc::ProviderStatus;
use crate::oidc::script::{ISSUER, NOW, Reply, World, metadata};

const PATH: &str = "/realm/.well-known/openid-configuration";

#[test]
fn the_address_follows_from_the_issuer() {
    // std:1
    let cases = [
        ("https://a.example", Some("https://a.example/.well-known/openid-configuration")),
        ("https://a.example/", Some("https://a.example/.well-known/openid-configuration")),
        ("https://a.example:8443/x/y", Some("https://a.example:8443/x/y/.well-known/openid-configuration")),
        ("http://127.0.0.1:9000", Some("http://127.0.0.1:9000/.well-known/openid-configuration")),
        ("http://[::1]:9000/", Some("http://[::1]:9000/.well-known/openid-configuration")),
        ("http://localhost/", Some("http://localhost/.well-known/openid-configuration")),
        ("http://a.example", None),
        ("http://localhost.example", None),
        ("https://user:pw@a.example", None),
        ("https://a.example/?x=1", None),
        ("https://a.example/#x", None),
        ("ftp://a.example", None),
        ("a.example", None),
        ("", None),
    ];
    for (issuer, expected) in cases {
        assert_eq!(address(issuer).ok().as_ref().map(Url::as_str), expected, "{issuer}");
    }
}

#[tokio::test]
async fn a_good_document_is_used_as_it_is() {
    let world = World::new();
    assert_eq!(world.provider.status(), ProviderStatus::Unknown);
    let found = world.provider.metadata().await.unwrap();
    assert_eq!(found.issuer, ISSUER);
    assert_eq!(found.token_endpoint.as_str(), "https://id.example.com/token");
    assert_eq!(found.userinfo_endpoint, None);
    assert!(found.supports_pkce && !found.sends_callback_issuer);
    assert_eq!(world.provider.status(), ProviderStatus::Ready);
    assert_eq!(world.script.asked.lock().unwrap()[0].method, "GET");
}

#[tokio::test]
async fn nothing_of_a_bad_document_is_used() {
    // std:1, std:2, std:3, std:7
    let with = |name: &str, value: Value| {
        let mut document = metadata();
        document[name] = value;
        Reply::json(200, &document)
    };
    let cases = [
        (with("issuer", json!("https://id.example.com/realm/")), "issuer_mismatch"),
        (with("issuer", json!("https://ID.example.com/realm")), "issuer_mismatch"),
        (with("issuer", json!("https://id.example.com:443/realm")), "issuer_mismatch"),
        (with("issuer", json!(null)), "missing_member"),
        (with("token_endpoint", json!(null)), "missing_member"),
        (with("jwks_uri", json!(7)), "missing_member"),
        (with("authorization_endpoint", json!("/authorize")), "bad_endpoint"),
        (with("token_endpoint", json!("http://id.example.com/token")), "bad_endpoint"),
        (with("revocation_endpoint", json!("http://id.example.com/revoke")), "bad_endpoint"),
        (with("end_session_endpoint", json!("javascript:alert(1)")), "bad_endpoint"),
        (with("jwks_uri", json!("file:///etc/passwd")), "bad_endpoint"),
        (with("authorization_response_iss_parameter_supported", json!("true")), "missing_member"),
        (Reply::text(200, "<html>"), "not_json"),
        (Reply::text(200, "[]"), "not_json"),
        (Reply::json(200, &metadata()).header("content-type", "text/html"), "not_json"),
        (Reply::json(301, &metadata()).header("location", "https://id.example.com/x"), "bad_status"),
        (Reply::json(500, &metadata()), "bad_status"),
        (Reply(Err(TransportError::not_sent(NotSent::Connect))), "connect_failed"),
        (Reply(Err(TransportError::no_answer(NoAnswer::TooLarge))), "body_too_large"),
    ];
    for (reply, expected) in cases {
        let world = World::new();
        world.script.reply(PATH, reply);
        assert_eq!(world.provider.metadata().await.unwrap_err().label(), expected);
        let since = Timestamp::from_secs(NOW);
        assert_eq!(world.provider.status(), ProviderStatus::Failing { why: expected, since });
        assert_eq!(world.script.asked.lock().unwrap().len(), 1);
    }
    let charset = Reply::json(200, &metadata()).header("content-type", "Application/JSON; charset=utf-8");
    let world = World::new();
    world.script.reply(PATH, charset);
    assert!(world.provider.metadata().await.is_ok());
}

#[tokio::test]
async fn a_failure_is_remembered_for_a_second_and_then_forgotten() {
    let world = World::new();
    world.script.reply(PATH, Reply::text(503, ""));
    for _ in 0..10 {
        assert_eq!(world.provider.metadata().await.unwrap_err().label(), "bad_status");
    }
    assert_eq!(world.script.count(PATH), 1);
    world.advance(1);
    world.provider.metadata().await.unwrap_err();
    assert_eq!(world.script.count(PATH), 2);
    let since = Timestamp::from_secs(NOW);
    assert_eq!(world.provider.status(), ProviderStatus::Failing { why: "bad_status", since });
    world.script.reply(PATH, Reply::json(200, &metadata()));
    world.advance(1);
    assert!(world.provider.metadata().await.is_ok());
}

#[tokio::test]
async fn the_last_good_document_outlives_failures_and_impostors() {
    // std:8
    let world = World::new();
    let first = world.provider.metadata().await.unwrap();
    let mut other = metadata();
    other["issuer"] = json!("https://evil.example");
    for (round, bad) in [Reply::json(200, &other), Reply::text(500, "")].into_iter().enumerate() {
        world.script.reply(PATH, bad);
        world.advance(3600);
        assert_eq!(world.provider.metadata().await.unwrap(), first);
        settle(&world, round + 2).await;
        // Not again within the pause.
        assert_eq!(world.provider.metadata().await.unwrap(), first);
        tokio::task::yield_now().await;
        assert_eq!(world.script.count(PATH), round + 2);
        assert_eq!(world.provider.status(), ProviderStatus::Ready);
    }
    let mut moved = metadata();
    moved["token_endpoint"] = json!("https://id.example.com/token2");
    world.script.reply(PATH, Reply::json(200, &moved));
    world.advance(60);
    assert_eq!(world.provider.metadata().await.unwrap(), first);
    settle(&world, 4).await;
    assert_eq!(world.provider.metadata().await.unwrap().token_endpoint.path(), "/token2");
}

/// Waits until the request behind the scenes was made and its answer taken.
async fn settle(world: &World, requests: usize) {
    while world.script.count(PATH) < requests {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_callers_make_one_request_even_if_the_first_leaves() {
    let world = World::new();
    let shut = world.script.gate.write().await;
    let mut callers = Vec::new();
    for _ in 0..50 {
        let provider = Arc::clone(&world.provider);
        let mut call = Box::pin(async move { provider.metadata().await });
        assert!(std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await.is_pending());
        callers.push(call);
    }
    // The caller whose attempt is under way goes away.
    let rest: Vec<_> = callers.into_iter().skip(1).collect();
    tokio::task::yield_now().await;
    drop(shut);
    for caller in rest {
        assert!(caller.await.is_ok());
    }
    assert_eq!(world.script.count(PATH), 1);
}

//! What is sent, and what each answer means.

use serde_json::{Value, json};

use super::*;
use crate::base::http_client::{NoAnswer, NotSent};
use crate::jwt::forge::P256;
use crate::oidc::script::{NOW, Reply, World, secret, settings};
use crate::oidc::settings::ClientAuth;

/// The outcome of a refresh in short: variant, code or check, and a refresh token that came along.
async fn refresh(reply: Reply) -> String {
    let world = World::new();
    world.script.reply("/token", reply);
    let outcome = world.provider.refresh(&secret("rt1")).await;
    assert_eq!(world.script.count("/token"), 1, "never repeated");
    match outcome {
        Ok(answer) => {
            let life = answer.access_expires_at.since(answer.sent_at);
            format!("ok {}", life.as_secs())
        }
        Err(TokenError::Busy { retry_after }) => {
            format!("busy {:?}", retry_after.map(|delay| delay.as_secs()))
        }
        Err(TokenError::Refused(error)) => format!("refused {}", error.code()),
        Err(TokenError::BadAnswer { what, rotated }) => {
            format!("bad {what} {:?}", rotated.as_ref().map(|token| token.expose().as_str()))
        }
        Err(other) => other.label().to_owned(),
    }
}

fn good(more: Value) -> Reply {
    let mut body =
        json!({"access_token": "at", "token_type": "Bearer", "expires_in": 300, "refresh_token": "rt2"});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    Reply::json(200, &body)
}

#[tokio::test]
async fn failures_are_sorted_by_what_may_be_done_next() {
    // std:43, std:77
    let error = |status, code: &str| Reply::json(status, &json!({"error": code, "error_description": "<b>"}));
    let cases = [
        (error(400, "invalid_grant"), "refused invalid_grant"),
        (error(401, "invalid_client"), "refused invalid_client"),
        (error(400, "invalid_client"), "refused invalid_client"),
        (error(403, "unauthorized_client"), "refused unauthorized_client"),
        (error(400, "temporarily_unavailable"), "refused temporarily_unavailable"),
        (error(400, "interaction_required"), "refused interaction_required"),
        (error(400, "made_up"), "refused made_up"),
        (error(400, "a b\r\n"), "refused malformed"),
        (error(200, "invalid_grant"), "refused invalid_grant"),
        (error(500, "invalid_grant"), "busy None"),
        (error(503, "temporarily_unavailable"), "busy None"),
        (error(429, "invalid_grant").header("retry-after", "7"), "busy Some(7)"),
        (Reply::text(502, "<html>"), "busy None"),
        (Reply::text(503, "").header("retry-after", "2"), "busy Some(2)"),
        (Reply::text(404, "<html>"), "busy None"),
        (Reply::text(400, "invalid_grant"), "busy None"),
        (Reply::json(400, &json!({"error": 7})), "busy None"),
        (
            Reply::json(400, &json!({"error": null, "access_token": "at", "token_type": "bearer"})),
            "busy None",
        ),
        (Reply::json(400, &json!(["error"])), "busy None"),
        // std:7
        (Reply::text(307, "").header("location", "https://evil.example/"), "busy None"),
        (Reply(Err(TransportError::not_sent(NotSent::Connect))), "not_sent"),
        (Reply(Err(TransportError::no_answer(NoAnswer::Deadline))), "no_answer"),
        (Reply(Err(TransportError::no_answer(NoAnswer::TooLarge))), "no_answer"),
        (Reply::text(200, "<html>"), "bad not a JSON object None"),
        (Reply::text(200, ""), "bad not a JSON object None"),
    ];
    for (reply, expected) in cases {
        assert_eq!(refresh(reply).await, expected);
    }
}

#[tokio::test]
async fn an_unusable_success_keeps_the_refresh_token_that_came() {
    // std:40, std:42
    let long = "a".repeat(16 * 1024 + 1);
    let cases = [
        (json!({"token_type": "BEARER"}), "ok 299"),
        (json!({"token_type": "mac"}), "bad token_type is not bearer Some(\"rt2\")"),
        (json!({"token_type": "DPoP"}), "bad token_type is not bearer Some(\"rt2\")"),
        (json!({"token_type": null}), "bad no token_type Some(\"rt2\")"),
        (json!({"access_token": null}), "bad no access_token Some(\"rt2\")"),
        (json!({"access_token": ""}), "bad no access_token Some(\"rt2\")"),
        (json!({"access_token": 7}), "bad access_token is not a string Some(\"rt2\")"),
        (json!({"access_token": long}), "bad access_token is longer than 16 KiB Some(\"rt2\")"),
        (json!({"access_token": "a".repeat(16 * 1024)}), "ok 299"),
        (
            json!({"access_token": "a\r\nX-Admin: 1"}),
            "bad access_token holds characters that no header can carry Some(\"rt2\")",
        ),
        (json!({"id_token": {}}), "bad id_token is not a string Some(\"rt2\")"),
        (json!({"id_token": long}), "bad id_token is longer than 16 KiB Some(\"rt2\")"),
        (json!({"refresh_token": long}), "bad refresh_token is longer than 16 KiB None"),
        (json!({"refresh_token": 7}), "bad refresh_token is not a string None"),
        (json!({"id_token": null, "scope": null, "error": null, "more": [1]}), "ok 299"),
    ];
    for (more, expected) in cases {
        assert_eq!(refresh(good(more)).await, expected);
    }
}

#[tokio::test]
async fn the_life_is_the_shortest_that_was_told_less_a_second() {
    // std:41
    let jwt = |exp: Value| P256.token("ES256", json!({}), &json!({"exp": exp}));
    let cases = [
        (json!({"expires_in": 300}), 299),
        (json!({"expires_in": "300"}), 299),
        (json!({"expires_in": 300.9}), 299),
        (json!({"expires_in": 1}), 0),
        (json!({"expires_in": 0}), 299),
        (json!({"expires_in": -5}), 299),
        (json!({"expires_in": null}), 299),
        (json!({"expires_in": "soon"}), 299),
        (json!({"expires_in": "NaN"}), 299),
        (json!({"expires_in": 1e300}), 365 * 86400 - 1),
        (json!({"expires_in": "inf"}), 365 * 86400 - 1),
        (json!({"expires_in": null, "access_token": jwt(json!(NOW + 60))}), 59),
        (json!({"expires_in": 600, "access_token": jwt(json!(NOW + 60))}), 59),
        (json!({"expires_in": 30, "access_token": jwt(json!(NOW + 60))}), 29),
        (json!({"expires_in": null, "access_token": jwt(json!(i64::MAX))}), 365 * 86400 - 1),
        (json!({"expires_in": null, "access_token": jwt(json!("x"))}), 299),
        (json!({"expires_in": 300, "access_token": jwt(json!(NOW - 60))}), 0),
    ];
    for (more, expected) in cases {
        assert_eq!(refresh(good(more.clone())).await, format!("ok {expected}"), "{more}");
    }
}

#[tokio::test]
async fn what_else_was_granted_is_passed_on() {
    // std:66, std:81
    let world = World::new();
    world.script.reply(
        "/token",
        good(json!({
            "refresh_token": null, "id_token": "x.y.z", "scope": "openid",
            "refresh_expires_in": 0, "refresh_token_timeout": 1800, "authorization_expires_in": "900",
        })),
    );
    let answer = world.provider.refresh(&secret("rt1")).await.unwrap();
    assert!(answer.refresh_token.is_none());
    assert_eq!(answer.id_token.unwrap().expose(), "x.y.z");
    assert_eq!(answer.scope.as_deref(), Some("openid"));
    assert_eq!(answer.session_expires_in, Some(Duration::from_secs(900)));
    assert_eq!(answer.sent_at, Timestamp::from_secs(NOW));
}

#[tokio::test]
async fn a_code_is_sent_with_all_that_belongs_to_it() {
    // std:34, std:38
    let mut settings = settings();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    settings.token_params = vec![pair("audience", "api"), pair("grant_type", "password")];
    settings.resources = vec!["https://a.example/".to_owned()];
    let world = World::with(settings);
    world.script.reply("/token", good(json!({})));
    world.provider.exchange_code(&secret("c o+d&e"), &secret("ver")).await.unwrap();
    let asked = world.script.asked.lock().unwrap();
    let token = asked.last().unwrap();
    let expected = [
        ("grant_type", "authorization_code"),
        ("code", "c o+d&e"),
        ("redirect_uri", "https://app.example.com/oauth2/callback"),
        ("code_verifier", "ver"),
        ("resource", "https://a.example/"),
        ("audience", "api"),
    ];
    assert_eq!(token.method, "POST");
    assert_eq!(token.form, expected.map(|(name, value)| pair(name, value)));
    assert!(token.authorization.as_ref().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn a_refresh_authenticates_as_the_login_did_and_widens_nothing() {
    // std:69
    let mut settings = settings();
    settings.client_auth = ClientAuth::Post(secret("s&cret"));
    let world = World::with(settings);
    world.script.reply("/token", good(json!({})));
    world.provider.refresh(&secret("rt1")).await.unwrap();
    let asked = world.script.asked.lock().unwrap();
    let token = asked.last().unwrap();
    assert_eq!(token.authorization, None);
    assert_eq!(token.field("grant_type"), Some("refresh_token"));
    assert_eq!(token.field("refresh_token"), Some("rt1"));
    assert_eq!(token.field("client_id"), Some("bearward"));
    assert_eq!(token.field("client_secret"), Some("s&cret"));
    assert_eq!(token.field("scope"), None);
}

#[tokio::test]
async fn without_metadata_nothing_is_sent() {
    let world = World::new();
    world.script.reply("/realm/.well-known/openid-configuration", Reply::text(500, ""));
    let outcome = world.provider.refresh(&secret("rt1")).await;
    assert!(matches!(outcome, Err(TokenError::Unavailable(DiscoveryError::Status(500)))));
    assert_eq!(world.script.count("/token"), 0);
}

#[tokio::test]
async fn no_error_or_answer_prints_a_secret() {
    // std:180
    let world = World::new();
    world.script.reply("/token", good(json!({"access_token": "canary-at", "refresh_token": "canary-rt"})));
    let answer = world.provider.refresh(&secret("canary-old")).await;
    let texts = [
        format!("{answer:?}"),
        format!("{:?}", world.provider),
        format!("{:?}", TokenError::BadAnswer { what: "x", rotated: Some(secret("canary")) }),
    ];
    for text in texts {
        assert!(!text.contains("canary") && !text.contains("client secret"), "{text}");
    }
}

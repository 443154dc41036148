//! The provider over real sockets: what a strict one does, and what its faults do.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "test support")]

#[path = "provider/client.rs"]
mod client;
#[path = "provider/faults.rs"]
mod faults;

use std::net::SocketAddr;
use std::time::Duration;

use devidp::{
    AccessTokenFormat, ClientAuth, GrantKind, Outcome, Provider, Rotation, Settings, SigningAlgorithm,
    TokenFault,
};
use serde_json::{Map, Value, json};

use client::{VERIFIER, started, with};

#[tokio::test]
async fn a_code_becomes_tokens_that_verify() {
    for signing in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
        let (provider, browser) = with(Settings { signing, ..Settings::default() }).await;
        let callback = browser.callback("alice").await;
        assert_eq!(callback.one("state"), "a-state");
        assert_eq!(callback.one("iss"), provider.issuer());
        let answer = browser.redeem(&callback.one("code"), VERIFIER).await;
        assert_eq!(answer.status, 200, "{answer:?}");

        let claims = browser.verified(answer.text("id_token")).await;
        assert_eq!(claims["sub"], "alice");
        assert_eq!(claims["nonce"], "a-nonce");
        assert_eq!(claims["groups"], json!(["staff"]));
        assert_eq!(claims["email"], "alice@example.com");
        assert!(claims["sid"].is_string() && claims["at_hash"].is_string() && claims["auth_time"].is_u64());

        let access_token = answer.text("access_token");
        assert!(provider.access_token_is_live(access_token));
        assert_eq!(browser.userinfo(access_token).await.json["name"], "Alice Archer");
        let counts = provider.seen().counts();
        assert_eq!((counts.logins, counts.codes_redeemed, counts.token_refresh), (1, 1, 0));
        assert_eq!(provider.seen().last_authorize_parameter("nonce").as_deref(), Some("a-nonce"));
    }
}

#[tokio::test]
async fn only_loopback_is_bound() {
    let outside = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(Provider::start(Settings { address: outside, ..Settings::default() }).await.is_err());
    let named = Settings { host: Some("id.example.com".into()), ..Settings::default() };
    assert!(Provider::start(named).await.is_err());
    let local = Settings { host: Some("localhost".into()), ..Settings::default() };
    assert!(Provider::start(local).await.unwrap().issuer().starts_with("http://localhost:"));
}

#[tokio::test]
async fn the_metadata_names_the_issuer_and_every_endpoint() {
    let (provider, browser) = started().await;
    let metadata = browser.get("/.well-known/openid-configuration").await.json;
    assert_eq!(metadata["issuer"], provider.issuer());
    for endpoint in [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
        "revocation_endpoint",
        "introspection_endpoint",
        "end_session_endpoint",
    ] {
        assert!(metadata[endpoint].as_str().unwrap().starts_with(&provider.issuer()), "{endpoint}");
    }
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
}

#[tokio::test]
async fn a_wrong_verifier_spends_the_code() {
    let (_provider, browser) = started().await;
    let code = browser.callback("alice").await.one("code");
    let wrong = browser.redeem(&code, "another-verifier-another-verifier-another-verifier").await;
    assert_eq!((wrong.status, wrong.text("error")), (400, "invalid_grant"));
    assert_eq!(browser.redeem(&code, VERIFIER).await.text("error"), "invalid_grant");
}

#[tokio::test]
async fn a_replayed_code_ends_the_grant() {
    let (provider, browser) = started().await;
    let code = browser.callback("alice").await.one("code");
    let first = browser.redeem(&code, VERIFIER).await;
    assert!(provider.grant_alive("alice"));
    assert_eq!(browser.redeem(&code, VERIFIER).await.text("error"), "invalid_grant");
    assert!(!provider.grant_alive("alice"));
    assert!(!provider.access_token_is_live(first.text("access_token")));
    assert_eq!(browser.refresh(first.text("refresh_token")).await.text("error"), "invalid_grant");
    assert_eq!(provider.seen().counts().code_replays, 1);
}

#[tokio::test]
async fn the_client_authenticates_both_ways_and_only_with_its_secret() {
    let (provider, browser) = started().await;
    let first = browser.signed_in("alice").await;
    assert_eq!(provider.seen().last_client_auth(), Some(ClientAuth::Basic));
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token"))];
    let wrong =
        browser.form("/token", &[&form[..], &[("client_id", "app"), ("client_secret", "no")]].concat()).await;
    assert_eq!((wrong.status, wrong.text("error")), (401, "invalid_client"));
    assert_eq!(wrong.header("www-authenticate"), "Basic realm=\"devidp\"");
    let posted = [("client_id", "app"), ("client_secret", client::SECRET)];
    assert_eq!(browser.form("/token", &[&form[..], &posted].concat()).await.status, 200);
    assert_eq!(provider.seen().last_client_auth(), Some(ClientAuth::Post));
}

#[tokio::test]
async fn a_refresh_rotates_and_reuse_ends_the_grant() {
    let (provider, browser) = started().await;
    let first = browser.signed_in("alice").await;
    let second = browser.refresh(first.text("refresh_token")).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.text("refresh_token"), first.text("refresh_token"));
    assert_eq!(provider.newest_refresh_token("alice").as_deref(), Some(second.text("refresh_token")));
    let claims = browser.verified(second.text("id_token")).await;
    assert!(claims.get("nonce").is_none());

    assert_eq!(browser.refresh(first.text("refresh_token")).await.text("error"), "invalid_grant");
    assert!(!provider.grant_alive("alice"));
    assert!(!provider.access_token_is_live(second.text("access_token")));
    assert_eq!(browser.refresh(second.text("refresh_token")).await.text("error"), "invalid_grant");
    let counts = provider.seen().counts();
    assert_eq!((counts.refreshes, counts.reuses), (1, 1));
    assert_eq!(provider.seen().max_presentations_of_one_refresh_token(), 2);
    let outcomes: Vec<_> =
        provider.seen().token_requests().iter().map(|seen| (seen.kind, seen.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            (GrantKind::Code, Outcome::Granted),
            (GrantKind::Refresh, Outcome::Granted),
            (GrantKind::Refresh, Outcome::Reused),
            (GrantKind::Refresh, Outcome::Refused("invalid_grant")),
        ]
    );
}

#[tokio::test]
async fn two_presentations_at_once_are_always_detected() {
    let delay = Duration::from_millis(20)..=Duration::from_millis(40);
    let (provider, browser) = with(Settings { token_delay: delay, ..Settings::default() }).await;
    let first = browser.signed_in("alice").await;
    let token = first.text("refresh_token");
    let (left, right) = tokio::join!(browser.refresh(token), browser.refresh(token));
    let mut statuses = [left.status, right.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert!(!provider.grant_alive("alice"));
    assert_eq!(provider.seen().counts().reuses, 1);
}

#[tokio::test]
async fn a_spent_token_is_accepted_again_within_the_overlap() {
    let rotation = Rotation::Overlap(Duration::from_secs(30));
    let (provider, browser) = with(Settings { rotation, ..Settings::default() }).await;
    let first = browser.signed_in("alice").await;
    let token = first.text("refresh_token");
    let (left, right) = (browser.refresh(token).await, browser.refresh(token).await);
    assert_eq!((left.status, right.status), (200, 200));
    assert_ne!(left.text("refresh_token"), right.text("refresh_token"));
    provider.advance_clock(Duration::from_secs(31));
    assert_eq!(browser.refresh(token).await.status, 400);
    assert!(!provider.grant_alive("alice"));
}

#[tokio::test]
async fn without_rotation_the_token_stays() {
    let (_provider, browser) = with(Settings { rotation: Rotation::Off, ..Settings::default() }).await;
    let first = browser.signed_in("alice").await;
    for _ in 0..3 {
        let next = browser.refresh(first.text("refresh_token")).await;
        assert_eq!(next.text("refresh_token"), first.text("refresh_token"));
    }
}

#[tokio::test]
async fn a_lost_answer_did_rotate() {
    let (provider, browser) = started().await;
    let first = browser.signed_in("alice").await;
    provider.faults().token.refresh.for_next(1, TokenFault::AnswerLost);
    assert!(browser.try_refresh(first.text("refresh_token")).await.is_err());
    assert_eq!(provider.seen().counts().refreshes, 1);
    let kept = provider.newest_refresh_token("alice").unwrap();
    assert_ne!(kept, first.text("refresh_token"));
    assert_eq!(browser.refresh(&kept).await.status, 200);
    assert_eq!(browser.refresh(first.text("refresh_token")).await.status, 400);
}

#[tokio::test]
async fn it_goes_down_and_comes_up_on_the_same_port() {
    let (provider, browser) = started().await;
    let first = browser.signed_in("alice").await;
    for _ in 0..3 {
        provider.stop_listening().await;
        let refused = tokio::net::TcpStream::connect(provider.address()).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        provider.resume_listening().await.unwrap();
        provider.resume_listening().await.unwrap();
        assert_eq!(browser.get("/jwks").await.status, 200);
    }
    assert_eq!(browser.refresh(first.text("refresh_token")).await.status, 200);
    let address = provider.address();
    provider.stop().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_second_login_is_silent_unless_a_prompt_is_asked_for() {
    let (_provider, mut browser) = started().await;
    let page = browser.authorize(&[]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("id=\"user-alice\"") && page.body.contains("id=\"user-carol\""));
    let refused = browser.authorize(&[("prompt", "none")]).await.callback();
    assert_eq!(refused.one("error"), "login_required");

    let clicked = browser.click("bob").await;
    assert!(!clicked.callback().one("code").is_empty());
    browser.keep_cookie(&clicked);
    assert!(!browser.authorize(&[("prompt", "none")]).await.callback().one("code").is_empty());
    assert_eq!(browser.authorize(&[("prompt", "login")]).await.status, 200);

    let logout =
        browser.get("/end-session?client_id=app&post_logout_redirect_uri=http://app.test/bye&state=s").await;
    assert_eq!((logout.status, logout.header("location")), (302, "http://app.test/bye?state=s"));
    assert_eq!(browser.authorize(&[]).await.status, 200);
    let elsewhere =
        browser.get("/end-session?client_id=app&post_logout_redirect_uri=http://evil.test/").await;
    assert_eq!(elsewhere.status, 400);
}

#[tokio::test]
async fn a_wrong_authorization_request_is_refused() {
    let (_provider, browser) = started().await;
    for (name, value) in [("client_id", "nobody"), ("redirect_uri", "http://app.test/callback2")] {
        assert_eq!(browser.authorize(&[(name, value)]).await.status, 400, "{name}");
    }
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("request", "x", "request_not_supported"),
    ] {
        let back = browser.authorize(&[(name, value)]).await.callback();
        assert_eq!((back.one("error").as_str(), back.one("state").as_str()), (error, "a-state"), "{name}");
    }
    assert_eq!(browser.authorize(&[]).await.status, 200);
}

#[tokio::test]
async fn without_offline_access_there_is_no_refresh_token() {
    let (provider, browser) = started().await;
    let back = browser.authorize(&[("scope", "openid"), ("login_hint", "alice")]).await.callback();
    assert!(browser.redeem(&back.one("code"), VERIFIER).await.json.get("refresh_token").is_none());
    let mut online = client::app();
    online.allow_offline = false;
    provider.register(online);
    let answer = browser.signed_in("alice").await;
    assert!(answer.json.get("refresh_token").is_none());
    assert!(!answer.text("scope").contains("offline_access"));
}

#[tokio::test]
async fn users_change_between_refreshes() {
    let (provider, browser) = started().await;
    let first = browser.signed_in("alice").await;
    assert!(provider.update_user("alice", |user| {
        user.groups.push("admins".into());
        user.claims.insert("tenant".into(), "t1".into());
    }));
    let second = browser.refresh(first.text("refresh_token")).await;
    let claims = browser.verified(second.text("id_token")).await;
    assert_eq!((&claims["groups"], &claims["tenant"]), (&json!(["staff", "admins"]), &json!("t1")));
    provider.disable_user("alice");
    assert_eq!(browser.refresh(second.text("refresh_token")).await.text("error"), "invalid_grant");
    assert!(!provider.grant_alive("alice"));
}

#[tokio::test]
async fn revocation_and_introspection_agree() {
    let format = AccessTokenFormat::Opaque;
    let (provider, browser) = with(Settings { access_token_format: format, ..Settings::default() }).await;
    let tokens = browser.signed_in("alice").await;
    let active = async |token: &str| browser.form_as_client("/introspect", &[("token", token)]).await.json;
    let (access, refresh) = (tokens.text("access_token"), tokens.text("refresh_token"));
    assert!(!access.contains('.'));
    let said = active(access).await;
    assert_eq!(
        (&said["active"], &said["sub"], &said["token_type"]),
        (&json!(true), &json!("alice"), &json!("Bearer"))
    );
    assert_eq!(active(refresh).await["active"], true);
    assert_eq!(browser.form_as_client("/revoke", &[("token", refresh)]).await.status, 200);
    assert_eq!(active(access).await, json!({ "active": false }));
    assert!(!provider.grant_alive("alice") && provider.seen().revoked_tokens().contains(refresh));
    assert_eq!(browser.form("/revoke", &[("token", refresh)]).await.status, 401);
    assert_eq!(browser.userinfo(access).await.status, 401);
}

#[tokio::test]
async fn tokens_age_with_the_clock() {
    let (provider, browser) = started().await;
    let tokens = browser.signed_in("alice").await;
    provider.advance_clock(Duration::from_secs(301));
    assert!(!provider.access_token_is_live(tokens.text("access_token")));
    let loose = provider.issue_access_token("bob", "cli", "orders.read", Duration::from_secs(60));
    assert_eq!(provider.access_token_subject(&loose).as_deref(), Some("bob"));
    provider.advance_clock(Duration::from_secs(24 * 3600));
    assert_eq!(browser.refresh(tokens.text("refresh_token")).await.text("error"), "invalid_grant");
}

#[tokio::test]
async fn anything_can_be_signed_and_keys_rotate() {
    let (provider, browser) = started().await;
    let old = provider.sign(&Map::new(), &json!({ "aud": "app", "exp": 9_999_999_999_u64 }));
    provider.rotate_keys().unwrap();
    assert_eq!(browser.verified(&old).await["aud"], "app");
    provider.forget_old_keys();
    assert_eq!(browser.get("/jwks").await.json["keys"].as_array().unwrap().len(), 1);
    let logout = browser.verified(&provider.logout_token("app", Some("alice"), None)).await;
    assert_eq!((&logout["sub"], logout.get("sid")), (&json!("alice"), None::<&Value>));
}

#[tokio::test]
async fn rubbish_is_answered() {
    let (_provider, browser) = started().await;
    for path in
        ["/authorize?%ff=%00&&==&client_id=%c3%28", "/end-session?id_token_hint=..", "/nowhere", "/events"]
    {
        assert!(browser.get(path).await.status < 500, "{path}");
    }
    for body in
        [&[][..], &[("grant_type", "")], &[("grant_type", "password")], &[("grant_type", "refresh_token")]]
    {
        let status = browser.form_as_client("/token", body).await.status;
        assert_eq!(status, 400, "{body:?}");
    }
    assert!(browser.userinfo("x\"y").await.status == 401);
}

//! Logging in, being forwarded, asking about oneself.

use std::time::Duration;

use http::Method;
use http::header::AUTHORIZATION;

use crate::support::api::Bearer;
use crate::support::browser::{Browser, Kind};
use crate::support::world::World;

#[tokio::test]
async fn a_login_ends_where_it_began_and_the_api_sees_a_bearer() {
    let world = World::start().await;
    let browser = world.browser();
    let reply = browser.navigate("/api/orders?page=2").await;
    assert_eq!(reply.status, 200, "the user picker: {}", reply.text());
    assert!(reply.text().contains("user-alice"));
    let reply = browser.log_in("alice", "/api/orders?page=2").await;
    assert_eq!((reply.status.as_u16(), reply.url.path()), (200, "/api/orders"));
    assert_eq!(reply.json()["sub"], "alice");
    let arrival = world.api.last();
    assert_eq!((arrival.target.as_str(), arrival.bearer), ("/api/orders?page=2", Bearer::Good));
    assert!(arrival.headers.get("cookie").is_none(), "std:94: our cookies do not go upstream");
}

#[tokio::test]
async fn the_login_asks_for_code_pkce_state_and_nonce() {
    // std:9–13
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let asked = |name: &str| world.idp.seen().last_authorize_parameter(name).unwrap_or_default();
    assert_eq!(asked("response_type"), "code");
    assert_eq!(asked("code_challenge_method"), "S256");
    assert_eq!(asked("code_challenge").len(), 43);
    assert!(asked("scope").split(' ').any(|scope| scope == "openid"));
    assert_eq!(asked("redirect_uri"), format!("{}/oauth2/callback", world.home));
    let (state, nonce) = (asked("state"), asked("nonce"));
    assert!(state.len() > 100 && nonce.len() >= 22 && nonce.len() <= 64);
    browser.log_in("alice", "/").await;
    assert_ne!((state, nonce), (asked("state"), asked("nonce")), "new for each login");
}

#[tokio::test]
async fn each_kind_of_request_gets_the_answer_it_can_use() {
    // DESIGN §7
    let world = World::start().await;
    let browser = world.browser();
    let navigation = browser.send(Method::GET, "/api/a?b=c", Kind::Navigation, &[]).await;
    assert_eq!(navigation.status, 302);
    assert_eq!(navigation.location(), "/oauth2/login?rd=%2Fapi%2Fa%3Fb%3Dc");
    assert_eq!(navigation.headers["cache-control"], "no-store");

    let fetch = browser.get("/api/a").await;
    assert_eq!(fetch.status, 401);
    assert_eq!(fetch.headers["content-type"], "application/problem+json");
    assert_eq!(fetch.json()["login_url"], "/oauth2/login");
    assert!(fetch.headers.contains_key("www-authenticate"), "std:129");

    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let reply = browser.send(method, "/api/a", Kind::Navigation, &[]).await;
        assert_eq!(reply.status, 401, "never a redirect");
    }
    let old_browser = [("sec-fetch-mode", ""), ("sec-fetch-site", ""), ("sec-fetch-dest", "")];
    let html = browser.send(Method::GET, "/api/a", Kind::Navigation, &old_browser).await;
    assert_eq!(html.status, 302, "Accept decides where Sec-Fetch-Mode is missing");
    let script = browser.send(Method::GET, "/api/a", Kind::Fetch, &old_browser).await;
    assert_eq!(script.status, 401);
    let own = browser.home().origin().ascii_serialization();
    let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), ("origin", own.as_str())];
    let socket = browser.send(Method::GET, "/api/ws", Kind::Navigation, &upgrade).await;
    assert_eq!(socket.status, 401);
    assert!(world.api.arrivals().is_empty(), "nothing of this reached the API");
}

#[tokio::test]
async fn a_page_learns_about_its_session_and_never_a_token() {
    // std:98
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let session = browser.get("/oauth2/session").await;
    assert_eq!(session.headers["cache-control"], "no-store");
    let json = session.json();
    assert_eq!(json["session"]["active"], true);
    assert_eq!(json["session"]["generation"], 1);
    assert!(json["tokens"]["expire_in_seconds"].as_u64().unwrap() > 200);
    let user = browser.get("/oauth2/userinfo").await;
    assert_eq!(user.json()["user"], "alice");
    assert_eq!(user.json()["groups"], serde_json::json!(["staff"]));
    let refresh_token = world.idp.newest_refresh_token("alice").unwrap();
    for reply in [session, user] {
        let text = reply.text();
        assert!(!text.contains(&refresh_token) && !text.contains("eyJ"), "{text}");
    }
    for path in ["/oauth2/session", "/oauth2/userinfo"] {
        assert_eq!(world.browser().get(path).await.status, 401);
    }
}

#[tokio::test]
async fn a_refresh_on_demand_rotates_now() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.pass(Duration::from_secs(10));
    let reply = browser.post("/oauth2/session/refresh").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["session"]["generation"], 2);
    assert_eq!(world.idp.seen().counts().refreshes, 1);
    let again = browser.post("/oauth2/session/refresh").await;
    assert_eq!(again.json()["session"]["generation"], 2, "not again within the cool-down");
}

#[tokio::test]
async fn changed_claims_take_effect_with_the_refresh() {
    let world = World::plan()
        .routes("  - { path: /api/*, upstream: UPSTREAM, auth: session, headers: { set: { X-Groups: \"{groups}\" } } }\n")
        .start()
        .await;
    let browser = world.signed_in_at("alice", "/api/a").await;
    assert_eq!(world.api.last().headers["x-groups"], "staff");
    world.idp.update_user("alice", |user| user.groups = vec!["staff".into(), "admins".into()]);
    browser.send(Method::GET, "/api/a", Kind::Fetch, &[("x-groups", "root"), ("x_groups", "root")]).await;
    assert_eq!(world.api.last().headers["x-groups"], "staff", "and a client cannot say so itself");
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(world.api.last().headers["x-groups"], "staff,admins");
}

#[tokio::test]
async fn a_provider_without_refresh_tokens_gives_a_session_as_long_as_its_access_token() {
    let world = World::plan().without_refresh_tokens().start().await;
    let browser = world.signed_in("alice").await;
    let session = browser.get("/oauth2/session").await.json();
    assert_eq!(session["session"]["refreshable"], false);
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("no_refresh_token")));
    assert_eq!(world.signed_in("alice").await.get("/api/a").await.status, 200);
    assert_eq!(world.api.bad_bearers(), 0);
}

#[tokio::test]
async fn a_required_refresh_token_that_does_not_come_refuses_the_login() {
    let world =
        World::plan().provider_yaml("  require_refresh_token: true").without_refresh_tokens().start().await;
    let browser = world.browser();
    let reply = browser.log_in("alice", "/").await;
    assert_eq!(reply.status, 502);
    assert!(reply.text().contains("no_refresh_token"), "{}", reply.text());
    assert!(browser.cookie("bearward").is_none());
}

#[tokio::test]
async fn five_tabs_that_log_in_at_once_all_arrive() {
    // std:15. Without any cookie each tab gets a binding of its own, and the browser keeps the last.
    let world = World::start().await;
    let browser = world.browser();
    let starts = (0..5).map(|tab| {
        let browser = browser.clone();
        async move {
            let path = format!("/oauth2/login?rd=/api/tab{tab}&login_hint=alice");
            browser.send(Method::GET, &path, Kind::Navigation, &[]).await
        }
    });
    let starts: Vec<_> = futures_util::future::join_all(starts).await;
    assert!(browser.cookie_header().len() < 60, "no pile of cookies: {}", browser.cookie_header());
    for (tab, start) in starts.into_iter().enumerate() {
        let reply = browser.follow(start).await;
        assert_eq!((reply.status.as_u16(), reply.url.path()), (200, format!("/api/tab{tab}").as_str()));
    }
}

#[tokio::test]
async fn a_new_login_has_a_new_session_and_ends_the_old_one() {
    // std:30
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let old = browser.copy();
    browser.log_in("alice", "/").await;
    let reply = old.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("session_replaced")));
    assert!(!reply.deletes("bearward"), "the browser's cookie is the new session's by now");
    assert_eq!(browser.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn extra_parameters_reach_the_provider_as_far_as_they_are_allowed() {
    // std:20
    let world = World::plan()
        .provider_yaml("  authorization_params: { audience: orders }\n  token_params: { custom: value }")
        .start()
        .await;
    let browser: Browser = world.browser();
    let path = "/oauth2/login?rd=/&login_hint=alice&ui_locales=de&scope=admin&redirect_uri=https://evil.example&state=x";
    assert_eq!(browser.navigate(path).await.status, 200);
    let asked = |name: &str| world.idp.seen().last_authorize_parameter(name);
    assert_eq!(asked("audience").as_deref(), Some("orders"));
    assert_eq!(asked("ui_locales").as_deref(), Some("de"));
    assert!(!asked("scope").unwrap().contains("admin"));
    assert_eq!(asked("redirect_uri"), Some(format!("{}/oauth2/callback", world.home)));
    let form = world.idp.seen().last_token_form().unwrap();
    assert!(form.contains(&("custom".to_owned(), "value".to_owned())));
}

#[tokio::test]
async fn large_tokens_are_split_over_cookies_and_joined_again() {
    let world = World::plan()
        .yaml("session: { keys: [{ env: KEY }], claims: [blob] }")
        .provider(|settings| {
            let blob: String =
                (0..5000_u32).map(|i| char::from(b'a' + u8::try_from(i * 7 % 26).unwrap())).collect();
            settings.users[0].claims.insert("blob".into(), blob.into());
        })
        .start()
        .await;
    let browser = world.signed_in("alice").await;
    assert!(
        browser.cookie("bearward.1").is_some(),
        "two cookies at least: {}",
        browser.cookie_header().len()
    );
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert!(world.api.last().headers.get(AUTHORIZATION).is_some());
    // The count shrinks: the surplus is deleted (std:90).
    world.idp.update_user("alice", |user| user.claims["blob"] = "short".into());
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 200);
    assert!(reply.deletes("bearward.1"));
    assert!(browser.cookie("bearward.1").is_none());
    assert_eq!(browser.get("/api/a").await.status, 200);
}

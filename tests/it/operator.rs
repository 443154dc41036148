//! Sessions that an operator ends, through the admin listener.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::support::browser::{Reply, exchange};
use crate::support::world::World;

async fn end(world: &World, wish: &str) -> Reply {
    end_with(world, wish, &[(CONTENT_TYPE, "application/json")]).await
}

async fn end_with(world: &World, wish: &str, fields: &[(HeaderName, &'static str)]) -> Reply {
    let url = world.admin_url("/sessions/end");
    let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
    let length = (http::header::CONTENT_LENGTH, HeaderValue::from(wish.len()));
    let host = (HOST, HeaderValue::from_static("localhost"));
    let headers = HeaderMap::from_iter(fields.chain([host, length]));
    exchange(&Method::POST, &url, headers, Bytes::from(wish.to_owned())).await
}

#[tokio::test]
async fn the_sessions_of_a_user_end_at_once_and_are_revoked() {
    // std:166, T33
    let world = World::start().await;
    let (alice, again, bob) =
        (world.signed_in("alice").await, world.signed_in("alice").await, world.signed_in("bob").await);
    let reply = end(&world, r#"{"subject":"alice"}"#).await;
    assert_eq!((reply.status.as_u16(), reply.json()["ended_here"].as_u64()), (200, Some(2)));
    for browser in [&alice, &again] {
        let refused = browser.get("/api/a").await;
        assert_eq!((refused.status.as_u16(), refused.json()["code"].as_str()), (401, Some("session_ended")));
    }
    assert_eq!(bob.get("/api/a").await.status, 200);
    world.provider_saw(|counts| counts.revocations == 2).await;
    // Who logs in afterwards has another session.
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(world.signed_in("alice").await.get("/api/a").await.status, 200);
    assert_eq!(end(&world, r#"{"subject":"alice"}"#).await.json()["ended_here"], 1);
    assert_eq!(end(&world, r#"{"subject":"nobody"}"#).await.json()["ended_here"], 0);
}

#[tokio::test]
async fn a_session_that_nobody_remembers_ends_when_its_cookie_appears() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let world = world.restart().await;
    assert_eq!(end(&world, r#"{"all":true}"#).await.json()["ended_here"], 0);
    let refused = browser.get("/api/a").await;
    assert_eq!((refused.status.as_u16(), refused.json()["code"].as_str()), (401, Some("session_ended")));
    // Nobody knew its token before.
    world.provider_saw(|counts| counts.revocations == 1).await;
    assert!(!world.idp.grant_alive("alice"));
}

#[tokio::test]
async fn a_page_cannot_make_a_browser_end_sessions() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let everyone = r#"{"all":true}"#;
    let simple = end_with(&world, everyone, &[(CONTENT_TYPE, "text/plain")]).await;
    assert_eq!(simple.status, 415);
    let json = (CONTENT_TYPE, "application/json");
    let foreign = end_with(&world, everyone, &[json, (ORIGIN, "https://evil.example")]).await;
    assert_eq!(foreign.status, 415);
    assert_eq!(world.admin_get("/sessions/end").await.status, 405);
    assert_eq!(end(&world, &"x".repeat(5000)).await.status, 413);
    for wrong in ["", "{}", r#"{"all":false}"#, r#"{"session":"alice"}"#] {
        let reply = end(&world, wrong).await;
        assert_eq!(reply.status, 400, "{wrong}");
        assert!(reply.text().contains("16 hex digits"), "{}", reply.text());
    }
    // Nor is it reachable where browsers are served.
    assert_eq!(browser.post("/sessions/end").await.status, 200, "the upstream's, not ours");
    assert_eq!(browser.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn the_command_ends_the_session_that_a_log_names() {
    let world = World::plan().in_a_process().start().await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let tag = || async {
        let logged = world.logged();
        let login =
            logged.lines().find(|line| line.contains("\"event\":\"login\"") && line.contains("alice"))?;
        let line: serde_json::Value = serde_json::from_str(login).unwrap();
        Some(line["session"].as_str().unwrap().to_owned())
    };
    let tag = tag().await.expect("the login is logged");
    let address = world.admin_url("/").authority().to_owned();
    let run = |arguments: &[&str]| {
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_bearward"))
            .args(["sessions", "end", "--address", &address])
            .args(arguments)
            .output();
        let output = command.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run(&["--sid", &tag]);
    assert_eq!(code, 0, "{text}");
    assert!(text.starts_with("ended; 1 of them"), "{text}");
    assert_eq!(alice.get("/api/a").await.status, 401);
    assert_eq!(bob.get("/api/a").await.status, 200);
    let (code, text) = run(&["--sid", "alice"]);
    assert!(code == 1 && text.contains("16 hex digits"), "{code} {text}");
    assert_eq!(run(&["--all"]).0, 0);
    assert_eq!(bob.get("/api/a").await.status, 401);
}

#[tokio::test]
async fn a_session_that_an_operator_ended_unseen_is_revoked_by_the_login_that_replaces_it() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let world = world.restart().await;
    assert_eq!(end(&world, r#"{"subject":"alice"}"#).await.json()["ended_here"], 0);
    world.pass(std::time::Duration::from_secs(1));
    assert_eq!(browser.log_in("alice", "/api/a").await.status, 200);
    world.provider_saw(|counts| counts.revocations == 1).await;
    assert_eq!(browser.get("/api/a").await.status, 200);
}

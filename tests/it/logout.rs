//! Logout, in every order of events.

use std::time::Duration;

use http::Method;

use crate::support::browser::Kind;
use crate::support::world::World;

#[tokio::test]
async fn logout_ends_the_session_here_and_at_the_provider() {
    // std:93, std:154–157, T32
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let copy = browser.copy();
    let reply = browser.send(Method::POST, "/oauth2/logout", Kind::Navigation, &[]).await;
    assert_eq!(reply.status, 303);
    assert!(reply.deletes("bearward"));
    assert!(reply.location().starts_with(&world.idp.issuer()), "{}", reply.location());
    assert!(browser.cookie("bearward").is_none());
    let end = browser.follow(reply).await;
    assert_eq!((end.status.as_u16(), end.url.path()), (200, "/oauth2/logout/callback"));
    world.provider_saw(|counts| counts.revocations == 1 && counts.end_sessions == 1).await;
    assert!(!world.idp.grant_alive("alice"));
    let replay = copy.get("/api/a").await;
    assert_eq!((replay.status.as_u16(), replay.json()["code"].as_str()), (401, Some("session_ended")));
}

#[tokio::test]
async fn a_script_gets_the_address_to_go_on_to() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let reply =
        browser.send(Method::POST, "/oauth2/logout", Kind::Fetch, &[("accept", "application/json")]).await;
    assert_eq!(reply.status, 200);
    assert!(reply.json()["logout_url"].as_str().unwrap().starts_with(&world.idp.issuer()));
}

#[tokio::test]
async fn logout_during_a_refresh_in_flight_stays_a_logout() {
    // Rule 5
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.set_token_delay(Duration::from_millis(400)..=Duration::from_millis(400));
    world.expire_access_tokens();
    let (waiting, copy) = (browser.clone(), browser.copy());
    let request = tokio::spawn(async move { waiting.burst(5, "/api/a").await });
    world.provider_saw(|counts| counts.token_refresh == 1).await;
    browser.post("/oauth2/logout").await;
    for reply in request.await.unwrap() {
        assert_eq!(reply.status, 401);
        assert!(
            reply.cookies("bearward=").iter().all(|cookie| cookie.contains("Max-Age=0")),
            "no cookie is set again"
        );
    }
    // The refresh token that still arrived is revoked.
    world.provider_saw(|counts| counts.refreshes == 1 && counts.revocations == 1).await;
    assert!(!world.idp.grant_alive("alice"));
    assert_eq!(copy.get("/api/a").await.status, 401);
    assert_eq!(world.api.arrivals().iter().filter(|arrival| arrival.target == "/api/a").count(), 0);
}

#[tokio::test]
async fn logout_works_while_the_provider_is_down() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let copy = browser.copy();
    world.idp.stop_listening().await;
    let reply = browser.post("/oauth2/logout").await;
    assert_eq!(reply.status, 303);
    assert_eq!(copy.get("/api/a").await.status, 401);
    world.idp.resume_listening().await.unwrap();
    world.provider_saw(|counts| counts.revocations == 1).await;
}

#[tokio::test]
async fn nobody_else_can_log_a_user_out() {
    // std:103, T31
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let get = browser.send(Method::GET, "/oauth2/logout", Kind::Navigation, &[]).await;
    assert_eq!(get.status, 405);
    let cross = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    let post = browser.send(Method::POST, "/oauth2/logout", Kind::Navigation, &cross).await;
    assert_eq!(post.status, 403);
    assert_eq!(browser.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn logout_without_a_session_is_no_error() {
    let world = World::start().await;
    let reply = world.browser().post("/oauth2/logout").await;
    assert_eq!((reply.status.as_u16(), reply.location()), (303, "/oauth2/logout/callback"));
}

//! Rotation that nobody notices: storms, lost answers, late cookies, restarts of nothing.

use std::time::Duration;

use http::StatusCode;

use crate::support::browser::{Browser, Kind, Reply};
use crate::support::world::World;

/// Three token lives, each new cookie shown to have arrived: what was copied before is superseded for long.
async fn rotate_three_times(world: &World, browser: &Browser) {
    for _ in 0..3 {
        world.expire_access_tokens();
        browser.get("/api/a").await;
        browser.get("/api/a").await;
    }
}

fn all_ok(replies: &[Reply]) -> bool {
    replies.iter().all(|reply| reply.status == StatusCode::OK)
}

#[tokio::test]
async fn a_storm_after_expiry_spends_one_refresh_token() {
    // Rule 1, std:70
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.expire_access_tokens();
    let replies = browser.burst(200, "/api/orders").await;
    assert!(all_ok(&replies));
    assert!(replies.iter().all(|reply| reply.cookies("bearward=").len() == 1), "each brings the successor");
    let counts = world.idp.seen().counts();
    assert_eq!((counts.token_refresh, counts.reuses), (1, 0));
    assert_eq!(world.api.bad_bearers(), 0);
    // The grant is alive: another rotation works.
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/orders").await.status, 200);
    assert!(world.idp.grant_alive("alice"));
    assert_eq!(world.idp.seen().max_presentations_of_one_refresh_token(), 1);
}

#[tokio::test]
async fn the_same_when_every_response_of_that_moment_is_lost() {
    // Rules 2 and 3, std:75
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    for _ in 0..3 {
        world.expire_access_tokens();
        let before = world.idp.seen().counts().refreshes;
        let leavers = (0..50).map(|_| browser.send_and_leave("/api/orders", Duration::from_millis(30)));
        futures_util::future::join_all(leavers).await;
        world.provider_saw(|counts| counts.refreshes == before + 1).await;
        // The answer reached the gateway: a copy of the same cookie is served.
        assert_eq!(browser.copy().get("/api/orders").await.status, 200);
    }
    // The browser still has the cookie of the login; three generations were made meanwhile.
    let reply = browser.get("/api/orders").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.cookies("bearward=").len(), 1);
    assert_eq!(browser.get("/oauth2/session").await.json()["session"]["generation"], 4);
    assert_eq!(world.idp.seen().counts().reuses, 0);
    assert!(world.idp.grant_alive("alice"));
}

#[tokio::test]
async fn a_due_token_is_refreshed_beside_the_request() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.pass(Duration::from_secs(280));
    world.idp.set_token_delay(Duration::from_millis(300)..=Duration::from_millis(300));
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 200);
    assert!(reply.cookies("bearward=").is_empty(), "the good token served it before the successor was there");
    world.provider_saw(|counts| counts.refreshes == 1).await;
    let settled = world.until(|| async { browser.get("/api/a").await.cookies("bearward=").len() == 1 }).await;
    assert!(settled, "a later response brings it");
    assert_eq!(world.idp.seen().counts().token_refresh, 1);
}

#[tokio::test]
async fn a_slow_response_carries_the_successor_that_came_meanwhile() {
    // Rule 4: decided at the response head.
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.pass(Duration::from_secs(280));
    world.idp.set_token_delay(Duration::from_millis(50)..=Duration::from_millis(50));
    let reply = browser.get("/api/slow").await;
    assert_eq!(reply.cookies("bearward=").len(), 1);
}

#[tokio::test]
async fn ten_token_lives_are_nobody_s_business() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    for life in 0..10 {
        world.expire_access_tokens();
        assert!(all_ok(&browser.burst(10, "/api/a").await), "life {life}");
    }
    let counts = world.idp.seen().counts();
    assert_eq!((counts.refreshes, counts.reuses), (10, 0));
    assert_eq!(world.api.bad_bearers(), 0);
}

#[tokio::test]
async fn a_late_cookie_is_served_within_the_grace_and_the_provider_hears_nothing() {
    // std:72
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let late = browser.copy();
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.pass(Duration::from_secs(200));
    let reply = late.get("/api/a").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.cookies("bearward=").len(), 1, "and is sent the newest");
    assert_eq!(world.idp.seen().counts().token_refresh, 1);
    assert_eq!(world.idp.seen().max_presentations_of_one_refresh_token(), 1);
}

#[tokio::test]
async fn a_cookie_from_long_ago_ends_the_session_for_every_holder() {
    // std:73, T3
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let thief = browser.copy();
    rotate_three_times(&world, &browser).await;
    let reply = thief.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("session_ended")));
    assert_eq!(browser.get("/api/a").await.status, 401);
    world.provider_saw(|counts| counts.revocations == 1).await;
    assert_eq!(
        world.idp.seen().max_presentations_of_one_refresh_token(),
        1,
        "the old token never reached it"
    );
    assert!(!world.idp.grant_alive("alice"));
}

#[tokio::test]
async fn a_rollback_may_be_refused_without_ending_the_session() {
    let world = World::plan().yaml("session: { keys: [{ env: KEY }], rollback: reject }").start().await;
    let browser = world.signed_in("alice").await;
    let thief = browser.copy();
    rotate_three_times(&world, &browser).await;
    let reply = thief.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("rolled_back")));
    assert!(reply.cookies("bearward").is_empty(), "no deletion: it could wipe the newer cookie");
    assert_eq!(browser.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn a_route_that_opts_out_starts_no_refresh() {
    // Rule 8, std:82
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.pass(Duration::from_secs(280));
    let reply = browser.get("/still/a").await;
    assert_eq!(reply.status, 200);
    world.pass(Duration::from_secs(30));
    let reply = browser.get("/still/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("refresh_not_allowed")));
    assert!(reply.cookies("bearward").is_empty());
    let own = browser.home().origin().ascii_serialization();
    let preflight = [("origin", own.as_str()), ("access-control-request-method", "PUT")];
    browser.send(http::Method::OPTIONS, "/api/a", Kind::Fetch, &preflight).await;
    assert_eq!(world.idp.seen().counts().token_refresh, 0);
    // Nor does it carry a successor that another request brought.
    let elsewhere = browser.copy();
    assert_eq!(elsewhere.get("/api/a").await.status, 200);
    let reply = browser.get("/still/a").await;
    assert_eq!(reply.status, 200);
    assert!(reply.cookies("bearward").is_empty());
    assert_eq!(browser.get("/api/a").await.cookies("bearward=").len(), 1);
}

#[tokio::test]
async fn a_provider_that_does_not_rotate_is_fine_too() {
    // Rule 7
    let world = World::plan().provider(|settings| settings.rotation = devidp::Rotation::Off).start().await;
    let browser = world.signed_in("alice").await;
    for _ in 0..3 {
        world.expire_access_tokens();
        assert!(all_ok(&browser.burst(20, "/api/a").await));
    }
    assert_eq!(world.idp.seen().counts().token_refresh, 3);
}

#[tokio::test]
async fn opaque_access_tokens_are_forwarded_as_well() {
    let world = World::plan()
        .provider(|settings| settings.access_token_format = devidp::AccessTokenFormat::Opaque)
        .start()
        .await;
    let browser = world.signed_in("bob").await;
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.json()["sub"], "bob");
}

#[tokio::test]
async fn a_session_is_adopted_by_a_gateway_that_never_saw_it() {
    // A restart with the same key: the cookie is authentic, so it is adopted.
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let world = world.restart().await;
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.expire_access_tokens();
    assert!(all_ok(&browser.burst(50, "/api/a").await));
    assert_eq!(world.idp.seen().counts().token_refresh, 1);
}

#[tokio::test]
async fn sessions_end_by_idleness_and_by_lifetime() {
    // std:80
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    for _ in 0..3 {
        world.pass(Duration::from_secs(3000));
        assert_eq!(browser.get("/api/a").await.status, 200, "in use");
    }
    world.pass(Duration::from_secs(3700));
    let reply = browser.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("session_expired")));
    let navigation = browser.send(http::Method::GET, "/api/a", Kind::Navigation, &[]).await;
    assert!(navigation.status == 302 && navigation.deletes("bearward"));
    world.provider_saw(|counts| counts.revocations == 1).await;
}

#[tokio::test]
async fn shutdown_waits_for_a_refresh_that_no_request_waits_for() {
    // Rule 10
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let delay = Duration::from_millis(1500);
    world.idp.set_token_delay(delay..=delay);
    world.pass(Duration::from_secs(280));
    let begun = std::time::Instant::now();
    assert_eq!(browser.get("/api/a").await.status, 200, "served beside the refresh");
    world.provider_saw(|counts| counts.token_refresh == 1).await;
    world.stop().await;
    assert!(begun.elapsed() >= delay, "stopped while the provider was still answering");
}

#[tokio::test]
async fn shutdown_finishes_a_refresh_in_flight() {
    // Rule 10
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.set_token_delay(Duration::from_millis(800)..=Duration::from_millis(800));
    world.expire_access_tokens();
    let (idp, waiting) = (world.idp.clone(), browser.clone());
    let request = tokio::spawn(async move { waiting.get("/api/a").await });
    idp.seen().wait_for(|counts| counts.token_refresh == 1).await;
    world.stop().await;
    let reply = request.await.unwrap();
    assert_eq!(reply.status, 200, "the request was finished");
    assert_eq!(reply.cookies("bearward=").len(), 1, "with the successor");
    assert_eq!(idp.seen().counts().refreshes, 1);
}

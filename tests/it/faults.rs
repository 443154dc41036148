//! A fault is never a logout: every way in which a provider can fail, and the way back.

use std::time::Duration;

use devidp::{Faults, IdTokenFault, JwksFault, PlainFault, TokenFault};

use http::Method;

use crate::support::browser::Kind;
use crate::support::world::World;

/// A fault that leaves the refresh token unspent, for one access-token life: before, during and after it.
async fn survives(begin: impl AsyncFn(&World), end: impl AsyncFn(&World)) {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    begin(&world).await;
    // Access token good: users see nothing, though a refresh is due and fails.
    world.pass(Duration::from_secs(280));
    for _ in 0..3 {
        let reply = browser.get("/api/a").await;
        assert_eq!(reply.status, 200);
        assert!(!reply.deletes("bearward"));
    }
    // Run out: 503 and Retry-After, the cookie stays.
    world.pass(Duration::from_secs(30));
    for _ in 0..3 {
        let reply = browser.get("/api/a").await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].as_str()),
            (503, Some("provider_unavailable"))
        );
        assert!(reply.headers.contains_key("retry-after"));
        assert!(reply.cookies("bearward").is_empty(), "no cookie is deleted");
    }
    end(&world).await;
    let took = world.recovers_within(Duration::from_secs(2), &browser, "/api/a").await;
    assert!(took <= Duration::from_secs(2));
    assert_eq!(world.api.bad_bearers(), 0, "no expired bearer was forwarded");
    assert!(world.idp.grant_alive("alice"));
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 200, "and the next rotation works");
}

async fn survives_fault(fault: TokenFault) {
    survives(
        async |world: &World| world.idp.faults().token.refresh.set(fault.clone()),
        async |world: &World| world.idp.faults().token.clear(),
    )
    .await;
}

#[tokio::test]
async fn five_lives_with_every_fault_and_one_session() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let faults = [
        None,
        Some(TokenFault::Delay(Duration::from_secs(3))),
        Some(TokenFault::Status(503)),
        Some(TokenFault::Busy(429, Duration::from_secs(1))),
        Some(TokenFault::Refused("invalid_client")),
    ];
    for fault in faults {
        let slow = matches!(fault, Some(TokenFault::Delay(_)));
        match &fault {
            Some(fault) => world.idp.faults().token.refresh.set(fault.clone()),
            None => world.idp.stop_listening().await,
        }
        world.expire_access_tokens();
        // A provider that is only slow is waited for.
        let expected = if slow { 200 } else { 503 };
        for reply in browser.burst(5, "/api/a").await {
            assert_eq!(reply.status, expected, "{fault:?}");
            assert!(!reply.deletes("bearward"));
        }
        world.idp.faults().clear();
        if fault.is_none() {
            world.idp.resume_listening().await.unwrap();
        }
        world.recovers_within(Duration::from_secs(2), &browser, "/api/a").await;
    }
    assert_eq!(world.api.bad_bearers(), 0, "no expired bearer was ever forwarded");
    assert_eq!(browser.navigate("/api/a").await.status, 200, "a reload works");
    let counts = world.idp.seen().counts();
    assert_eq!((counts.refreshes, counts.reuses), (5, 0));
}

#[tokio::test]
async fn tokens_that_arrive_expired_send_nobody_in_circles() {
    // Our clock is far ahead of the provider's.
    let world = World::start().await;
    world.clock.advance(Duration::from_secs(3_000));
    let browser = world.browser();
    let reply = browser.log_in("alice", "/api/a").await;
    assert!(reply.status.is_server_error(), "{}", reply.status);
    assert!(browser.cookie("bearward").is_none());
}

#[tokio::test]
async fn a_provider_that_is_down() {
    survives(
        async |world: &World| world.idp.stop_listening().await,
        async |world: &World| world.idp.resume_listening().await.unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_provider_that_answers_503() {
    survives_fault(TokenFault::Status(503)).await;
}

#[tokio::test]
async fn a_provider_that_answers_500() {
    survives_fault(TokenFault::Status(500)).await;
}

#[tokio::test]
async fn a_provider_that_has_enough_and_says_when_to_come_back() {
    survives_fault(TokenFault::Busy(429, Duration::from_secs(1))).await;
}

#[tokio::test]
async fn a_provider_that_forgot_our_credentials() {
    survives_fault(TokenFault::Refused("invalid_client")).await;
}

#[tokio::test]
async fn a_provider_that_redirects_the_token_request() {
    survives_fault(TokenFault::Redirect("http://127.0.0.1:9/".into())).await;
}

#[tokio::test]
async fn a_provider_whose_keys_cannot_be_fetched() {
    // Rule 6: a failing JWKS ends no session.
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.faults().jwks.set(JwksFault::Plain(PlainFault::Status(500)));
    world.idp.faults().id_token.refresh.set(IdTokenFault::KeysRotated);
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.api.bad_bearers(), 0);
}

#[tokio::test]
async fn refreshed_id_tokens_that_fail_for_the_time_being_end_nobody_s_session() {
    // Keys that are published late, clocks that differ: a fault is never a logout.
    for fault in [
        IdTokenFault::UnknownKid,
        IdTokenFault::Expired,
        IdTokenFault::FutureIat,
        IdTokenFault::FutureNbf,
        IdTokenFault::WrongAtHash,
    ] {
        let world = World::start().await;
        let browser = world.signed_in("alice").await;
        world.idp.faults().id_token.refresh.set(fault);
        for _ in 0..2 {
            world.expire_access_tokens();
            assert_eq!(browser.get("/api/a").await.status, 200, "{fault:?}");
        }
        assert_eq!(world.idp.seen().counts().revocations, 0);
    }
}

#[tokio::test]
async fn what_no_oauth_server_says_is_no_verdict() {
    // A proxy's JSON before the provider, a rate limit: neither a login nor an end.
    for code in ["server_error", "Forbidden", "slow_down", "temporarily_unavailable"] {
        let world = World::start().await;
        let browser = world.signed_in("alice").await;
        world.idp.faults().token.refresh.set(TokenFault::Refused(code));
        world.expire_access_tokens();
        assert_eq!(browser.get("/api/a").await.status, 503, "{code}");
        world.idp.faults().clear();
        world.recovers_within(Duration::from_secs(2), &browser, "/api/a").await;
    }
}

#[tokio::test]
async fn a_slow_provider_is_waited_for() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.set_token_delay(Duration::from_secs(3)..=Duration::from_secs(3));
    world.expire_access_tokens();
    let replies = browser.burst(20, "/api/a").await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(world.idp.seen().counts().token_refresh, 1);
}

#[tokio::test]
async fn a_provider_slower_than_the_patience_of_requests_still_rotates_once() {
    // Rule 2: the request gives up, the refresh does not.
    let world = World::plan().yaml("refresh: { wait: 500ms }").start().await;
    let browser = world.signed_in("alice").await;
    world.idp.set_token_delay(Duration::from_millis(1500)..=Duration::from_millis(1500));
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 503);
    world.recovers_within(Duration::from_secs(4), &browser, "/api/a").await;
    assert_eq!(world.idp.seen().counts().token_refresh, 1);
}

#[tokio::test]
async fn an_answer_that_is_lost_after_rotation_costs_a_login_at_most() {
    // Rule 1: repeated once, and then the provider's reuse detection has ended the grant.
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.pass(Duration::from_secs(280));
    world.idp.faults().token.refresh.for_next(1, TokenFault::AnswerLost);
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.provider_saw(|counts| counts.refreshes == 1).await;
    let ended = world
        .until(|| async {
            let reply = browser.get("/api/a").await;
            reply.status == 401
        })
        .await;
    assert!(ended, "the second presentation ended the grant, and so the session");
    assert_eq!(world.idp.seen().max_presentations_of_one_refresh_token(), 2, "never a third time");
    let reply = browser.log_in("alice", "/api/a").await;
    assert_eq!(reply.status, 200, "a login works");
}

#[tokio::test]
async fn an_answer_that_is_lost_may_ask_for_a_login_without_a_second_try() {
    let world = World::plan().yaml("refresh: { after_unknown: login }").start().await;
    let browser = world.signed_in("alice").await;
    world.idp.faults().token.refresh.for_next(1, TokenFault::AnswerLost);
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("refresh_unknown")));
    assert!(reply.cookies("bearward").is_empty(), "the session was not ended");
    assert_eq!(world.idp.seen().max_presentations_of_one_refresh_token(), 1);
    assert!(world.idp.grant_alive("alice"), "no alarm was raised at the provider");
    let reply = browser.navigate("/api/a").await;
    assert_eq!(reply.json()["sub"], "alice", "a reload leads through the provider to a working page");
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_token_is_judged_costs_nothing() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.faults().token.refresh.for_next(1, TokenFault::Reset);
    world.expire_access_tokens();
    browser.get("/api/a").await;
    world.recovers_within(Duration::from_secs(5), &browser, "/api/a").await;
    assert_eq!(world.idp.seen().counts().reuses, 0);
}

#[tokio::test]
async fn a_token_answer_without_an_access_token_loses_no_refresh_token() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.faults().token.refresh.for_next(2, TokenFault::OmitAccessToken);
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 503);
    world.recovers_within(Duration::from_secs(8), &browser, "/api/a").await;
    assert_eq!(world.idp.seen().max_presentations_of_one_refresh_token(), 1);
}

#[tokio::test]
async fn only_invalid_grant_ends_a_session() {
    // Rule 6, std:76
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.idp.disable_user("alice");
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("session_ended")));
    // A script's answer deletes nothing: it may arrive after the next login. A navigation's does.
    assert!(!reply.deletes("bearward"));
    let navigation = browser.send(Method::GET, "/api/a", Kind::Navigation, &[]).await;
    assert!(navigation.status == 302 && navigation.deletes("bearward"));
}

#[tokio::test]
async fn a_provider_that_wants_a_login_gets_one_and_says_why() {
    for code in
        ["access_denied", "interaction_required", "login_required", "consent_required", "mfa_required"]
    {
        let world = World::start().await;
        let browser = world.signed_in("alice").await;
        world.idp.faults().token.refresh.set(TokenFault::Refused(code));
        world.expire_access_tokens();
        let reply = browser.get("/api/a").await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["code"].as_str()),
            (401, Some("login_required")),
            "{code}"
        );
        let page = browser.navigate("/api/a").await;
        assert_eq!(page.status, 401, "a page that says why, not a loop");
        assert!(page.text().contains("/oauth2/login"));
        assert_eq!(world.idp.seen().counts().token_refresh, 1, "and it is not asked again and again");
    }
}

#[tokio::test]
async fn a_refreshed_id_token_of_somebody_else_ends_the_session() {
    // Rule 7, T37, oidcc-client-test-refresh-token-invalid-sub and -issuer
    for fault in [IdTokenFault::OtherSub, IdTokenFault::WrongIss, IdTokenFault::WrongAud] {
        let world = World::start().await;
        let browser = world.signed_in("alice").await;
        world.idp.faults().id_token.refresh.set(fault);
        world.expire_access_tokens();
        let reply = browser.get("/api/a").await;
        assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("session_ended")));
        assert!(
            world.api.arrivals().iter().all(|arrival| arrival.target != "/api/a"),
            "nothing was forwarded"
        );
        world.provider_saw(|counts| counts.revocations == 1).await;
    }
}

#[tokio::test]
async fn an_id_token_is_not_needed_at_a_refresh() {
    // std:66, std:68
    for fault in [TokenFault::OmitIdToken, TokenFault::OmitRefreshToken, TokenFault::OmitExpiresIn] {
        let world = World::start().await;
        let browser = world.signed_in("alice").await;
        world.idp.faults().token.refresh.set(fault);
        for _ in 0..2 {
            world.expire_access_tokens();
            assert_eq!(browser.get("/api/a").await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_down_at_the_start_keeps_nobody_from_starting() {
    let world = World::plan().provider_down().start().await;
    let open = world.browser().get("/open").await;
    assert_eq!(open.status, 200, "what needs no login works");
    let login = world.browser().navigate("/api/a").await;
    assert_eq!(login.status, 503);
    let ready = world.admin_get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.json()["reasons"]["provider"].is_string(), "{}", ready.text());
    world.idp.resume_listening().await.unwrap();
    assert!(world.until(|| async { world.admin_get("/readyz").await.status == 200 }).await);
    let browser = world.signed_in("alice").await;
    world.idp.stop_listening().await;
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(world.admin_get("/readyz").await.status, 200, "an outage is no reason to leave");
}

#[tokio::test]
async fn a_login_while_the_provider_fails_leaves_a_page_and_no_session() {
    let world = World::start().await;
    let arm: [fn(&Faults); 4] = [
        |faults| faults.token.code.set(TokenFault::Status(500)),
        |faults| faults.token.code.set(TokenFault::Refused("invalid_client")),
        |faults| faults.token.code.set(TokenFault::Garbage),
        |faults| faults.discovery.clear(),
    ];
    for arm in arm.iter().take(3) {
        arm(world.idp.faults());
        let browser = world.browser();
        let reply = browser.log_in("alice", "/").await;
        assert!(reply.status.is_server_error(), "{}", reply.status);
        assert!(browser.cookie("bearward").is_none());
        world.idp.faults().clear();
    }
    assert_eq!(world.browser().log_in("alice", "/").await.status, 200);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_told_as_such() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::plan().upstream(&format!("http://{gone}")).start().await;
    let browser = world.browser();
    browser.log_in("alice", "/").await;
    let reply = browser.get("/api/a").await;
    assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (502, Some("upstream_unreachable")));
    world.expire_access_tokens();
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.cookies("bearward=").len(), 1, "the rotated session's cookie rides on the error");
}

//! Restarts of a gateway whose store is a file: a deploy on a single machine logs nobody out.

use std::time::Duration;

use crate::support::world::World;

fn store(folder: &tempfile::TempDir) -> String {
    format!("store: {{ kind: file, path: {} }}", folder.path().join("store.redb").display())
}

#[tokio::test]
async fn a_successor_that_no_browser_has_seen_outlives_a_restart() {
    // Rule 3
    let folder = tempfile::tempdir().unwrap();
    let world = World::plan().yaml(&store(&folder)).start().await;
    let browser = world.signed_in("alice").await;
    world.expire_access_tokens();
    // The answer brings the new cookie to a copy; the browser keeps the old one, as if it were lost on its way.
    assert_eq!(browser.copy().get("/api/a").await.status, 200);
    assert_eq!(world.idp.seen().counts().refreshes, 1);
    let world = world.restart().await;
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.cookies("bearward=").len(), 1, "the successor is sent again");
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 200, "and is good for the next refresh");
    assert!(world.idp.grant_alive("alice"));
    assert_eq!(world.idp.seen().counts().refreshes, 2);
}

#[tokio::test]
async fn what_was_ended_stays_ended_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::plan().yaml(&store(&folder)).start().await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let copy = alice.copy();
    alice.post("/oauth2/logout").await;
    world.provider_saw(|counts| counts.revocations == 1).await;
    let world = world.restart().await;
    let ready = || async { world.admin_get("/readyz").await.status == 200 };
    assert!(world.until(ready).await);
    let replay = copy.get("/api/a").await;
    assert_eq!((replay.status.as_u16(), replay.json()["code"].as_str()), (401, Some("session_ended")));
    assert_eq!(bob.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn a_rollback_is_noticed_over_a_restart() {
    // T3
    let folder = tempfile::tempdir().unwrap();
    let world = World::plan().yaml(&store(&folder)).start().await;
    let browser = world.signed_in("alice").await;
    let stolen = browser.copy();
    world.expire_access_tokens();
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(browser.get("/api/a").await.status, 200, "the new cookie is shown");
    let world = world.restart().await;
    world.expire_access_tokens();
    let replay = stolen.get("/api/a").await;
    assert_eq!(replay.status, 401, "{}", replay.text());
    assert_eq!(world.idp.seen().counts().token_refresh, 1, "the old token never reaches the provider");
}

#[tokio::test]
async fn a_kill_after_the_refresh_loses_nothing_and_one_before_the_answer_a_login_at_most() {
    // I7
    let folder = tempfile::tempdir().unwrap();
    let plan = World::plan()
        .provider(|settings| settings.access_token_life = Duration::from_secs(4))
        .provider_yaml("  timeout: 2s")
        .yaml(&store(&folder))
        .in_a_process();
    let mut world = plan.start().await;
    let browser = world.signed_in("alice").await;
    let begun = world.idp.seen().counts().refreshes;
    let refreshed = || async {
        assert_eq!(browser.copy().get("/api/a").await.status, 200);
        world.idp.seen().counts().refreshes > begun
    };
    assert!(world.until(refreshed).await);
    // The answer to the refresh has been used: what it brought is in the file.
    assert_eq!(browser.copy().get("/api/a").await.status, 200);
    world.kill_and_start_again().await;
    let reply = browser.get("/api/a").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(world.idp.grant_alive("alice"));

    world.idp.set_token_delay(Duration::from_millis(900)..=Duration::from_millis(900));
    let before = world.idp.seen().counts().token_refresh;
    let asked = || async {
        drop(browser.get("/api/a").await);
        world.idp.seen().counts().token_refresh > before
    };
    assert!(world.until(asked).await);
    world.kill_and_start_again().await;
    world.idp.set_token_delay(Duration::ZERO..=Duration::ZERO);
    // Whatever became of the token, a page is there again, by a login at most.
    let page = browser.navigate("/api/a").await;
    assert!(matches!(page.status.as_u16(), 200 | 503), "{}", page.text());
    let works = || async { browser.log_in("alice", "/api/a").await.status == 200 };
    assert!(world.until(works).await);
}

#[tokio::test]
async fn a_kill_before_the_answer_is_waited_for_no_longer_than_the_pause() {
    // I1: once more after the pause, and never a third time.
    let folder = tempfile::tempdir().unwrap();
    let plan = World::plan()
        .provider(|settings| settings.access_token_life = Duration::from_secs(4))
        // A lease that had to run out would take a minute and a half.
        .provider_yaml("  timeout: 60s")
        .yaml(&store(&folder))
        .in_a_process();
    let mut world = plan.start().await;
    let browser = world.signed_in("alice").await;
    let (sent, refreshed) = (world.idp.seen().counts().token_refresh, world.idp.seen().counts().refreshes);
    world.idp.faults().token.refresh.for_next(1, devidp::TokenFault::Hang);
    let asked = || async {
        // It is served by the token that is still good, or waits for the answer: in both cases nobody hears more.
        drop(tokio::time::timeout(Duration::from_millis(200), browser.get("/api/a")).await);
        world.idp.seen().counts().token_refresh > sent
    };
    assert!(world.until(asked).await);
    world.kill_and_start_again().await;
    let begun = std::time::Instant::now();
    let goes_on = || async {
        let reply = browser.get("/api/a").await;
        assert!(matches!(reply.status.as_u16(), 200 | 503), "{}", reply.text());
        reply.status == 200 && world.idp.seen().counts().refreshes > refreshed
    };
    assert!(world.until(goes_on).await);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(world.idp.grant_alive("alice"));
    assert_eq!(world.idp.seen().counts().token_refresh, sent + 2, "once before and once after");
    world.stop_process().await;
}

#[tokio::test]
async fn a_cookie_of_a_newer_release_is_answered_by_a_login_and_stays() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    let readable = browser.cookie("bearward").unwrap();
    browser.set_cookie("bearward", &readable.replacen("1.", "2.", 1));
    for reply in [browser.get("/api/a").await, browser.post("/api/a").await] {
        assert_eq!((reply.status.as_u16(), reply.json()["code"].as_str()), (401, Some("no_session")));
        assert!(reply.cookies("bearward=").is_empty());
    }
    let page = browser.navigate_once(&browser.home().join("/api/a").unwrap()).await;
    assert_eq!((page.status.as_u16(), page.cookies("bearward=").len()), (302, 0));
    let metrics = world.admin_get("/metrics").await.text();
    assert!(metrics.contains("bearward_cookies_rejected_total{why=\"unknown_version\"} 3"), "{metrics}");
    // The newer release serves it again, and nothing was lost meanwhile.
    browser.set_cookie("bearward", &readable);
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(world.idp.seen().counts().revocations, 0);
}

#[tokio::test]
async fn a_file_that_another_process_holds_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::plan().yaml(&store(&folder)).in_a_process().start().await;
    let output = world.second_process();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("store.redb"), "{text}");
    world.stop_process().await;
}

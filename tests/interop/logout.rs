//! Ending a session: here, at the provider, and against a refresh that is under way.

use std::time::Duration;

use serde_json::json;

use crate::support::browser::Browser;
use crate::support::http::Answer;
use crate::support::provider::Seen;
use crate::support::{Setup, World, until_seen};

#[tokio::test]
async fn logging_out_ends_the_session_here_and_at_the_provider() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = world.signed_in("alice").await;
    let thief = browser.copy();

    let question = browser.submit("/oauth2/logout", &[]).await;
    assert_eq!((question.status, question.url.path()), (200, "/session/end"), "{}", question.text());
    let goodbye = confirm(&browser, &question).await;
    assert_eq!((goodbye.status, goodbye.url.path()), (200, "/oauth2/logout/callback"), "{}", goodbye.text());

    assert_eq!(browser.fetch("/api/whoami").await.status, 401);
    assert_eq!(thief.fetch("/api/whoami").await.status, 401, "a copied cookie outlived its session");
    let revoked = |seen: &Seen| (!seen.revocations.is_empty()).then_some(());
    until_seen(&world.provider, "the refresh token is revoked", Duration::from_secs(5), revoked).await;
    let seen = world.provider.seen().await;
    assert!(seen.revocations.iter().all(|revocation| revocation.status == 200), "{seen:#?}");
    assert_eq!((seen.logouts, seen.grants[0].alive), (1, false), "{seen:#?}");

    let again = browser.navigate("/app/").await;
    assert_eq!((again.status, again.url.path()), (200, "/app/"), "{}", again.text());
    let seen = world.provider.seen().await;
    assert_eq!(seen.grants[1].prompt, "login", "the provider had forgotten the user");
    assert_eq!(thief.fetch("/api/whoami").await.status, 401, "a login brought an ended session back");
    assert_eq!(world.upstream.violations(), [""; 0]);
}

#[tokio::test]
async fn a_logout_wins_over_a_refresh_in_flight_and_the_late_refresh_token_is_revoked() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = world.signed_in("alice").await;
    world.provider.break_with(&json!({ "mode": "slow", "ms": 1500, "times": 1 })).await;
    let late = until_refreshing(&world, &browser).await;

    let thief = browser.copy();
    let question = browser.submit("/oauth2/logout", &[]).await;
    assert_eq!(question.status, 200, "{}", question.text());
    assert_eq!(browser.fetch("/api/whoami").await.status, 401);
    assert_eq!(thief.fetch("/api/whoami").await.status, 401);

    let revoked =
        |seen: &Seen| seen.revocations.iter().any(|revocation| revocation.token == late).then_some(());
    until_seen(&world.provider, "the late refresh token is revoked", Duration::from_secs(10), revoked).await;
    assert!(!world.provider.seen().await.grants[0].alive);
    // A script's 401 neither sets nor deletes: the copy keeps what it had, and that is void.
    let held = thief.cookie_header();
    for tab in [&browser, &thief] {
        let answer = tab.fetch("/api/whoami").await;
        assert_eq!(answer.status, 401, "{}", answer.text());
    }
    assert!(!browser.has_session(), "an ended session's cookie was set again");
    assert_eq!(thief.cookie_header(), held, "an ended session's cookie was set again");
    assert_eq!(world.upstream.violations(), [""; 0]);
}

/// Works until the provider has rotated the refresh token and its answer is under way; the hash of the new one.
async fn until_refreshing(world: &World, browser: &Browser) -> String {
    crate::support::until("a refresh in flight", Duration::from_secs(10), || async {
        assert_eq!(browser.fetch("/api/whoami").await.status, 200);
        let seen = world.provider.seen().await;
        let flying = seen.refreshes().find(|refresh| refresh.outcome == "open")?;
        flying.made.clone()
    })
    .await
}

/// Answers the provider's question whether to log out there, too.
async fn confirm(browser: &Browser, question: &Answer) -> Answer {
    let page = String::from_utf8_lossy(&question.body).into_owned();
    let between = |before: &str, after: &str| {
        let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
        rest.split_once(after).unwrap().0.to_owned()
    };
    let action = between("action=\"", "\"");
    let xsrf = between("name=\"xsrf\" value=\"", "\"");
    browser.submit(&action, &[("xsrf", &xsrf), ("logout", "yes")]).await
}

//! Many requests of one session at the moment its access token is over.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use url::Url;

use crate::support::browser::Browser;
use crate::support::http::connect;
use crate::support::{Setup, World, until_expired, until_seen};

/// How many requests come at once.
const REQUESTS: usize = 200;

/// Long enough that a storm on a busy machine is over before the next refresh is due.
const LONG: Setup = Setup { token_life: 9, delay: (300, 600), provider: "", more: "" };

#[tokio::test]
async fn two_hundred_requests_with_an_expired_session_cause_one_refresh() {
    let Some(world) = World::start(LONG).await else { return };
    let browser = world.signed_in("alice").await;
    until_expired(&browser.fetch("/api/whoami").await.json()).await;
    assert_eq!(world.provider.seen().await.refreshes().count(), 0);

    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        // Each has the expired cookie, whatever another's answer brings.
        let tab = browser.copy();
        requests.spawn(async move { tab.fetch("/api/whoami").await });
    }
    let answers = requests.join_all().await;
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(good, REQUESTS, "{:?}", answers.iter().find(|answer| answer.status != 200));
    assert_eq!(world.provider.seen().await.refreshes().count(), 1);

    // The browser took note of none of these answers; it goes on with the cookie of before.
    assert_another_rotation(&world, &browser).await;
}

#[tokio::test]
async fn a_storm_whose_answers_are_all_lost_costs_one_refresh_and_no_session() {
    let Some(world) = World::start(LONG).await else { return };
    let browser = world.signed_in("alice").await;
    until_expired(&browser.fetch("/api/whoami").await.json()).await;

    let home: Url = world.gateway.url.parse().unwrap();
    let mut sockets = JoinSet::new();
    for _ in 0..REQUESTS {
        let (home, request) = (home.clone(), browser.raw_fetch("/api/whoami"));
        sockets.spawn(async move {
            let mut socket = connect(&home).await.unwrap();
            socket.write_all(request.as_bytes()).await.unwrap();
            socket
        });
    }
    let sockets = sockets.join_all().await;
    let begun = |seen: &crate::support::provider::Seen| seen.refreshes().next().map(drop);
    until_seen(&world.provider, "a refresh", Duration::from_secs(5), begun).await;
    assert_unanswered(sockets);

    let done = |seen: &crate::support::provider::Seen| (seen.refreshed("ok") == 1).then_some(());
    until_seen(&world.provider, "the refresh was answered", Duration::from_secs(5), done).await;
    let reload = browser.navigate("/app/").await;
    assert_eq!((reload.status, reload.url.path()), (200, "/app/"), "{}", reload.text());
    assert_eq!(browser.fetch("/api/whoami").await.status, 200);
    assert_eq!(world.provider.seen().await.refreshes().count(), 1);
    assert_another_rotation(&world, &browser).await;
}

/// Closes the sockets. Nothing came over them so far.
fn assert_unanswered(sockets: Vec<TcpStream>) {
    for socket in sockets {
        let mut first = [0; 1];
        let read = socket.try_read(&mut first);
        assert!(read.is_err(), "an answer came before the provider's: {read:?}");
    }
}

async fn assert_another_rotation(world: &World, browser: &Browser) {
    let before = world.provider.seen().await.refreshed("ok");
    let now = browser.fetch("/api/whoami").await;
    assert_eq!(now.status, 200, "{}", now.text());
    until_expired(&now.json()).await;
    let later = browser.fetch("/api/whoami").await;
    assert_eq!(later.status, 200, "{}", later.text());
    let after = |seen: &crate::support::provider::Seen| (seen.refreshed("ok") > before).then_some(());
    until_seen(&world.provider, "another rotation", Duration::from_secs(5), after).await;
    world.assert_unharmed(browser).await;
}

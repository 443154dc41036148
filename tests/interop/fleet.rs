//! Three gateways that share a Redis, before a provider that spends each refresh token once.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::support::browser::Browser;
use crate::support::fleet::Fleet;
use crate::support::http::Answer;
use crate::support::provider::Seen;
use crate::support::redis::Persistence;
use crate::support::{Setup, until, until_expired, until_seen};

/// How many requests come at once.
const REQUESTS: usize = 300;

/// A token life that outlives a storm on a busy machine, and a provider that takes its time, but not more than 2 s: a
/// lease lasts 5 s then, half of what a request waits.
fn setup() -> Setup {
    Setup { token_life: 12, delay: (300, 600), provider: "  timeout: 2s", more: "" }
}

/// Three replicas, and a browser whose access token has just run out.
async fn expired() -> Option<(Fleet, Browser)> {
    let fleet = Fleet::start(3, Persistence::Nothing, setup()).await?;
    let browser = fleet.signed_in("alice").await;
    until_expired(&browser.fetch("/api/whoami").await.json()).await;
    Some((fleet, browser))
}

/// Sends the requests of a storm, each with the cookie as it is now, spread over the replicas. One that gets no answer
/// is sent to the next replica, as a balancer does.
async fn storm(fleet: &Fleet, browser: &Browser) -> Vec<Answer> {
    send(tabs(fleet, browser, REQUESTS)).await
}

fn tabs(fleet: &Fleet, browser: &Browser, count: usize) -> Vec<[Browser; 2]> {
    let tab = |number| fleet.tab(&browser.copy(), number);
    (0..count).map(|number| [tab(number), tab(number + 1)]).collect()
}

async fn send(tabs: Vec<[Browser; 2]>) -> Vec<Answer> {
    let mut requests = JoinSet::new();
    for [tab, other] in tabs {
        requests.spawn(async move {
            match tab.try_fetch("/api/whoami").await {
                Ok(answer) => answer,
                Err(_) => other.fetch("/api/whoami").await,
            }
        });
    }
    requests.join_all().await
}

#[track_caller]
fn assert_all_served(answers: &[Answer]) {
    let bad: Vec<String> = answers.iter().filter(|answer| answer.status != 200).map(Answer::text).collect();
    assert!(bad.is_empty(), "{} of {} failed: {}", bad.len(), answers.len(), bad[0]);
}

/// The session goes on, at every replica, through another rotation.
async fn assert_lives_on(fleet: &Fleet, browser: &Browser) {
    let now = fleet.tab(browser, 1).fetch("/api/whoami").await;
    assert_eq!(now.status, 200, "{}", now.text());
    until_expired(&now.json()).await;
    for number in 0..fleet.replicas.len() {
        let later = fleet.tab(browser, number).fetch("/api/whoami").await;
        assert_eq!(later.status, 200, "replica {number}: {}", later.text());
    }
    fleet.assert_unharmed(browser).await;
}

fn begun(seen: &Seen) -> Option<()> {
    seen.refreshes().next().map(drop)
}

async fn refresh_begins(fleet: &Fleet) {
    until_seen(&fleet.provider, "a refresh", Duration::from_secs(5), begun).await;
}

#[tokio::test]
async fn three_hundred_requests_over_three_replicas_cause_one_refresh() {
    // std:71, I1
    let Some((fleet, browser)) = expired().await else { return };
    assert_all_served(&storm(&fleet, &browser).await);
    assert_eq!(fleet.provider.seen().await.refreshes().count(), 1);
    let mut elsewhere = 0;
    for replica in &fleet.replicas {
        elsewhere += replica.metric("bearward_refreshes_total{outcome=\"elsewhere\"}").await;
    }
    assert_eq!(elsewhere, 2, "two replicas took over what the third made");
    assert_lives_on(&fleet, &browser).await;
}

#[tokio::test]
async fn storms_one_after_the_other_spend_no_token_twice() {
    // `STORMS=200` for the figure in `docs/sessions.md`.
    let Some(fleet) =
        Fleet::start(2, Persistence::Nothing, Setup { token_life: 4, delay: (100, 400), ..setup() }).await
    else {
        return;
    };
    let browser = fleet.signed_in("alice").await;
    let storms = std::env::var("STORMS").map_or(3, |count| count.parse().unwrap());
    for number in 0..storms {
        until_expired(&browser.fetch("/api/whoami").await.json()).await;
        let answers = send(tabs(&fleet, &browser, 60)).await;
        assert_all_served(&answers);
        let seen = fleet.provider.seen().await;
        assert_eq!(seen.spent_twice(), [""; 0], "storm {number}");
    }
    fleet.assert_unharmed(&browser).await;
}

#[tokio::test]
async fn a_replica_that_is_killed_beside_the_refresh_costs_nothing() {
    let Some((mut fleet, browser)) = expired().await else { return };
    // The first replica refreshes.
    let first = fleet.tab(&browser.copy(), 0);
    let refreshing = tokio::spawn(async move { first.fetch("/api/whoami").await });
    refresh_begins(&fleet).await;
    let answers = tokio::spawn(send(tabs(&fleet, &browser, REQUESTS)));
    sleep(Duration::from_millis(100)).await;
    fleet.replicas[2].kill();
    assert_all_served(&answers.await.unwrap());
    assert_all_served(&[refreshing.await.unwrap()]);
    assert_eq!(fleet.provider.seen().await.refreshes().count(), 1);
    fleet.replicas[2].start_again().await;
    assert_lives_on(&fleet, &browser).await;
}

#[tokio::test]
async fn a_replica_that_is_killed_after_its_refresh_leaves_the_successor_to_the_others() {
    // Rule 3, I7: no browser has seen the new cookie, and whoever made it is dead.
    let Some((mut fleet, browser)) = expired().await else { return };
    let lost = fleet.tab(&browser.copy(), 0).fetch("/api/whoami").await;
    assert_eq!(lost.status, 200);
    fleet.replicas[0].kill();
    let answers =
        send((0..100).map(|n| [fleet.tab(&browser.copy(), 1 + n % 2), browser.clone()]).collect()).await;
    assert_all_served(&answers);
    assert_eq!(fleet.provider.seen().await.refreshes().count(), 1);
    fleet.replicas[0].start_again().await;
    assert_lives_on(&fleet, &browser).await;
}

#[tokio::test]
async fn a_replica_that_is_killed_during_its_refresh_costs_one_login_at_most() {
    // Nobody knows whether the token was spent. `docs/sessions.md`: the token is sent once more, by one replica, and
    // where it was spent the provider ends the grant.
    let Some((mut fleet, browser)) = expired().await else { return };
    let dying = fleet.tab(&browser.copy(), 0);
    let dead = tokio::spawn(async move { dying.try_fetch("/api/whoami").await });
    refresh_begins(&fleet).await;
    fleet.replicas[0].kill();
    assert!(dead.await.unwrap().is_err());
    let answers =
        send((0..50).map(|n| [fleet.tab(&browser.copy(), 1 + n % 2), browser.clone()]).collect()).await;
    let told: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert!(told.iter().all(|status| [200, 401, 503].contains(status)), "{told:?}");
    until("one attempt more", Duration::from_secs(20), async || {
        drop(fleet.tab(&browser.copy(), 1).try_fetch("/api/whoami").await);
        (fleet.provider.seen().await.refreshes().count() == 2).then_some(())
    })
    .await;
    fleet.replicas[0].start_again().await;
    // A reload leads to a working page, by a login that asks nothing of the user.
    let reload = fleet.tab(&browser, 1).navigate("/app/").await;
    assert_eq!((reload.status, reload.url.path()), (200, "/app/"), "{}", reload.text());
    let seen = fleet.provider.seen().await;
    assert_eq!(seen.refreshes().count(), 2, "never a third time");
    assert!(seen.grants.len() <= 2, "more than one login: {seen:#?}");
    assert_eq!(fleet.upstream.violations(), [""; 0]);
}

#[tokio::test]
async fn a_redis_that_stands_still_for_five_seconds_loses_nothing() {
    let Some((fleet, browser)) = expired().await else { return };
    fleet.redis.pause();
    let answers = tokio::spawn(send(tabs(&fleet, &browser, REQUESTS)));
    sleep(Duration::from_secs(5)).await;
    fleet.redis.resume();
    assert_all_served(&answers.await.unwrap());
    assert_eq!(fleet.provider.seen().await.refreshes().count(), 1);
    assert_lives_on(&fleet, &browser).await;
}

#[tokio::test]
async fn a_redis_that_stands_still_in_the_middle_of_a_refresh_loses_nothing() {
    let Some((fleet, browser)) = expired().await else { return };
    let answers = tokio::spawn(send(tabs(&fleet, &browser, REQUESTS)));
    refresh_begins(&fleet).await;
    fleet.redis.pause();
    sleep(Duration::from_secs(5)).await;
    fleet.redis.resume();
    assert_all_served(&answers.await.unwrap());
    assert_eq!(fleet.provider.seen().await.refreshes().count(), 1);
    assert_lives_on(&fleet, &browser).await;
}

#[tokio::test]
async fn a_redis_that_is_restarted_with_or_without_its_data_loses_nothing() {
    for persistence in [Persistence::Everything, Persistence::Nothing] {
        let Some(mut fleet) = Fleet::start(3, persistence, setup()).await else { return };
        let browser = fleet.signed_in("alice").await;
        until_expired(&browser.fetch("/api/whoami").await.json()).await;
        let answers = tokio::spawn(send(tabs(&fleet, &browser, REQUESTS)));
        refresh_begins(&fleet).await;
        fleet.redis.kill();
        sleep(Duration::from_millis(300)).await;
        fleet.redis.start_again().await;
        assert_all_served(&answers.await.unwrap());
        let seen = fleet.provider.seen().await;
        assert_eq!(seen.refreshes().count(), 1, "{persistence:?}: {seen:#?}");
        assert_lives_on(&fleet, &browser).await;
        for replica in &fleet.replicas {
            until("a loss that is counted once", Duration::from_secs(30), || async {
                let lost = replica.metric("bearward_store_data_lost_total").await;
                (lost == u64::from(persistence == Persistence::Nothing)).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_session_that_is_ended_at_one_replica_is_ended_at_all_within_five_seconds() {
    // std:166, T32, I4
    let Some(fleet) = Fleet::start(3, Persistence::Nothing, setup()).await else { return };
    let browser = fleet.signed_in("alice").await;
    let copy = browser.copy();
    for number in 0..3 {
        assert_eq!(fleet.tab(&copy, number).fetch("/api/whoami").await.status, 200);
    }
    let end = fleet.tab(&browser, 1).submit("/oauth2/logout", &[]).await;
    assert_eq!(end.status, 200, "{}", end.text());
    let ended = Instant::now();
    for number in 0..3 {
        let tab = fleet.tab(&copy, number);
        until("the session is ended", Duration::from_secs(5), async || {
            (tab.fetch("/api/whoami").await.status == 401).then_some(())
        })
        .await;
    }
    assert!(ended.elapsed() < Duration::from_secs(5));
    // Also at one that starts only now, for a cookie that it has never seen.
    let mut fleet = fleet;
    fleet.replicas[2].restart().await;
    assert_eq!(fleet.tab(&copy, 2).fetch("/api/whoami").await.status, 401);
}

#[tokio::test]
async fn what_a_session_still_receives_ends_wherever_it_was_ended() {
    // std:165, T19
    let Some(fleet) = Fleet::start(2, Persistence::Nothing, setup()).await else { return };
    let (browser, other) = (fleet.signed_in("alice").await, fleet.signed_in("bob").await);
    let mut streams = Vec::new();
    for tab in [&browser, &other].map(|browser| fleet.tab(browser, 1)) {
        let mut tcp = TcpStream::connect(("127.0.0.1", fleet.replicas[1].port)).await.unwrap();
        tcp.write_all(tab.raw_fetch("/api/events").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"data: 0\n\n\r\n") {
            assert!(tcp.read_buf(&mut read).await.unwrap() > 0, "{}", String::from_utf8_lossy(&read));
        }
        streams.push(tcp);
    }
    let end = fleet.tab(&browser, 0).submit("/oauth2/logout", &[]).await;
    assert_eq!(end.status, 200, "{}", end.text());
    let (mut staying, mut ending) = (streams.pop().unwrap(), streams.pop().unwrap());
    // Five seconds are promised; the machine may have other things to do.
    let ended = timeout(Duration::from_secs(10), ending.read_u8()).await.expect("it is closed");
    assert!(ended.is_err(), "{ended:?}");
    assert!(timeout(Duration::from_secs(2), staying.read_u8()).await.is_err(), "the other's goes on");
}

#[tokio::test]
async fn a_dump_of_the_store_holds_no_token() {
    // T34, std:177
    let Some(fleet) = Fleet::start(2, Persistence::Nothing, setup()).await else { return };
    let browser = fleet.signed_in("alice").await;
    until_expired(&browser.fetch("/api/whoami").await.json()).await;
    assert_eq!(browser.fetch("/api/whoami").await.status, 200);
    assert_eq!(fleet.tab(&browser, 1).fetch("/api/whoami").await.status, 200);
    let end = fleet.tab(&browser, 0).submit("/oauth2/logout", &[]).await;
    assert_eq!(end.status, 200, "{}", end.text());
    let (redis, upstream) = (&fleet.redis, &fleet.upstream);
    let dump = until("the end is in the store", Duration::from_secs(5), async || {
        let dump = redis.dump();
        dump.contains("denials").then_some(dump)
    })
    .await;
    assert!(dump.contains("bearward:r:"), "{dump}");
    for bearer in upstream.bearers() {
        for part in bearer.split('.') {
            assert!(!dump.contains(part), "an access token, or a part of it");
        }
    }
    for word in ["alice", "localhost", "refresh_token", "eyJ"] {
        assert!(!dump.contains(word), "{word} is in the store");
    }
}

//! Whoever ends a session ends what it still receives. std:165

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use tokio::time::timeout;

use crate::support::browser::{Browser, exchange};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;
use crate::support::world::World;

/// What is promised, and as much again for a machine that has other things to do.
const SOON: Duration = Duration::from_secs(10);

/// Events that a browser receives.
struct Events(Raw);

impl Events {
    async fn of(world: &World, browser: &Browser) -> Self {
        let mut raw = Raw::connect(world.address()).await;
        let (host, cookie) = (browser.home().authority(), browser.cookie_header());
        raw.send(format!("GET /api/busy HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n")).await;
        raw.until("data: busy\n\n").await;
        Self(raw)
    }

    async fn end_soon(&mut self) -> bool {
        timeout(SOON, async { while !self.0.is_closed().await {} }).await.is_ok()
    }
}

async fn world(upstream: &Upstream, yaml: &str) -> World {
    World::plan().upstream(&format!("http://{}", upstream.address)).yaml(yaml).start().await
}

#[tokio::test]
async fn logout_ends_the_streams_of_its_session_and_of_no_other() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "").await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let (mut ending, _staying) = (Events::of(&world, &alice).await, Events::of(&world, &bob).await);
    alice.post("/oauth2/logout").await;
    assert!(ending.end_soon().await);
    upstream.has_open(1).await;
}

#[tokio::test]
async fn an_operator_ends_streams_and_so_does_the_login_that_replaces_a_session() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "").await;
    let (alice, bob) = (world.signed_in("alice").await, world.signed_in("bob").await);
    let (mut first, mut second) = (Events::of(&world, &alice).await, Events::of(&world, &bob).await);
    let wish = Bytes::from_static(br#"{"subject":"alice"}"#);
    let headers = HeaderMap::from_iter([
        (HOST, HeaderValue::from_static("localhost")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CONTENT_LENGTH, HeaderValue::from(wish.len())),
    ]);
    assert_eq!(exchange(&Method::POST, &world.admin_url("/sessions/end"), headers, wish).await.status, 200);
    assert!(first.end_soon().await);
    upstream.has_open(1).await;
    assert_eq!(bob.log_in("bob", "/").await.status, 200);
    assert!(second.end_soon().await);
    upstream.has_open(0).await;
}

#[tokio::test]
async fn a_stream_outlives_neither_the_idle_limit_nor_the_lifetime() {
    // A stream that is only open is no use of its session.
    for (key, limit, short) in [("idle_timeout", "30m", 29), ("lifetime", "50m", 49)] {
        let upstream = Upstream::start().await;
        let session = format!("session: {{ keys: [{{ env: KEY }}], {key}: {limit} }}");
        let world = world(&upstream, &session).await;
        let alice = world.signed_in("alice").await;
        let mut events = Events::of(&world, &alice).await;
        world.pass(Duration::from_secs(short * 60));
        tokio::time::sleep(Duration::from_millis(2500)).await;
        upstream.has_open(1).await;
        world.pass(Duration::from_secs(61));
        assert!(events.end_soon().await, "{key}");
        upstream.has_open(0).await;
    }
}

#[tokio::test]
async fn a_refresh_ends_no_stream() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "").await;
    let alice = world.signed_in("alice").await;
    let _events = Events::of(&world, &alice).await;
    world.expire_access_tokens();
    assert_eq!(alice.get("/api/a").await.status, 200);
    assert_eq!(world.idp.seen().counts().refreshes, 1);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    upstream.has_open(1).await;
}

#[tokio::test]
async fn a_route_may_close_what_outlives_its_access_token() {
    let upstream = Upstream::start().await;
    let routes = "  - { path: /api/*, upstream: UPSTREAM, auth: session, stream: { token: close } }\n  \
                  - { path: /*, upstream: UPSTREAM, auth: none }\n";
    let plan = World::plan().upstream(&format!("http://{}", upstream.address)).routes(routes);
    let world = plan.start().await;
    let alice = world.signed_in("alice").await;
    let mut events = Events::of(&world, &alice).await;
    world.pass(Duration::from_secs(200));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    upstream.has_open(1).await;
    world.expire_access_tokens();
    assert!(events.end_soon().await);
    upstream.has_open(0).await;
    // The client comes back and gets a fresh one.
    let _events = Events::of(&world, &alice).await;
    assert_eq!(world.idp.seen().counts().refreshes, 1);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    upstream.has_open(1).await;
}

#[tokio::test]
async fn the_record_of_a_request_says_that_it_was_ended_and_why() {
    let upstream = Upstream::start().await;
    let world = World::plan().upstream(&format!("http://{}", upstream.address)).in_a_process().start().await;
    let alice = world.signed_in("alice").await;
    let (host, cookie) = (alice.home().authority(), alice.cookie_header());
    // On the fast path, and on pingora's.
    for line in ["GET /api/busy?secret HTTP/1.1", "POST /api/busy?secret HTTP/1.1\r\nContent-Length: 0"] {
        let mut raw = Raw::connect((Ipv4Addr::LOCALHOST, alice.home().port().unwrap()).into()).await;
        let head = format!("{line}\r\nHost: {host}\r\nOrigin: http://{host}\r\nCookie: {cookie}\r\n\r\n");
        raw.send(head).await;
        raw.until("data: busy\n\n").await;
        tokio::spawn(async move { while !raw.is_closed().await {} });
    }
    alice.post("/oauth2/logout").await;
    upstream.has_open(0).await;
    let records = || -> Vec<serde_json::Value> {
        let logged = world.logged();
        let lines = logged.lines().filter(|line| line.contains("stream_session_over"));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert!(world.until(|| async { records().len() == 2 }).await, "{}", world.logged());
    for record in records() {
        assert_eq!((&record["path"], &record["status"]), (&"/api/busy".into(), &200.into()), "{record}");
        assert_eq!(record["route"], "/api/*");
    }
    assert!(!world.logged().contains("?secret"));
}

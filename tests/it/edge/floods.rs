//! Clients that send more than anyone needs, before a real process whose memory stays what it was. std:183, std:187
//!
//! No times are compared: each flood is bytes in, and what is looked at is what they cost and that others are served.

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, Outcome, PING, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, request,
};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;
use crate::support::world::World;

/// ENHANCE_YOUR_CALM (RFC 9113 §7).
const CALM: u32 = 11;
/// What a flood may leave behind: far less than what it sends, and room for pages that the allocator keeps.
const SLACK: usize = 12 * 1024;

async fn world(upstream: &Upstream, limits: &str) -> World {
    World::plan().upstream(&format!("http://{}", upstream.address)).yaml(limits).in_a_process().start().await
}

/// What the process holds once it has served a few requests of both kinds.
async fn warm(world: &World) -> usize {
    for _ in 0..20 {
        let mut client = Frames::connect(world.address(), &[]).await;
        client.open(1, END_STREAM, &request("GET", "/", &[])).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(200));
    }
    is_served(world).await;
    world.resident()
}

async fn is_served(world: &World) {
    let answer = Raw::connect(world.address()).await.call("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(answer.status, 200);
}

#[track_caller]
fn is_flat(world: &World, before: usize, what: &str) {
    let after = world.resident();
    assert!(after < before + SLACK, "{what}: {before} KiB, then {after} KiB");
}

// CVE-2023-44487
#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "limits: { http2_streams: 10 }").await;
    let before = warm(&world).await;
    let served = upstream.requests();
    // All in one: most are reset before anyone has seen them.
    let mut burst = Vec::new();
    for number in 0..5_000 {
        burst.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            2 * number + 1,
            &block(&request("GET", "/silent", &[])),
        ));
        burst.extend(frame(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    let mut client = Frames::connect(world.address(), &[]).await;
    client.flood(&burst).await;
    assert_eq!(client.until(GOAWAY).await.map(|frame| frame.code()), Some(CALM));
    assert!(upstream.requests() - served < 100, "{}", upstream.requests() - served);
    // One after the other: each has reached the upstream by then.
    let (mut client, mut opened) = (Frames::connect(world.address(), &[]).await, 0_u32);
    let reason = 'all: loop {
        assert!(opened < 500, "nobody minds");
        let arrived = upstream.requests();
        let stream = 2 * opened + 1;
        client.open(stream, END_STREAM, &request("GET", "/silent", &[])).await;
        opened += 1;
        while upstream.requests() == arrived {
            let next = tokio::time::timeout(std::time::Duration::from_millis(5), client.next()).await;
            if let Ok(next) = next {
                match next {
                    Some(frame) if frame.kind == GOAWAY => break 'all frame.code(),
                    Some(_) => {}
                    None => panic!("closed without a word"),
                }
            }
        }
        client.send(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).await;
    };
    assert_eq!(reason, CALM);
    assert!((40..100).contains(&opened), "{opened}");
    is_served(&world).await;
    is_flat(&world, before, "resets");
}

// CVE-2024-27316
#[tokio::test]
async fn a_head_of_endless_continuations_is_cut() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "").await;
    let before = warm(&world).await;
    let served = upstream.requests();
    let field = block(&[("x-large", "x".repeat(16_000).as_bytes())]);
    for payload in [field.as_slice(), &[]] {
        let mut bytes = frame(HEADERS, 0, 1, &block(&request("GET", "/", &[])));
        for _ in 0..4_000 {
            bytes.extend(frame(CONTINUATION, 0, 1, payload));
        }
        let mut client = Frames::connect(world.address(), &[]).await;
        let taken = client.flood(&bytes).await;
        assert!(payload.is_empty() || taken < bytes.len(), "64 MB were taken");
        let end = client.outcome(1).await;
        assert!(matches!(end, Outcome::GoneAway(_) | Outcome::Closed), "{end:?}");
        is_flat(&world, before, "continuations");
    }
    assert_eq!(upstream.requests(), served);
    is_served(&world).await;
}

// CVE-2019-9512, CVE-2019-9515, CVE-2019-9518
#[tokio::test]
async fn frames_that_say_nothing_are_not_kept() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "").await;
    let before = warm(&world).await;
    for (what, frame) in [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("empty DATA", frame(DATA, 0, 1, &[])),
        ("padded DATA", frame(DATA, 8, 1, &[3, 0, 0, 0])),
        ("DATA of one byte", frame(DATA, 0, 1, b"x")),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())),
        ("unknown", frame(0x77, 0, 0, &[0; 64])),
    ] {
        let mut client = Frames::connect(world.address(), &[]).await;
        client.open(1, 0, &request("POST", "/silent", &[])).await;
        // Answers are not read, so a flood ends where nobody takes more; or the other side ends it.
        let sent = client.flood(&frame.repeat(40 * 1024 * 1024 / frame.len())).await;
        assert!(sent > 0);
        is_flat(&world, before, what);
        is_served(&world).await;
    }
}

// CVE-2019-9511, CVE-2019-9517
#[tokio::test]
async fn responses_that_nobody_takes_are_given_up() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "limits: { idle_timeout: 1s }").await;
    let before = warm(&world).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        // No window at all, for a hundred responses of 300 KB each.
        let mut client = Frames::connect(world.address(), &[(4, 0)]).await;
        for number in 0..100 {
            client.open(2 * number + 1, END_STREAM, &request("GET", "/large", &[])).await;
        }
        let mut reset = 0;
        while reset < 100 {
            let frame = client.next().await.expect("the connection goes on");
            assert!(frame.kind != DATA || frame.payload.is_empty());
            reset += usize::from(frame.kind == RST_STREAM);
        }
        drop(client);
        is_served(&world).await;
        held.push(world.resident());
    }
    // While they wait, each holds what pingora reads ahead of a client: a few pieces of 64 KiB. Then nothing is left
    // that the next hundred could not use.
    assert!(held[0] < before + 100 * 450, "{before} KiB, then {held:?}");
    assert!(held[3] < held[0] + SLACK, "{before} KiB, then {held:?}");
}

#[tokio::test]
async fn half_heads_and_large_heads_cost_what_they_are_and_no_more() {
    let upstream = Upstream::start().await;
    let world = world(&upstream, "limits: { head_bytes: 16KiB, uri_bytes: 8KiB, cookie_bytes: 8KiB }").await;
    let before = warm(&world).await;
    let mut clients = Vec::new();
    for _ in 0..1_000 {
        let mut client = Raw::connect(world.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").await;
        clients.push(client);
    }
    is_served(&world).await;
    let idle = world.resident() - before.min(world.resident());
    // DESIGN's 12 KB for an idle connection, and as much again for what it has sent.
    assert!(idle < 24 * 1_000, "{idle} KiB for 1,000 connections in half a head");
    drop(clients);
    is_served(&world).await;
    let before = world.resident();
    // Cookie bombs: refused, or cut at the limit, 200 at a time.
    let bomb = format!("GET / HTTP/1.1\r\nHost: localhost\r\nCookie: {}", "c=1; ".repeat(40_000));
    for _ in 0..5 {
        let attacks = (0..200).map(|_| async {
            let mut client = Raw::connect(world.address()).await;
            drop(tokio::io::AsyncWriteExt::write_all(&mut client.tcp, bomb.as_bytes()).await);
            client
        });
        let clients = futures_util::future::join_all(attacks).await;
        is_served(&world).await;
        drop(clients);
    }
    is_flat(&world, before, "cookie bombs");
}

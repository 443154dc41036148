//! How much of a request's body is taken, and how fast it must come. std:183, std:186

use std::time::{Duration, Instant};

use bearward::edge::settings::FastPath;
use tokio::io::AsyncWriteExt as _;

use crate::support::frames::{DATA, END_STREAM, Frames, Outcome, frame, request};
use crate::support::gateway::{Gateway, Wanted};
use crate::support::raw::Raw;
use crate::support::scripted::{Scripted, Then, script};
use crate::support::upstream::Upstream;

async fn gateway(upstream: std::net::SocketAddr, http2: bool) -> Gateway {
    let mut wanted = Wanted::before(upstream);
    wanted.upstream.http2 = http2;
    wanted.limits.body_bytes = Some(1_000);
    wanted.limits.idle_timeout = Duration::from_secs(1);
    wanted.limits.body_rate = 100;
    wanted.start().await
}

fn sized(length: usize, sent: usize) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "b".repeat(sent))
}

fn chunks(sizes: &[usize]) -> String {
    let mut text = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for size in sizes {
        text.push_str(&format!("{size:x}\r\n{}\r\n", "b".repeat(*size)));
    }
    text
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_reaches_no_upstream() {
    let upstream = Upstream::start().await;
    let gateway = gateway(upstream.address, false).await;
    for (length, status) in [(1_000, 200), (1_001, 413)] {
        let mut client = Raw::connect(gateway.address).await;
        assert_eq!(client.call(sized(length, length)).await.status, status, "{length}");
        // Told without a byte of it, too.
        let expect = sized(length, 0).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let told = Raw::connect(gateway.address).await.call(expect).await;
        assert_eq!(told.status, if status == 200 { 100 } else { 413 });
        let length = length.to_string();
        let mut client = Frames::connect(gateway.address, &[]).await;
        let fields = [("content-length", length.as_str())];
        client.open(1, 0, &request("POST", "/x", &fields)).await;
        if status == 200 {
            client.send(frame(DATA, END_STREAM, 1, &[b'b'; 1_000])).await;
        }
        assert_eq!(client.outcome(1).await, Outcome::Status(status), "{length}");
    }
    // The one that waits for its 100 has come there too, without its body.
    assert!(upstream.requests() <= 3, "{}", upstream.requests());
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("{class=\"4xx\",outcome=\"body_too_large\"} 3"), "{metrics}");
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_cut_and_its_upstream_sees_no_whole_request() {
    for (http2, from_http2) in [(false, false), (true, false), (false, true), (true, true)] {
        let upstream = Upstream::start().await;
        let gateway = gateway(upstream.address, http2).await;
        if from_http2 {
            let mut client = Frames::connect(gateway.address, &[]).await;
            client.open(1, 0, &request("POST", "/x", &[])).await;
            client.send(frame(DATA, 0, 1, &[b'b'; 600])).await;
            client.send(frame(DATA, 0, 1, &[b'b'; 600])).await;
            assert_eq!(client.outcome(1).await, Outcome::Status(413), "{http2}");
            // The connection goes on.
            client.open(3, END_STREAM, &request("GET", "/y", &[])).await;
            assert_eq!(client.outcome(3).await, Outcome::Status(200), "{http2}");
        } else {
            let mut client = Raw::connect(gateway.address).await;
            let answer = client.call(chunks(&[600, 600])).await;
            assert_eq!((answer.status, &answer.json()["code"]), (413, &"body_too_large".into()), "{http2}");
            assert!(client.is_closed().await);
            let mut client = Raw::connect(gateway.address).await;
            let whole = client.call(format!("{}0\r\n\r\n", chunks(&[500, 500]))).await;
            assert_eq!(whole.json()["length"], 1_000, "{http2}");
        }
    }
}

#[tokio::test]
async fn a_client_in_the_middle_of_a_large_body_still_hears_why() {
    let upstream = Upstream::start().await;
    let gateway = gateway(upstream.address, false).await;
    for head in [sized(4_000_000, 0), chunks(&[])] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(head).await;
        let piece = format!("fa00\r\n{}\r\n", "b".repeat(64_000));
        for _ in 0..60 {
            // A reset would overtake the answer.
            client.send(&piece).await;
        }
        assert_eq!(client.response().await.status, 413);
    }
}

#[tokio::test]
async fn an_upstream_of_a_cut_body_is_not_used_again() {
    let upstream = Scripted::start(vec![
        script(&[], Then::Silence),
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], Then::Keep),
    ])
    .await;
    let gateway = gateway(upstream.address, false).await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call(chunks(&[600, 600]).replace("/x", "/0")).await.status, 413);
    upstream.left().await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await.body, b"ok");
    assert_eq!(upstream.connections(), 2);
}

// std:127
#[tokio::test]
async fn a_body_is_never_sent_a_second_time() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // Each connection answers once, and closes when it is asked again.
    let upstream = Scripted::start(vec![script(&[&format!("{{first}}{ok}")], Then::Keep)]).await;
    let gateway = gateway(upstream.address, false).await;
    for (method, sent) in [("PUT", 2), ("POST", 4)] {
        let request = sized(600, 600).replace("POST /x", &format!("{method} /0"));
        assert_eq!(Raw::connect(gateway.address).await.call(&request).await.status, 200);
        assert_eq!(Raw::connect(gateway.address).await.call(&request).await.status, 502);
        assert_eq!(upstream.heads().len(), sent, "{method}");
    }
}

#[tokio::test]
async fn a_slow_body_is_given_up_and_a_steady_one_is_not() {
    let upstream = Upstream::start().await;
    let gateway = gateway(upstream.address, false).await;
    for drip in [true, false] {
        let start = Instant::now();
        let mut client = Raw::connect(gateway.address).await;
        client.send(sized(500, 0)).await;
        // The whole would take minutes, and no pause is a long one.
        for _ in 0..500 {
            if !drip || client.tcp.write_all(b"b").await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let mut byte = [0];
            if tokio::time::timeout(Duration::from_millis(1), client.tcp.peek(&mut byte)).await.is_ok() {
                break;
            }
        }
        let answer = client.response().await;
        assert_eq!((answer.status, &answer.json()["code"]), (408, &"body_timeout".into()), "{drip}");
        assert!(client.is_closed().await && start.elapsed() < Duration::from_secs(15), "{drip}");
    }
    // Longer than any pause, at a rate that is enough.
    let mut client = Raw::connect(gateway.address).await;
    client.send(sized(1_000, 0)).await;
    for _ in 0..10 {
        client.send("b".repeat(100)).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(client.response().await.json()["length"], 1_000);
}

#[tokio::test]
async fn an_http2_client_that_sends_no_body_is_to_blame_and_not_the_upstream() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.read_timeout = Duration::from_millis(400);
    let gateway = wanted.start().await;
    let mut client = Frames::connect(gateway.address, &[]).await;
    client.open(1, 0, &request("POST", "/x", &[])).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(408));
    client.open(3, END_STREAM, &request("GET", "/silent", &[])).await;
    assert_eq!(client.outcome(3).await, Outcome::Status(504));
}

#[tokio::test]
async fn a_route_may_have_a_limit_of_its_own() {
    let world = crate::support::world::World::plan()
        .yaml("limits: { body_bytes: 10 }")
        .routes(
            "  - { path: /upload/*, upstream: UPSTREAM, auth: none, body_bytes: 1KiB }\n  \
             - { path: /*, upstream: UPSTREAM, auth: none }\n",
        )
        .start()
        .await;
    for (path, length, status) in
        [("/upload/a", 1_024, 200), ("/upload/a", 1_025, 413), ("/a", 10, 200), ("/a", 11, 413)]
    {
        let mut client = Raw::connect(world.address()).await;
        let request = sized(length, length).replace("/x", path).replace("Host: a", "Host: localhost");
        assert_eq!(client.call(request).await.status, status, "{path} {length}");
    }
}

// Ordinary requests have no body; that both paths agree is for `fast_path::differential`.
#[tokio::test]
async fn the_fast_path_takes_no_body_at_all() {
    let upstream = Upstream::start().await;
    for fast_path in [FastPath::On, FastPath::Off] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        wanted.limits.body_bytes = Some(0);
        let gateway = wanted.start().await;
        let mut client = Raw::connect(gateway.address).await;
        assert_eq!(client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        let with = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb";
        assert_eq!(client.call(with).await.status, 413);
    }
}

//! What clients may send and how long they may take. std:183, std:186

use std::time::{Duration, Instant};

use bearward::edge::settings::FastPath;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, SETTINGS, block, frame, request,
};
use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn each_limit_has_an_answer_of_its_own() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let status = async |request: String| {
        let mut client = Raw::connect(gateway.address).await;
        let response = client.call(request).await;
        assert!(client.is_closed().await);
        response.status
    };
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "c".repeat(25_000))).await,
        431
    );
    assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(60))).await, 431);
    assert_eq!(status(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "u".repeat(4_000))).await, 414);
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n".to_owned()).await, 400);
    assert_eq!(status("GET / HTTP/1.1\nHost: a\n\n".to_owned()).await, 400);
    assert_eq!(status("\u{16}\u{3}\u{1}\u{2}\r\n".to_owned()).await, 400);
    assert_eq!(upstream.requests(), 0);
    assert!(gateway.metrics().await.contains("{class=\"4xx\",outcome=\"head_too_large\"} 2"));
}

// std:183, threat T23, CVE-2026-47774
#[tokio::test]
async fn cookies_have_a_limit_of_their_own_whatever_the_version() {
    let upstream = Upstream::start().await;
    for fast_path in [FastPath::On, FastPath::Off] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        let gateway = wanted.start().await;
        let large = format!("a={}", "c".repeat(15_998));
        let fifty = (0..50).map(|number| format!("c{number}=1")).collect::<Vec<_>>();
        for (cookies, status) in [
            (vec![large.clone()], 200),
            (vec![large, "b".to_owned()], 431),
            (vec![fifty.join("; ")], 200),
            (fifty.clone(), 200),
            (vec![format!("{};", fifty.join(";"))], 431),
            (vec![fifty.join("; "), "one=more".to_owned()], 431),
        ] {
            for line in ["GET / HTTP/1.1", "PUT / HTTP/1.1\r\nContent-Length: 0"] {
                let fields: String = cookies.iter().map(|cookie| format!("Cookie: {cookie}\r\n")).collect();
                let mut client = Raw::connect(gateway.address).await;
                let answer = client.call(format!("{line}\r\nHost: a\r\n{fields}\r\n")).await;
                assert_eq!(answer.status, status, "{line} {} {:.20}", cookies.len(), cookies[0]);
                if status == 431 {
                    assert_eq!(answer.json()["code"], "cookies_too_large");
                    assert!(client.is_closed().await);
                }
            }
            let client = Client::builder(TokioExecutor::new())
                .http2_only(true)
                .build::<_, Full<Bytes>>(HttpConnector::new());
            let mut request = Request::get(format!("http://{}/", gateway.address));
            for cookie in &cookies {
                request = request.header("cookie", cookie);
            }
            let answer = client.request(request.body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(answer.status(), status, "HTTP/2 {} {:.20}", cookies.len(), cookies[0]);
        }
    }
}

#[tokio::test]
async fn a_slow_head_is_given_up_on_the_first_and_on_a_later_request() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.head_timeout = Duration::from_millis(300);
    let gateway = wanted.start().await;
    for earlier in [0, 1] {
        let mut client = Raw::connect(gateway.address).await;
        for _ in 0..earlier {
            assert_eq!(client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
        }
        let start = Instant::now();
        let trickle = async {
            for byte in b"GET / HTTP/1.1\r\nX-Slow: " {
                client.send([*byte]).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            client.response().await
        };
        assert_eq!(trickle.await.status, 408);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_last_request_it_may_carry() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.requests_per_connection = 3;
    // Longer than any test waits.
    wanted.limits.idle_timeout = Duration::from_secs(600);
    let gateway = wanted.start().await;
    let (ordinary, other) =
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb");
    let ours = "GET /oauth2/session HTTP/1.1\r\nHost: a\r\n\r\n";
    for requests in [[ordinary; 3], [other; 3], [other, ordinary, ours], [ordinary, ordinary, other]] {
        let mut client = Raw::connect(gateway.address).await;
        for (number, request) in requests.into_iter().enumerate() {
            let answer = client.call(request).await;
            assert!(matches!(answer.status, 200 | 401), "{answer:?}");
            assert_eq!(answer.all("connection") == ["close"], number == 2, "{requests:?} {number}");
        }
        assert!(client.is_closed().await, "{requests:?}");
    }
    // HTTP/2: those that are under way are finished.
    let mut client = Frames::connect(gateway.address, &[]).await;
    for stream in [1, 3, 5] {
        client.open(stream, END_STREAM, &request("GET", "/", &[])).await;
        assert_eq!(client.outcome(stream).await, Outcome::Status(200));
    }
    while client.next().await.is_some() {}
}

#[tokio::test]
async fn an_http2_client_is_told_what_may_be_open_and_how_large_a_head_may_be() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.http2_streams = 7;
    let gateway = wanted.start().await;
    let mut client = Frames::connect(gateway.address, &[]).await;
    let settings = client.until(SETTINGS).await.unwrap().payload;
    let said = |name: u16, value: u32| {
        settings.chunks(6).any(|one| one[..2] == name.to_be_bytes() && one[2..] == value.to_be_bytes())
    };
    assert!(said(3, 7) && said(6, 20_000), "{settings:?}");
    let large = "l".repeat(12_000);
    let fields = [("x-one", large.as_str()), ("x-two", large.as_str())];
    let head = block(&request("GET", "/", &fields));
    client.send(frame(HEADERS, END_STREAM, 1, &head[..16_000])).await;
    client.send(frame(CONTINUATION, END_HEADERS, 1, &head[16_000..])).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(431));
    for number in 0..8 {
        client.open(2 * number + 3, END_STREAM, &request("GET", "/silent", &[])).await;
    }
    // REFUSED_STREAM (RFC 9113 §8.7): it may be tried again.
    assert_eq!(client.outcome(17).await, Outcome::Reset(7));
}

#[tokio::test]
async fn a_client_has_a_limit_of_its_own_and_a_trusted_proxy_has_none() {
    let upstream = Upstream::start().await;
    for (trusted, third) in [(None, 429), (Some("127.0.0.0/8"), 200)] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.limits.connections_per_client = Some(2);
        wanted.forwarding.trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let gateway = wanted.start().await;
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut first = Raw::connect(gateway.address).await;
        let mut second = Raw::connect(gateway.address).await;
        assert_eq!((first.call(request).await.status, second.call(request).await.status), (200, 200));
        let mut next = Raw::connect(gateway.address).await;
        // One that is refused is told so unasked.
        let answer = if third == 200 { next.call(request).await } else { next.response().await };
        assert_eq!(answer.status, third);
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_given_up_whatever_the_request_wants_to_become() {
    // std:186: `Upgrade` must not buy patience that costs a seat.
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.head_timeout = Duration::from_millis(300);
    wanted.limits.idle_timeout = Duration::from_millis(500);
    let gateway = wanted.start().await;
    for (fields, status) in [("", 408), ("Upgrade: x\r\n", 408), ("Upgrade: websocket\r\n", 400)] {
        let head = format!("GET /oauth2/login HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 5\r\n\r\n");
        let start = Instant::now();
        let mut client = Raw::connect(gateway.address).await;
        assert_eq!(client.call(&head).await.status, status, "{head}");
        assert!(client.is_closed().await && start.elapsed() < Duration::from_secs(5), "{head}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_without_a_word() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.idle_timeout = Duration::from_millis(200);
    let gateway = wanted.start().await;
    let mut silent = Raw::connect(gateway.address).await;
    let mut used = Raw::connect(gateway.address).await;
    let kept = "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=600\r\n\r\n";
    assert_eq!(used.call(kept).await.status, 200);
    let start = Instant::now();
    assert!(used.is_closed().await && silent.is_closed().await);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_a_seat_is_free_again_at_once() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.connections = 2;
    let gateway = wanted.start().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = Raw::connect(gateway.address).await;
    let mut second = Raw::connect(gateway.address).await;
    assert_eq!((first.call(request).await.status, second.call(request).await.status), (200, 200));
    let mut third = Raw::connect(gateway.address).await;
    assert_eq!(third.response().await.status, 503);
    drop(first);
    loop {
        let mut next = Raw::connect(gateway.address).await;
        let mut answer = [0; 1];
        // Refused connections are answered unasked; one with a seat waits for a request.
        let unasked = tokio::time::timeout(Duration::from_millis(50), next.tcp.peek(&mut answer)).await;
        if unasked.is_err() {
            assert_eq!(next.call(request).await.status, 200);
            break;
        }
    }
}

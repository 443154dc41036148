//! Upstreams that fail.

use std::time::Duration;

use crate::support::gateway::{Wanted, endpoint};
use crate::support::raw::Raw;
use crate::support::session::{NEXT_COOKIE, with_session};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_and_the_cookie_rides_on_it() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Wanted::before(gone).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let answer = client.call(with_session("POST /api/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["code"], "upstream_unreachable");
    assert!(answer.all("set-cookie")[0].starts_with(NEXT_COOKIE));
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("{class=\"5xx\",outcome=\"upstream_unreachable\"} 1"), "{metrics}");
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_a_504() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.read_timeout = Duration::from_millis(200);
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    let answer = client.call(with_session("GET /api/silent HTTP/1.1\r\nHost: a\r\n")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (504, &"upstream_timeout".into()));
    assert_eq!(answer.all("set-cookie").len(), 1);
    // std:127: it was sent once.
    let mut client = Raw::connect(gateway.address).await;
    let request = "POST /silent HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(client.call(request).await.status, 504);
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn an_upstream_is_found_by_its_name() {
    // `localhost` is two addresses on many machines; the upstream listens on one of them.
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.endpoints = vec![endpoint(&format!("http://localhost:{}", upstream.address.port()))];
    let gateway = wanted.start().await;
    let address = gateway.address;
    let calls = (0..20).map(|_| async move {
        let mut client = Raw::connect(address).await;
        client.call("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok").await.status
    });
    assert_eq!(futures_util::future::join_all(calls).await, [200; 20]);
    assert_eq!(upstream.requests(), 20);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_after_100_is_still_a_502() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Wanted::before(listener.local_addr().unwrap()).start().await;
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let mut head = [0; 4096];
            drop(tokio::io::AsyncReadExt::read(&mut tcp, &mut head).await);
            drop(tokio::io::AsyncWriteExt::write_all(&mut tcp, b"HTTP/1.1 100 Continue\r\n\r\n").await);
        }
    });
    let mut client = Raw::connect(gateway.address).await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(client.call(request).await.status, 100);
    client.send("o").await;
    assert_eq!(client.response().await.status, 502);
}

//! Shutting down without losing what is under way.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn what_is_under_way_finishes_and_idle_connections_go_at_once() {
    let upstream = Upstream::start().await;
    let mut gateway = Wanted::before(upstream.address).start().await;
    let mut idle = Raw::connect(gateway.address).await;
    assert_eq!(idle.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    let mut busy = Raw::connect(gateway.address).await;
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while upstream.requests() < 2 {
        tokio::task::yield_now().await;
    }
    let address = gateway.address;
    let drain = tokio::spawn(async move { gateway.drain().await });
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!drain.is_finished());
    upstream.permit();
    let answer = busy.response().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"slow".as_slice()));
    assert_eq!(answer.all("connection"), ["close"]);
    assert_eq!(drain.await.unwrap().cut, 0);
}

#[tokio::test]
async fn with_nothing_left_the_drain_is_over_at_once() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.workers = 2;
    let mut gateway = wanted.start().await;
    let start = Instant::now();
    assert_eq!(gateway.drain().await.cut, 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_does_not_end_is_cut_at_the_limit() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.drain.limit = Duration::from_millis(300);
    let mut gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while upstream.requests() < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.drain().await.cut, 1);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_lingering_connection_may_send_one_more_request() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.drain.linger = Duration::from_secs(3);
    let mut gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    let mut other = Raw::connect(gateway.address).await;
    assert_eq!(other.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    let address = gateway.address;
    let drain = tokio::spawn(async move { gateway.drain().await });
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let last = client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((last.status, last.all("connection")), (200, vec!["close"]));
    assert!(client.is_closed().await);
    // An answer of ours says so too.
    let last = other.call("GET /oauth2/session HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!((last.status, last.all("connection")), (401, vec!["close"]));
    assert!(other.is_closed().await);
    assert_eq!(drain.await.unwrap().cut, 0);
}

#[tokio::test]
async fn an_idle_http2_connection_does_not_hold_a_drain() {
    let upstream = Upstream::start().await;
    let mut gateway = Wanted::before(upstream.address).start().await;
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(tcp);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{}/a", gateway.address));
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
    assert_eq!(gateway.drain().await.cut, 0);
    // It was told, and not cut off.
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_http2_client_that_heeds_nothing_is_closed_before_the_limit() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.drain.limit = Duration::from_secs(60);
    let mut gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    // The preface and an empty SETTINGS frame; no PING is ever answered.
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // The gateway's own SETTINGS: it has taken the connection for HTTP/2.
    client.tcp.readable().await.unwrap();
    let start = Instant::now();
    assert_eq!(gateway.drain().await.cut, 0);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

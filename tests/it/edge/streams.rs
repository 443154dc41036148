//! Responses that go on: they end with their session, and with nothing else. std:165, T19

use std::time::Duration;

use bearward::edge::settings::FastPath;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::gateway::{Gateway, Wanted};
use crate::support::raw::Raw;
use crate::support::session::{session_cookie, with_session};
use crate::support::upstream::Upstream;

/// What is promised, and as much again for a machine that has other things to do.
const SOON: Duration = Duration::from_secs(10);

async fn gateway(upstream: &Upstream, fast_path: FastPath) -> Gateway {
    let mut wanted = Wanted::before(upstream.address);
    wanted.fast_path = fast_path;
    wanted.start().await
}

fn get(path: &str) -> String {
    with_session(&format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n"))
}

async fn is_closed_soon(client: &mut Raw) -> bool {
    timeout(SOON, client.is_closed()).await.unwrap_or(false)
}

async fn websocket(gateway: &Gateway, path: &str) -> WebSocketStream<TcpStream> {
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let mut request = format!("ws://app.example{path}").into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
    request.headers_mut().insert("cookie", session_cookie().parse().unwrap());
    tokio_tungstenite::client_async(request, tcp).await.unwrap().0
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>) {
    socket.send(Message::text("there")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("there"));
}

#[tokio::test]
async fn events_end_with_their_session_and_the_upstream_is_told() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, fast_path).await;
        let mut client = Raw::connect(gateway.address).await;
        client.send(get("/api/sse")).await;
        upstream.permit();
        client.until("data: 0\n\n").await;
        let mut open_to_all = Raw::connect(gateway.address).await;
        open_to_all.send("GET /busy HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        open_to_all.until("data: busy\n\n").await;
        upstream.has_open(2).await;
        // Longer than it takes to look at one: what lives goes on.
        sleep(Duration::from_millis(2500)).await;
        upstream.permit();
        client.until("data: 1\n\n").await;
        gateway.end_session();
        assert!(is_closed_soon(&mut client).await, "{fast_path:?}");
        upstream.has_open(1).await;
        open_to_all.until("data: busy\n\n").await;
        let refused = Raw::connect(gateway.address).await.call(get("/api/sse")).await;
        assert_eq!(refused.status, 401);
        let metrics = gateway.metrics().await;
        let line = "http_requests_total{class=\"2xx\",outcome=\"stream_session_over\"} 1";
        assert!(metrics.contains(line), "{fast_path:?}: {metrics}");
    }
}

#[tokio::test]
async fn a_stream_that_never_pauses_ends_too() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, fast_path).await;
        let mut client = Raw::connect(gateway.address).await;
        client.send(get("/api/busy")).await;
        client.until("data: busy\n\n").await;
        gateway.end_session();
        let ended = timeout(SOON, async { while !client.is_closed().await {} }).await;
        assert!(ended.is_ok(), "{fast_path:?}");
        upstream.has_open(0).await;
    }
}

#[tokio::test]
async fn a_request_that_still_waits_for_its_response_ends_too() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, fast_path).await;
        let mut client = Raw::connect(gateway.address).await;
        client.send(get("/api/silent")).await;
        upstream.has_open(1).await;
        gateway.end_session();
        assert!(is_closed_soon(&mut client).await, "{fast_path:?}");
        upstream.has_open(0).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_no_stream_open() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Upstream::start().await;
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        // Longer than the test has.
        wanted.limits.idle_timeout = Duration::from_secs(600);
        let gateway = wanted.start().await;
        let mut client = Raw::connect(gateway.address).await;
        client.send(get("/api/endless")).await;
        upstream.has_open(1).await;
        // Until every buffer on the way is full.
        upstream.is_stuck().await;
        gateway.end_session();
        upstream.has_open(0).await;
    }
}

#[tokio::test]
async fn a_websocket_ends_with_its_session() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, FastPath::On).await;
    let mut socket = websocket(&gateway, "/api/ws").await;
    let mut open_to_all = websocket(&gateway, "/ws").await;
    echoes(&mut socket).await;
    sleep(Duration::from_millis(2500)).await;
    echoes(&mut socket).await;
    gateway.end_session();
    let end = timeout(SOON, socket.next()).await.expect("it is closed");
    assert!(!matches!(end, Some(Ok(Message::Text(_) | Message::Binary(_)))), "{end:?}");
    upstream.has_open(1).await;
    echoes(&mut open_to_all).await;
    drop(open_to_all);
    upstream.has_open(0).await;
    let metrics = gateway.metrics().await;
    let line = "http_requests_total{class=\"1xx\",outcome=\"stream_session_over\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn of_an_http2_connection_only_the_sessions_own_streams_end() {
    // RFC 9113 §5.4.2
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, FastPath::On).await;
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(HttpConnector::new());
    let ask = |path: &str, cookie: &str| {
        let request = Request::get(format!("http://{}{path}", gateway.address)).header("cookie", cookie);
        client.request(request.body(Full::default()).unwrap())
    };
    let cookie = session_cookie();
    let mut ending = ask("/api/sse", &cookie).await.unwrap().into_body();
    let mut staying = ask("/sse", "a=1").await.unwrap().into_body();
    upstream.permit();
    upstream.permit();
    for body in [&mut ending, &mut staying] {
        body.frame().await.unwrap().unwrap();
    }
    gateway.end_session();
    let end = timeout(SOON, ending.frame()).await.expect("it is reset").unwrap();
    let error = end.unwrap_err();
    let reset = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<h2::Error>());
    assert_eq!(reset.and_then(h2::Error::reason), Some(h2::Reason::CANCEL), "{error:?}");
    upstream.has_open(1).await;
    upstream.permit();
    assert_eq!(staying.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    // The connection itself has not ended.
    assert_eq!(ask("/api/a", &cookie).await.unwrap().status(), 401);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("outcome=\"stream_session_over\"} 1"), "{metrics}");
}

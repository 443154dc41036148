//! TLS, HTTP/2 and WebSockets.

use std::sync::Arc;
use std::time::Duration;

use bearward::base::tls;
use bearward::edge::settings::TlsFiles;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::gateway::{Wanted, certificate};
use crate::support::raw::Raw;
use crate::support::session::{NEXT_COOKIE, session_cookie, with_session};
use crate::support::upstream::Upstream;

async fn json<C>(client: &Client<C, Full<Bytes>>, request: Request<Full<Bytes>>) -> serde_json::Value
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let response = client.request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn http2_without_tls_is_spoken_to_those_who_begin_with_it() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(HttpConnector::new());
    let request = Request::post(format!("http://{}/api/a?b", gateway.address))
        .header("cookie", "one=1")
        .header("origin", "https://app.example")
        .header("cookie", session_cookie())
        .header("cookie", "two=2")
        .body(Full::new(Bytes::from(vec![b'x'; 300_000])))
        .unwrap();
    let seen = json(&client, request).await;
    assert_eq!((&seen["uri"], &seen["length"]), (&"/api/a?b".into(), &300_000.into()));
    // RFC 9113 §8.2.3
    assert_eq!(seen["headers"]["cookie"], serde_json::json!(["one=1; two=2"]));
    assert_eq!(seen["headers"]["authorization"], serde_json::json!(["Bearer of-the-session"]));
    assert_eq!(seen["headers"]["host"], serde_json::json!([gateway.address.to_string()]));
    assert!(seen["headers"]["via"][0].as_str().unwrap().starts_with("2 bearward-"));
    for (path, expected) in [("/a//b", 400), ("/oauth2/nothing", 404), ("/oauth2/session", 401)] {
        let request =
            Request::get(format!("http://{}{path}", gateway.address)).body(Full::default()).unwrap();
        assert_eq!(client.request(request).await.unwrap().status(), expected, "{path}");
    }
    let long = Request::get(format!("http://{}/{}", gateway.address, "u".repeat(5_000)));
    assert_eq!(client.request(long.body(Full::default()).unwrap()).await.unwrap().status(), 414);
}

#[tokio::test]
async fn events_are_not_held_back_over_http2_either() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(HttpConnector::new());
    let request = Request::get(format!("http://{}/sse", gateway.address)).body(Full::default()).unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    for number in 0..3 {
        upstream.permit();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {number}\n\n"));
    }
    assert_eq!(body.collect().await.unwrap().to_bytes(), "");
}

#[tokio::test]
async fn an_http2_connection_drains() {
    let upstream = Upstream::start().await;
    let mut gateway = Wanted::before(upstream.address).start().await;
    let client =
        Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(HttpConnector::new());
    let slow = Request::get(format!("http://{}/slow", gateway.address)).body(Full::default()).unwrap();
    let pending = tokio::spawn(client.request(slow));
    while upstream.requests() < 1 {
        tokio::task::yield_now().await;
    }
    let drain = tokio::spawn(async move { gateway.drain().await });
    upstream.permit();
    let answer = pending.await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "slow");
    assert_eq!(drain.await.unwrap().cut, 0);
}

#[tokio::test]
async fn over_tls_both_versions_are_spoken_by_alpn() {
    let (_folder, cert, key) = certificate();
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.tls = Some(TlsFiles { cert: cert.clone(), key });
    let gateway = wanted.start().await;
    for (h2, via) in [(true, "2 "), (false, "1.1 ")] {
        let config = Arc::unwrap_or_clone(tls::client_config(Some(&cert)).unwrap());
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config).https_only();
        let connector = if h2 { builder.enable_http2().build() } else { builder.enable_http1().build() };
        let client = Client::builder(TokioExecutor::new()).http2_only(h2).build(connector);
        for _ in 0..2 {
            let request = Request::post(format!("https://localhost:{}/a", gateway.address.port()))
                .body(Full::new(Bytes::from(vec![b'x'; 300_000])))
                .unwrap();
            let seen = json(&client, request).await;
            assert_eq!(seen["length"], 300_000);
            assert_eq!(seen["headers"]["x-forwarded-proto"], serde_json::json!(["https"]));
            assert!(seen["headers"]["via"][0].as_str().unwrap().starts_with(via));
        }
    }
}

#[tokio::test]
async fn a_client_that_never_speaks_tls_is_closed() {
    let (_folder, cert, key) = certificate();
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.tls = Some(TlsFiles { cert, key });
    wanted.limits.handshake_timeout = Duration::from_millis(200);
    let gateway = wanted.start().await;
    assert!(Raw::connect(gateway.address).await.is_closed().await);
}

#[tokio::test]
async fn an_upstream_may_speak_http2() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.http2 = true;
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    for _ in 0..2 {
        let seen = client.call(with_session("GET /api/a HTTP/1.1\r\nHost: app.example\r\n")).await.json();
        assert_eq!(
            (&seen["version"], &seen["uri"]),
            (&"HTTP/2.0".into(), &"http://app.example/api/a".into())
        );
        assert_eq!(seen["headers"]["authorization"], serde_json::json!(["Bearer of-the-session"]));
    }
}

#[tokio::test]
async fn a_websocket_echoes_and_its_handshake_carries_the_cookie() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.idle_timeout = Duration::from_millis(300);
    wanted.upstream.read_timeout = Duration::from_millis(300);
    let gateway = wanted.start().await;
    let tcp = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
    let mut request = "ws://app.example/api/ws".into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
    request.headers_mut().insert("cookie", session_cookie().parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
    assert!(answer.headers()["set-cookie"].to_str().unwrap().starts_with(NEXT_COOKIE));
    for number in 0..20 {
        let message = Message::text(format!("message {number}"));
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    let large = Message::binary(vec![7; 200_000]);
    socket.send(large.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), large);
    // Longer than any silence that a request is allowed.
    tokio::time::sleep(Duration::from_millis(700)).await;
    socket.send(Message::text("still there")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("still there"));
}

// std:119
#[tokio::test]
async fn no_other_upgrade_passes() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n";
    let seen = client.call(request).await.json();
    assert_eq!(seen["headers"]["upgrade"], serde_json::Value::Null);
    assert_eq!(seen["headers"]["http2-settings"], serde_json::Value::Null);
}

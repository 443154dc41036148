//! Responses that go on: they end with their session, and with nothing else. std:165, T19

use std::sync::Arc;
use std::time::{Duration, Instant};

use bearward::base::tls;
use bearward::edge::settings::{FastPath, TlsFiles};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::support::gateway::{Gateway, Wanted, certificate};
use crate::support::raw::Raw;
use crate::support::scripted::{Scripted, Then, script};
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

/// What a client reads before its connection is closed.
async fn last_words(
    socket: &mut WebSocketStream<impl AsyncRead + AsyncWrite + Unpin>,
) -> Option<(u16, String)> {
    loop {
        match timeout(SOON, socket.next()).await.expect("it is closed") {
            Some(Ok(Message::Close(Some(last)))) => return Some((last.code.into(), last.reason.to_string())),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
}

#[tokio::test]
async fn a_websocket_ends_with_its_session_and_is_told_so() {
    // RFC 6455 §5.5.1, §7.4.1
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, FastPath::On).await;
    let mut socket = websocket(&gateway, "/api/ws").await;
    let mut open_to_all = websocket(&gateway, "/ws").await;
    echoes(&mut socket).await;
    sleep(Duration::from_millis(2500)).await;
    echoes(&mut socket).await;
    gateway.end_session();
    assert_eq!(last_words(&mut socket).await, Some((1008, "stream_session_over".to_owned())));
    upstream.has_open(1).await;
    echoes(&mut open_to_all).await;
    drop(open_to_all);
    upstream.has_open(0).await;
    let metrics = gateway.metrics().await;
    let line = "http_requests_total{class=\"1xx\",outcome=\"stream_session_over\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn a_websocket_over_tls_and_one_that_talks_are_told_too() {
    let (_folder, cert, key) = certificate();
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.tls = Some(TlsFiles { cert: cert.clone(), key });
    let gateway = wanted.start().await;
    let config = Arc::unwrap_or_clone(tls::client_config(Some(&cert)).unwrap());
    let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config);
    let client = Client::builder(TokioExecutor::new()).build(connector.https_only().enable_http1().build());
    let request = Request::get(format!("https://localhost:{}/api/ws", gateway.address.port()))
        .header("host", "app.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("origin", "https://app.example")
        .header("cookie", session_cookie());
    let response = client.request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 101);
    let io = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let socket = WebSocketStream::from_raw_socket(io, Role::Client, None).await;
    let (mut send, mut receive) = socket.split();
    // Bytes that nobody reads any more must not overtake the close frame.
    tokio::spawn(async move {
        while send.send(Message::binary(vec![7; 100])).await.is_ok() {
            // Not so many that the tunnel is full: then it is only closed.
            sleep(Duration::from_millis(5)).await;
        }
    });
    receive.next().await.unwrap().unwrap();
    gateway.end_session();
    let close = timeout(SOON, async {
        loop {
            match receive.next().await {
                Some(Ok(Message::Close(last))) => return last.map(|last| u16::from(last.code)),
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{error}"),
                None => return None,
            }
        }
    });
    assert_eq!(close.await.expect("it is closed"), Some(1008));
    upstream.has_open(0).await;
}

#[tokio::test]
async fn in_the_middle_of_a_servers_frame_a_websocket_is_only_closed() {
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let upstream = Scripted::start(vec![script(&[head, "\u{2}\u{7e}\u{1}\u{0}half"], Then::Silence)]).await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    client
        .send(with_session(
            "GET /api/0 HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        ))
        .await;
    client.until("half").await;
    gateway.end_session();
    let mut rest = [0; 64];
    let read = timeout(SOON, client.tcp.read(&mut rest)).await.expect("it is closed");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn a_route_may_limit_how_long_a_response_goes_on() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.stream.limit = Some(Duration::from_secs(3));
    let gateway = wanted.start().await;
    let mut socket = websocket(&gateway, "/api/ws").await;
    // With a session and without, on the fast path and on pingora's.
    let mut clients = Vec::new();
    for head in [get("/api/busy"), get("/busy"), get("/busy").replace("GET", "PUT")] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(head).await;
        client.until("data: busy\n\n").await;
        clients.push(client);
    }
    let begun = Instant::now();
    echoes(&mut socket).await;
    assert_eq!(last_words(&mut socket).await, Some((1001, "stream_limit".to_owned())));
    assert!(begun.elapsed() > Duration::from_secs(2));
    upstream.has_open(0).await;
    for client in &mut clients {
        let ended = timeout(SOON, async { while !client.is_closed().await {} }).await;
        assert!(ended.is_ok());
    }
    // The session lives.
    assert_eq!(Raw::connect(gateway.address).await.call(get("/api/a")).await.status, 200);
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("class=\"2xx\",outcome=\"stream_limit\"} 3"), "{metrics}");
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

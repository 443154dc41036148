//! HTTP/2 on either side: what is converted, what is counted against whom, what an end means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::support::gateway::{Gateway, Wanted};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

const SOON: Duration = Duration::from_secs(20);

/// What a slow reader may cost: buffers of sockets and windows on the way, and none that grows.
const BOUND: usize = 12 * 1024 * 1024;

async fn before(address: SocketAddr, http2: bool) -> Gateway {
    let mut wanted = Wanted::before(address);
    wanted.upstream.http2 = http2;
    wanted.start().await
}

async fn connect(gateway: &Gateway) -> SendRequest<Bytes> {
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    let (send, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    send.ready().await.unwrap()
}

fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://app.example{path}")).body(()).unwrap()
}

async fn whole(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all, body.trailers().await?))
}

/// An upstream that speaks HTTP/2 and does what the path says.
struct H2Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl H2Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(tcp).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        match request.uri().path() {
                            // The last stream that is served; whatever comes later is not.
                            "/goaway" => connection.graceful_shutdown(),
                            "/abrupt" => return,
                            _ => {}
                        }
                        tokio::spawn(act(request, respond));
                    }
                });
            }
        });
        Self { address, connections }
    }
}

async fn act(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let response = |status: u16| Response::builder().status(status).body(()).unwrap();
    match path.as_str() {
        "/refused" => respond.send_reset(Reason::REFUSED_STREAM),
        "/internal" => respond.send_reset(Reason::INTERNAL_ERROR),
        "/broken" => {
            let mut body = respond.send_response(response(200), false).unwrap();
            body.send_data("part".into(), false).unwrap();
            sleep(Duration::from_millis(100)).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        "/early" => {
            // It does not want the rest, and the library says so (RFC 9113 §8.1).
            let mut body = respond.send_response(response(413), false).unwrap();
            body.send_data("enough".into(), true).unwrap();
        }
        "/reads-nothing" => std::future::pending().await,
        "/no-content" => drop(respond.send_response(response(204), true)),
        _ if request.method() == Method::HEAD => drop(respond.send_response(response(200), true)),
        _ => {
            let headers = request.headers().clone();
            let (body, trailers) = whole(request.into_body()).await.unwrap();
            let mut head = response(200);
            let told = |value: Option<&HeaderValue>| value.cloned().unwrap_or(HeaderValue::from_static("-"));
            head.headers_mut().insert("saw-te", told(headers.get("te")));
            head.headers_mut().insert("saw-length", HeaderValue::from(body.len()));
            let trailer = trailers.as_ref().and_then(|trailers| trailers.get("asked"));
            head.headers_mut().insert("saw-trailer", told(trailer));
            let mut send = respond.send_response(head, false).unwrap();
            send.send_data("body".into(), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("told", HeaderValue::from_static("last"));
            send.send_trailers(trailers).unwrap();
        }
    }
}

/// Sends without end, as the windows allow; how much went before nothing more did.
async fn send_until_stuck(mut stream: SendStream<Bytes>) -> usize {
    let mut sent = 0;
    loop {
        stream.reserve_capacity(64 * 1024);
        let capacity = timeout(Duration::from_secs(2), std::future::poll_fn(|cx| stream.poll_capacity(cx)));
        match capacity.await {
            Ok(Some(Ok(amount))) => {
                stream.send_data(vec![b'x'; amount].into(), false).unwrap();
                sent += amount;
                assert!(sent < 2 * BOUND, "a body is kept somewhere on its way");
            }
            Ok(Some(Err(error))) => panic!("{error}"),
            Ok(None) | Err(_) => return sent,
        }
    }
}

#[tokio::test]
async fn trailers_and_te_pass_from_http2_to_http2() {
    let upstream = H2Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut client = connect(&gateway).await;
    let mut ask = request("PUT", "/a");
    ask.headers_mut().insert("te", HeaderValue::from_static("trailers"));
    let (response, mut body) = client.send_request(ask, false).unwrap();
    body.send_data(Bytes::from_static(b"12345"), true).unwrap();
    let response = timeout(SOON, response).await.unwrap().unwrap();
    let (te, length) = (&response.headers()["saw-te"], &response.headers()["saw-length"]);
    assert!(te == "trailers" && length == "5", "{response:?}");
    let (body, trailers) = whole(response.into_body()).await.unwrap();
    assert_eq!((&body[..], &trailers.unwrap()["told"]), (&b"body"[..], &HeaderValue::from_static("last")));
}

// std:118: trailers are never merged into headers.
#[tokio::test]
async fn trailers_end_where_one_side_speaks_http1() {
    let upstream = H2Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut client = Raw::connect(gateway.address).await;
    let chunked = "PUT /a HTTP/1.1\r\nHost: app.example\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\n12345\r\n0\r\nAsked: first\r\n\r\n";
    let response = client.call(chunked).await;
    assert_eq!((response.status, response.all("saw-length")), (200, vec!["5"]));
    assert_eq!((response.all("told"), &response.body[..]), (vec![], &b"body"[..]));
    assert_eq!(response.all("saw-trailer"), ["-"]);
}

#[tokio::test]
async fn an_upstreams_reset_is_an_answer_before_the_head_and_a_reset_after_it() {
    let upstream = H2Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut client = connect(&gateway).await;
    for path in ["/internal", "/refused", "/abrupt"] {
        let (response, _) = client.send_request(request("PUT", path), true).unwrap();
        let response = timeout(SOON, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 502, "{path}");
    }
    let (response, _) = client.send_request(request("GET", "/broken"), true).unwrap();
    let response = timeout(SOON, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    let error = timeout(SOON, whole(response.into_body())).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    // Over HTTP/1.1 it is a response that is not whole.
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("GET /broken HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
    raw.until("part\r\n").await;
    assert!(raw.is_closed().await);
    // The connection of the others lives.
    let (response, _) = client.send_request(request("GET", "/a"), true).unwrap();
    assert_eq!(timeout(SOON, response).await.unwrap().unwrap().status(), 200);
}

// RFC 9113 §6.8
#[tokio::test]
async fn an_upstream_that_goes_away_is_left_without_a_loss() {
    let upstream = H2Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut client = connect(&gateway).await;
    for path in ["/a", "/goaway", "/a", "/goaway", "/a"] {
        let (response, _) = client.send_request(request("GET", path), true).unwrap();
        let response = timeout(SOON, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(whole(response.into_body()).await.unwrap().0, b"body");
        // Until the end of the connection has come through.
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_before_the_end_of_a_body_arrives_and_the_rest_is_not_wanted() {
    let upstream = H2Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut client = connect(&gateway).await;
    let (response, mut body) = client.send_request(request("PUT", "/early"), false).unwrap();
    body.send_data(Bytes::from_static(b"begin"), false).unwrap();
    let response = timeout(SOON, response).await.unwrap().unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(whole(response.into_body()).await.unwrap().0, b"enough");
    // RFC 9113 §8.1: a client that goes on is told to stop, and that it did nothing wrong.
    body.send_data(Bytes::from_static(b"more"), false).unwrap();
    let reason = timeout(SOON, std::future::poll_fn(|cx| body.poll_reset(cx))).await.unwrap().unwrap();
    assert_eq!(reason, Reason::NO_ERROR);
    let (response, _) = client.send_request(request("GET", "/a"), true).unwrap();
    assert_eq!(timeout(SOON, response).await.unwrap().unwrap().status(), 200);
    // Over HTTP/1.1 there is no telling it: the connection ends, so that the rest is no request.
    let mut raw = Raw::connect(gateway.address).await;
    raw.send("PUT /early HTTP/1.1\r\nHost: app.example\r\nContent-Length: 100000\r\n\r\nbegin").await;
    assert_eq!(raw.response().await.status, 413);
    raw.send("more").await;
    assert!(raw.is_closed().await);
}

#[tokio::test]
async fn responses_without_a_body_have_none_whoever_speaks_what() {
    let (plain, framed) = (Upstream::start().await, H2Upstream::start().await);
    for (address, http2) in [(plain.address, false), (framed.address, true)] {
        let gateway = before(address, http2).await;
        let mut client = connect(&gateway).await;
        let (response, _) = client.send_request(request("HEAD", "/a"), true).unwrap();
        let response = timeout(SOON, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(whole(response.into_body()).await.unwrap().0, b"");
        // What would follow a body that is announced and not there would be taken for it.
        let mut raw = Raw::connect(gateway.address).await;
        raw.send("HEAD /a HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        assert_eq!(raw.head().await.0, 200);
        assert_eq!(raw.call("GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n").await.status, 200);
    }
    let gateway = before(framed.address, true).await;
    let mut client = connect(&gateway).await;
    let (response, _) = client.send_request(request("GET", "/no-content"), true).unwrap();
    let response = timeout(SOON, response).await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), whole(response.into_body()).await.unwrap().0), (204, vec![]));
    let mut raw = Raw::connect(gateway.address).await;
    for _ in 0..2 {
        let response = raw.call("GET /no-content HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
        assert_eq!((response.status, response.all("transfer-encoding").len()), (204, 0), "{response:?}");
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_makes_nobody_keep_its_response() {
    let plain = Upstream::start().await;
    for http2 in [false, true] {
        let upstream = Upstream::start().await;
        let gateway = before(upstream.address, http2).await;
        let mut client = connect(&gateway).await;
        let (response, _) = client.send_request(request("GET", "/endless"), true).unwrap();
        let held = timeout(SOON, response).await.unwrap().unwrap();
        let taken = upstream.is_stuck().await;
        assert!(taken < BOUND, "h2 to {http2}: {taken} bytes are on their way to nobody");
        drop(held);
        upstream.has_open(0).await;
    }
    let gateway = before(plain.address, true).await;
    let mut client = Raw::connect(gateway.address).await;
    client.send("GET /endless HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
    let taken = plain.is_stuck().await;
    assert!(taken < BOUND, "{taken} bytes are on their way to nobody");
}

// RFC 9113 §5.2: what one stream holds back is not the others' to wait for.
#[tokio::test]
async fn a_response_that_nobody_reads_holds_up_no_other_of_its_upstreams_connection() {
    let upstream = Upstream::start().await;
    let gateway = before(upstream.address, true).await;
    let mut slow = connect(&gateway).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (response, _) = slow.send_request(request("GET", "/endless"), true).unwrap();
        held.push(timeout(SOON, response).await.unwrap().unwrap());
    }
    upstream.is_stuck().await;
    let mut client = connect(&gateway).await;
    let (response, _) = client.send_request(request("GET", "/large"), true).unwrap();
    let response = timeout(SOON, response).await.expect("a head arrives").unwrap();
    let body = timeout(SOON, whole(response.into_body())).await.expect("a body arrives").unwrap();
    assert_eq!(body.0.len(), 300_000);
}

#[tokio::test]
async fn a_body_that_nobody_reads_holds_up_no_other_of_its_clients_connection() {
    let upstream = Upstream::start().await;
    let gateway = before(upstream.address, false).await;
    let mut client = connect(&gateway).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let (response, body) = client.send_request(request("PUT", "/silent"), false).unwrap();
        held.push(response);
        send_until_stuck(body).await;
    }
    let (response, mut body) = client.send_request(request("PUT", "/a"), false).unwrap();
    body.send_data(vec![b'x'; 100_000].into(), true).unwrap();
    let response = timeout(SOON, response).await.expect("a head arrives").unwrap();
    let body = whole(response.into_body()).await.unwrap().0;
    let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(seen["length"], 100_000);
}

#[tokio::test]
async fn an_upstream_that_reads_nothing_makes_nobody_keep_the_body() {
    let framed = H2Upstream::start().await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut tcp, _)) = plain.accept().await {
            let mut head = [0; 512];
            drop(tcp.read(&mut head).await);
            kept.push(tcp);
        }
    });
    for (address, http2) in [(plain_address, false), (framed.address, true)] {
        let gateway = before(address, http2).await;
        let mut client = connect(&gateway).await;
        let (_response, body) = client.send_request(request("PUT", "/reads-nothing"), false).unwrap();
        let sent = send_until_stuck(body).await;
        assert!(sent < BOUND, "h2 to {http2}: {sent}");
        let mut raw = Raw::connect(gateway.address).await;
        let head = "PUT /reads-nothing HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1000000000\r\n\r\n";
        raw.send(head).await;
        let (piece, mut sent) = (vec![b'x'; 64 * 1024], 0);
        while let Ok(Ok(amount)) = timeout(Duration::from_secs(2), raw.tcp.write(&piece)).await {
            sent += amount;
            assert!(sent < BOUND, "h1 to {http2}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_followed_by_its_upstream() {
    for http2 in [false, true] {
        let upstream = Upstream::start().await;
        let gateway = before(upstream.address, http2).await;
        for path in ["/sse", "/silent"] {
            let mut client = connect(&gateway).await;
            let (response, mut stream) = client.send_request(request("GET", path), true).unwrap();
            upstream.has_open(1).await;
            stream.send_reset(Reason::CANCEL);
            upstream.has_open(0).await;
            drop(response);
            // Fast path, and pingora's.
            for method in ["GET", "PUT"] {
                let mut raw = Raw::connect(gateway.address).await;
                raw.send(format!("{method} {path} HTTP/1.1\r\nHost: app.example\r\nLast-Event-ID: 7\r\nContent-Length: 0\r\n\r\n").replace(if method == "GET" { "Content-Length: 0\r\n" } else { "" }, "")).await;
                upstream.has_open(1).await;
                drop(raw);
                upstream.has_open(0).await;
            }
        }
        let seen = Raw::connect(gateway.address)
            .await
            .call("GET /a HTTP/1.1\r\nHost: app.example\r\nLast-Event-ID: 7\r\n\r\n")
            .await
            .json();
        assert_eq!(seen["headers"]["last-event-id"], serde_json::json!(["7"]));
    }
}

//! The fast path: the same as without it, and only where a request is an ordinary one.

use std::collections::BTreeMap;
use std::time::Duration;

use bearward::edge::settings::FastPath;

use crate::support::gateway::{Gateway, Wanted, endpoint};
use crate::support::raw::Raw;
use crate::support::scripted::{Script, Scripted, Then, script};
use crate::support::session::with_session;
use crate::support::upstream::Upstream;

mod differential;

async fn gateway(upstream: std::net::SocketAddr, fast_path: FastPath) -> Gateway {
    let mut wanted = Wanted::before(upstream);
    wanted.fast_path = fast_path;
    wanted.upstream.read_timeout = Duration::from_secs(1);
    wanted.start().await
}

/// How many requests took the fast path.
fn taken(gateway: &Gateway) -> usize {
    let text = gateway.metrics.encode();
    let line = text.lines().find(|line| line.contains("http_fast_path_requests_total ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn with(scripts: &[Script]) -> (Scripted, Gateway) {
    let upstream = Scripted::start(scripts.to_vec()).await;
    let gateway = gateway(upstream.address, FastPath::On).await;
    (upstream, gateway)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn ordinary_requests_take_it_and_no_others() {
    let upstream = Upstream::start().await;
    let on = gateway(upstream.address, FastPath::On).await;
    let ordinary = [
        get("/a?b=c"),
        "HEAD / HTTP/1.1\r\nHost: app.example:80\r\n\r\n".to_owned(),
        "\r\nGET / HTTP/1.1\r\nhost:a\r\nConnection: Keep-Alive\r\nUpgrade-Insecure-Requests: 1\r\n\r\n"
            .to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        with_session("GET /api/x HTTP/1.1\r\nHost: a\r\n"),
        // Refused or answered here.
        get("/api/x"),
        get("/oauth2/session"),
        get("/oauth2/nothing"),
        get("/a//b"),
    ];
    for (number, request) in ordinary.iter().enumerate() {
        let mut client = Raw::connect(on.address).await;
        client.send(request).await;
        client.head().await;
        assert_eq!(taken(&on), number + 1, "{request}");
    }
    let odd = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-hop\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for request in odd {
        let mut client = Raw::connect(on.address).await;
        client.send(request).await;
        client.head().await;
        assert_eq!(taken(&on), ordinary.len(), "{request}");
    }
    // On one connection, in any order.
    let mut client = Raw::connect(on.address).await;
    for request in [get("/"), odd[0].to_owned(), get("/"), odd[1].to_owned(), get("/")] {
        assert_eq!(client.call(request).await.status, 200);
    }
    assert_eq!(taken(&on), ordinary.len() + 3);
    let off = gateway(upstream.address, FastPath::Off).await;
    assert_eq!(Raw::connect(off.address).await.call(get("/")).await.status, 200);
    assert_eq!(taken(&off), 0);
}

#[tokio::test]
async fn an_upstream_that_speaks_http2_is_not_for_it() {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.http2 = true;
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call(get("/")).await.json()["version"], "HTTP/2.0");
    assert_eq!(taken(&gateway), 0);
    // Nobody forwards it: an answer of ours needs no upstream.
    assert_eq!(client.call(get("/oauth2/session")).await.status, 401);
    assert_eq!(taken(&gateway), 1);
}

#[tokio::test]
async fn over_tls_it_is_the_same() {
    let (_folder, cert, key) = crate::support::gateway::certificate();
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.tls = Some(bearward::edge::settings::TlsFiles { cert: cert.clone(), key });
    let gateway = wanted.start().await;
    let config = bearward::base::tls::client_config(Some(&cert)).unwrap();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(std::sync::Arc::unwrap_or_clone(config))
        .https_only()
        .enable_http1()
        .build();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build::<_, http_body_util::Full<bytes::Bytes>>(connector);
    for (path, length) in [("/a", None), ("/large", Some(300_000)), ("/b", None)] {
        let uri = format!("https://localhost:{}{path}", gateway.address.port());
        let response = client.get(uri.parse().unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        match length {
            Some(length) => assert_eq!(body.len(), length),
            None => {
                let seen: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(seen["headers"]["x-forwarded-proto"], serde_json::json!(["https"]));
            }
        }
    }
    assert_eq!(taken(&gateway), 3);
}

#[tokio::test]
async fn one_connection_to_the_upstream_serves_one_client_after_the_other() {
    let (upstream, gateway) = with(&[
        script(&[OK], Then::Keep),
        script(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], Then::Keep),
        script(&["HTTP/1.1 204 No Content\r\n\r\n"], Then::Keep),
    ])
    .await;
    for _ in 0..5 {
        let mut client = Raw::connect(gateway.address).await;
        for path in ["/0", "/1", "/2"] {
            assert!(client.call(get(path)).await.status < 300);
        }
    }
    assert_eq!((upstream.heads().len(), upstream.connections()), (15, 1));
}

#[tokio::test]
async fn a_connection_is_used_again_only_after_a_response_that_ended_exactly() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for first in [
        format!("{OK}{evil}"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}"),
        format!("HTTP/1.1 204 No Content\r\n\r\n{evil}"),
        format!("HTTP/1.1 304 Not Modified\r\n\r\n{evil}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok{evil}"),
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    ] {
        let (upstream, gateway) = with(&[script(&[&first], Then::Keep), script(&[OK], Then::Keep)]).await;
        let mut client = Raw::connect(gateway.address).await;
        assert!(client.call(get("/0")).await.status < 400, "{first:?}");
        assert_eq!(client.call(get("/1")).await.body, b"ok", "{first:?}");
        assert_eq!(upstream.connections(), 2, "{first:?}");
    }
}

#[tokio::test]
async fn what_an_upstream_says_unasked_is_nobodys_answer() {
    // After the response, and long before the next request.
    let late = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let (upstream, gateway) = with(&[script(&[OK, late], Then::Keep), script(&[OK], Then::Keep)]).await;
    let mut client = Raw::connect(gateway.address).await;
    for number in 1..=10 {
        assert_eq!(client.call(get("/0")).await.body, b"ok");
        upstream.answered(number).await;
    }
    assert_eq!(upstream.heads().len(), 10);
}

#[tokio::test]
async fn a_dead_idle_connection_is_noticed_or_the_request_is_sent_once_more() {
    let (upstream, gateway) = with(&[
        // Says nothing of it, and closes.
        script(&[OK], Then::Close),
        // Closes when it is asked again.
        script(&[&format!("{{first}}{OK}")], Then::Keep),
    ])
    .await;
    for path in ["/0", "/1"] {
        let mut client = Raw::connect(gateway.address).await;
        for _ in 0..10 {
            assert_eq!(client.call(get(path)).await.body, b"ok", "{path}");
        }
    }
    // Each request to `/1` but the first went to the connection of the one before, and once more.
    assert!(upstream.heads().len() >= 20 + 9, "{}", upstream.heads().len());
}

#[tokio::test]
async fn an_idle_connection_to_an_upstream_is_closed_in_time() {
    let upstream = Scripted::start(vec![script(&[OK], Then::Silence)]).await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.idle_timeout = Duration::from_millis(100);
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call(get("/0")).await.body, b"ok");
    // Nobody asks for anything any more.
    upstream.left().await;
}

// std:127
#[tokio::test]
async fn a_request_is_never_sent_again_once_its_response_has_begun() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Le";
    let (upstream, gateway) = with(&[script(&[OK], Then::Keep), script(&[begun], Then::Close)]).await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call(get("/0")).await.status, 200);
    let answer = client.call(get("/1")).await;
    assert_eq!((answer.status, &answer.json()["code"]), (502, &"upstream_unreachable".into()));
    assert_eq!(upstream.heads().len(), 2);
    // Nor on a fresh connection.
    let (upstream, gateway) = with(&[script(&[], Then::Close)]).await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call(get("/0")).await.status, 502);
    assert_eq!(upstream.heads().len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_with_it() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
    let (upstream, gateway) = with(&[script(&[], Then::Silence), script(&[head], Then::Silence)]).await;
    for (number, path) in ["/0", "/1"].into_iter().enumerate() {
        let mut client = Raw::connect(gateway.address).await;
        client.send(get(path)).await;
        while upstream.heads().len() <= number {
            tokio::task::yield_now().await;
        }
        if path == "/1" {
            client.until("ok\r\n").await;
        }
        drop(client);
        upstream.left().await;
    }
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("{class=\"none\",outcome=\"client_gone\"} 1"), "{metrics}");
    assert!(metrics.contains("{class=\"2xx\",outcome=\"client_gone\"} 1"), "{metrics}");
}

// std:117
#[tokio::test]
async fn a_request_sent_before_the_response_is_dropped_and_the_connection_ends() {
    let upstream = Upstream::start().await;
    let gateway = gateway(upstream.address, FastPath::On).await;
    let mut client = Raw::connect(gateway.address).await;
    client.send(get("/slow")).await;
    while upstream.requests() < 1 {
        tokio::task::yield_now().await;
    }
    client.send(get("/hidden")).await;
    // Both are in one order on one socket: what is answered next was read after them.
    assert_eq!(Raw::connect(gateway.address).await.call(get("/other")).await.status, 200);
    upstream.permit();
    let answer = client.response().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"slow".as_slice()));
    assert_eq!(answer.all("connection"), ["close"]);
    assert!(client.is_closed().await);
    assert_eq!(upstream.requests(), 2);
}

#[tokio::test]
async fn an_address_that_refuses_is_passed_over() {
    // `localhost` is two addresses on many machines; the upstream listens on one of them.
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.upstream.endpoints = vec![endpoint(&format!("http://localhost:{}", upstream.address.port()))];
    let gateway = wanted.start().await;
    for _ in 0..4 {
        assert_eq!(Raw::connect(gateway.address).await.call(get("/")).await.status, 200);
    }
    assert_eq!(taken(&gateway), 4);
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_502_and_the_connection_goes_on() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = gateway(gone, FastPath::On).await;
    let mut client = Raw::connect(gateway.address).await;
    for _ in 0..2 {
        let answer =
            client.call(with_session("GET /api/x HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n")).await;
        assert_eq!((answer.status, answer.all("set-cookie").len()), (502, 1));
        assert!(answer.all("content-type")[0].starts_with("text/html"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_large_response_passes_to_a_client_that_reads_slowly() {
    let upstream = Upstream::start().await;
    let gateway = gateway(upstream.address, FastPath::On).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Raw::connect(gateway.address).await;
        client.send(get("/large")).await;
        clients.push(client);
    }
    for client in &mut clients {
        let answer = client.response().await;
        assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n{}", "x".repeat(30_000_000));
    let upstream = Scripted::start(vec![script(&[&large], Then::Silence)]).await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.idle_timeout = Duration::from_millis(300);
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send(get("/0")).await;
    upstream.left().await;
    // What it then reads is visibly cut, and nothing was put behind it.
    let (status, _) = client.head().await;
    let mut rest = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut client.tcp, &mut rest).await);
    assert!(status == 200 && rest.len() < 30_000_000 && rest.iter().all(|&byte| byte == b'x'));
    let metrics = gateway.metrics().await;
    assert!(metrics.contains("{class=\"2xx\",outcome=\"bad_request\"} 1"), "{metrics}");
}

#[tokio::test]
async fn nothing_is_answered_behind_half_a_head() {
    // Hints that no client has room for; the response itself is never reached.
    let hints = format!("HTTP/1.1 103 Early Hints\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)).repeat(15);
    let upstream = Scripted::start(vec![script(&[&hints, OK], Then::Silence)]).await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.limits.idle_timeout = Duration::from_millis(300);
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send(get("/0")).await;
    upstream.left().await;
    let mut got = Vec::new();
    drop(tokio::io::AsyncReadExt::read_to_end(&mut client.tcp, &mut got).await);
    assert!(got.starts_with(b"HTTP/1.1 103 ") && got.len() < hints.len(), "{}", got.len());
    assert!(got.ends_with(b"x"), "{}", String::from_utf8_lossy(&got[got.len().saturating_sub(300)..]));
}

/// Fields by name, in lower case, each with its values in order.
type Fields = BTreeMap<String, Vec<String>>;

fn fields(head: &str) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(':')) {
        fields.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    fields
}

//! Header fields that concern connections, hops and expectations, in both directions. RFC 9110 §7.6, §10.1.1, §11.7

use bearward::edge::settings::FastPath;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::scripted::{Scripted, Then, script};
use crate::support::upstream::Upstream;

fn post(fields: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{fields}\r\n\r\n")
}

#[tokio::test]
async fn an_expectation_is_kept_by_whoever_reads_the_body_or_refused() {
    let upstream = Upstream::start().await;
    for http2 in [false, true] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.upstream.http2 = http2;
        let gateway = wanted.start().await;
        for expect in ["100-continue", "100-Continue"] {
            let mut client = Raw::connect(gateway.address).await;
            assert_eq!(client.call(post(&format!("Expect: {expect}"))).await.status, 100, "{http2} {expect}");
            let seen = client.call("ok").await.json();
            assert_eq!((&seen["length"], seen["headers"]["expect"].is_null()), (&2.into(), http2));
        }
        // Without a body there is nothing to wait for.
        let mut client = Raw::connect(gateway.address).await;
        let none = "GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
        assert_eq!(client.call(none).await.json()["headers"]["expect"], Value::Null);
        let before = upstream.requests();
        for odd in ["a-pony", "100-continue, a-pony", "", "100-continue\r\nExpect: a-pony"] {
            let mut client = Raw::connect(gateway.address).await;
            let answer = client.call(post(&format!("Expect: {odd}"))).await;
            assert_eq!((answer.status, &answer.json()["code"]), (417, &"expectation_failed".into()), "{odd}");
            assert!(client.is_closed().await, "{odd}");
        }
        assert_eq!(upstream.requests(), before);
        // HTTP/1.0 knows no expectations; such a client would not understand the 100.
        let mut client = Raw::connect(gateway.address).await;
        let old = "POST /x HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok";
        assert_eq!(client.call(old).await.json()["headers"]["expect"], Value::Null);
    }
}

// std:121
#[tokio::test]
async fn an_upstream_that_refuses_is_heard_before_the_body_is_sent() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno";
    let upstream = Scripted::start(vec![script(&[refusal], Then::Silence)]).await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let answer = client.call(post("Expect: 100-continue")).await;
    assert_eq!((answer.status, answer.body.as_slice()), (401, b"no".as_slice()));
    // What came next would be taken for the body.
    assert_eq!(answer.all("connection"), ["close"]);
}

// std:120
#[tokio::test]
async fn an_options_request_goes_as_far_as_it_says() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for (method, left, expected) in [
        ("OPTIONS", "1", Some("0")),
        ("OPTIONS", "10", Some("9")),
        ("OPTIONS", "18446744073709551616", None),
        ("OPTIONS", "-1", None),
        ("OPTIONS", "x", None),
        ("GET", "3", Some("3")),
    ] {
        let mut client = Raw::connect(gateway.address).await;
        let request = format!("{method} /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
        let seen = client.call(request).await.json();
        assert_eq!(seen["headers"]["max-forwards"][0].as_str(), expected, "{method} {left}");
    }
    let before = upstream.requests();
    for left in ["0", "00"] {
        let mut client = Raw::connect(gateway.address).await;
        let request = format!("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
        assert_eq!(client.call(request).await.status, 204);
    }
    assert_eq!(upstream.requests(), before);
}

// std:111
#[tokio::test]
async fn what_concerns_one_hop_stays_there_whatever_the_versions() {
    let upstream = Upstream::start().await;
    let ours =
        [("proxy-authorization", "Basic evil"), ("proxy-connection", "evil"), ("proxy", "http://evil")];
    for http2 in [false, true] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.upstream.http2 = http2;
        let gateway = wanted.start().await;
        let fields: String = ours.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut client = Raw::connect(gateway.address).await;
        let hop =
            "Connection: x-hop, close\r\nX-Hop: evil\r\nKeep-Alive: evil\r\nTrailer: evil\r\nTE: evil\r\n";
        for fields in [fields.clone(), format!("{fields}{hop}"), "Proxy: evil\r\n".to_owned()] {
            let answer = client.call(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
            assert!(!String::from_utf8(answer.body).unwrap().contains("evil"), "{http2} {fields}");
            client = Raw::connect(gateway.address).await;
        }
        let h2 = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build::<_, Full<Bytes>>(HttpConnector::new());
        let mut request = Request::get(format!("http://{}/", gateway.address));
        for (name, value) in ours.into_iter().filter(|(name, _)| *name != "proxy-connection") {
            request = request.header(name, value);
        }
        let response = h2.request(request.body(Full::default()).unwrap()).await.unwrap();
        let seen = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&seen).contains("evil"), "{http2} {seen:?}");
    }
}

#[tokio::test]
async fn of_a_response_what_is_for_proxies_is_dropped_and_the_rest_is_kept() {
    let response = "HTTP/1.1 200 OK\r\nServer: theirs\r\nVia: 1.1 behind\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Proxy-Authenticate: Basic evil\r\nProxy-Authentication-Info: evil\r\nKeep-Alive: evil\r\n\
                    Connection: x-hop\r\nX-Hop: evil\r\nContent-Length: 2\r\n\r\nok";
    let upstream = Scripted::start(vec![script(&[response], Then::Keep)]).await;
    for fast_path in [FastPath::On, FastPath::Off] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        let gateway = wanted.start().await;
        let mut client = Raw::connect(gateway.address).await;
        let answer = client.call("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(!answer.head.contains("evil"), "{}", answer.head);
        assert_eq!((answer.all("server"), answer.all("via")), (vec!["theirs"], vec!["1.1 behind"]));
        assert_eq!(answer.all("date").len(), 1);
    }
}

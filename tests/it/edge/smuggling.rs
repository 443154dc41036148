//! Requests that two servers could read as different requests. Threat T12.
//!
//! Each with the fast path and without it.

mod corpus;
mod generator;
mod http2;
mod responses;

use bearward::edge::settings::FastPath;

use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

// std:113 to std:118
#[tokio::test]
async fn what_can_be_framed_in_two_ways_is_refused_and_closed() {
    for fast_path in [FastPath::On, FastPath::Off] {
        refuses_what_can_be_framed_in_two_ways(fast_path).await;
    }
}

async fn refuses_what_can_be_framed_in_two_ways(fast_path: FastPath) {
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.fast_path = fast_path;
    let gateway = wanted.start().await;
    for (line, fields) in [
        ("POST / HTTP/1.1", "Content-Length: 3\r\nTransfer-Encoding: chunked"),
        ("POST / HTTP/1.1", "Content-Length: 3\r\nContent-Length: 3"),
        ("POST / HTTP/1.1", "Content-Length: 3\r\nContent-Length: 4"),
        ("POST / HTTP/1.1", "Content-Length: 3, 3"),
        ("POST / HTTP/1.1", "Content-Length: +3"),
        ("POST / HTTP/1.1", "Content-Length: -1"),
        ("POST / HTTP/1.1", "Content-Length: 0x3"),
        ("POST / HTTP/1.1", "Content-Length:"),
        ("POST / HTTP/1.1", "Content-Length : 3"),
        ("POST / HTTP/1.1", "Transfer-Encoding: xchunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding: chunked, identity"),
        ("POST / HTTP/1.1", "Transfer-Encoding: identity, chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding: \u{b}chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding : chunked"),
        ("POST / HTTP/1.1", "Transfer-Encoding:\r\n chunked"),
        ("POST / HTTP/1.0", "Transfer-Encoding: chunked"),
        ("GET / HTTP/1.1", "X: a\r\n folded"),
        ("GET / HTTP/1.1", "X: a\rb"),
        ("GET / HTTP/1.1", "X: a\0b"),
        ("GET / HTTP/1.1", "Host: b"),
        ("GET / HTTP/1.1", "no colon"),
        ("GET / HTTP/1.1", ": no name"),
        ("GET / HTTP/1.1", "Connection: x-forwarded-for"),
        ("GET http://b/ HTTP/1.1", "X: a"),
        ("GET / HTTP/9.9", "X: a"),
    ] {
        // Requests that the fast path takes begin with `GET`.
        for line in [line.to_owned(), line.replace("POST", "GET")] {
            let mut client = Raw::connect(gateway.address).await;
            let answer = client.call(format!("{line}\r\nHost: a\r\n{fields}\r\n\r\nabc")).await;
            assert_eq!(answer.status, 400, "{line} {fields:?}");
            assert!(client.is_closed().await, "{line} {fields:?}");
        }
    }
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn bytes_behind_a_request_are_never_a_request_of_the_same_packet() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Upstream::start().await;
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        let gateway = wanted.start().await;
        let mut client = Raw::connect(gateway.address).await;
        let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = client.call(format!("GET /a HTTP/1.1\r\nHost: a\r\n\r\n{hidden}")).await;
        assert_eq!(answer.json()["uri"], "/a");
        assert!(client.is_closed().await);
        assert_eq!(upstream.requests(), 1);
    }
}

// std:121
#[tokio::test]
async fn a_refused_request_is_answered_before_its_body_is_asked_for() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let request = "POST /oauth2/nothing HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n";
    let answer = client.call(request).await;
    assert_eq!((answer.status, answer.all("connection")), (404, vec!["close"]));
    let mut client = Raw::connect(gateway.address).await;
    let request = request.replace("nothing", "logout");
    assert_eq!(client.call(request).await.status, 100);
    assert_eq!(client.call("123456789").await.status, 303);
}

//! What is tried again, and what never is.

use bearward::edge::settings::Retries;

use super::{GET, PATHS, POST, before, call, gone};
use crate::support::gateway::{Gateway, endpoint};
use crate::support::raw::Raw;
use crate::support::scripted::{Scripted, Then, script};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over_for_every_method() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let gateway = before(&[gone(), upstream.address], path).start().await;
        for request in [GET, POST, POST, GET] {
            assert_eq!(call(&gateway, request).await, 200, "{path:?}");
        }
        assert_eq!(upstream.requests(), 4);
    }
}

// std:127
#[tokio::test]
async fn what_could_be_done_twice_is_never_repeated() {
    // The first request of a connection is answered; the connection ends within the second, as some servers do.
    let ok = "{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let half = "HTTP/1.1 200 OK\r\nX: ";
    for path in PATHS {
        for (request, repeated) in [
            ("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("HEAD /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("DELETE /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", true),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", false),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
            ("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", false),
            ("PATCH /0 HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ] {
            let upstream =
                Scripted::start(vec![script(&[ok], Then::Keep), script(&[half], Then::Close)]).await;
            let mut wanted = before(&[upstream.address], path);
            wanted.upstream.retries = Retries { attempts: 2, percent: 0, least: 100 };
            let gateway = wanted.start().await;
            // Both paths get a connection that was used before.
            for method in ["GET", "OPTIONS"] {
                let first = format!("{method} /0 HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(call(&gateway, first).await, 200);
            }
            let (heads, connections) = (upstream.heads().len(), upstream.connections());
            let answer = call_for(&gateway, request).await;
            let expected = if repeated { (200, 2, 1) } else { (502, 1, 0) };
            let happened = (answer, upstream.heads().len() - heads, upstream.connections() - connections);
            assert_eq!(happened, expected, "{path:?} {request:?}");
        }
    }
}

// std:127
#[tokio::test]
async fn a_response_that_has_begun_is_not_asked_for_again() {
    let ok = "{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for path in PATHS {
        for half in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
            let upstream =
                Scripted::start(vec![script(&[ok], Then::Keep), script(&[half], Then::Close)]).await;
            let gateway = before(&[upstream.address], path).start().await;
            assert_eq!(call(&gateway, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await, 200);
            let mut client = Raw::connect(gateway.address).await;
            client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut status = client.head().await.0;
            if status == 103 {
                status = client.head().await.0;
            }
            assert_eq!(
                (status, upstream.heads().len(), upstream.connections()),
                (502, 2, 1),
                "{path:?} {half:?}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_budget_nothing_is_tried_again() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let mut wanted = before(&[gone(), upstream.address], path);
        wanted.upstream.retries = Retries { attempts: 3, percent: 0, least: 2 };
        let gateway = wanted.start().await;
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(call(&gateway, GET).await);
        }
        assert_eq!(answers, [200, 200, 200, 200, 502, 200, 502, 200], "{path:?}");
    }
}

/// Reads only the head: an answer to `HEAD` has no body.
async fn call_for(gateway: &Gateway, request: &str) -> u16 {
    let mut client = Raw::connect(gateway.address).await;
    client.send(request).await;
    client.head().await.0
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_passed_over() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let mut wanted = before(&[upstream.address], path);
        wanted.upstream.endpoints.insert(0, endpoint("http://nobody.invalid:81"));
        let gateway = wanted.start().await;
        for request in [GET, POST, GET] {
            assert_eq!(call(&gateway, request).await, 200, "{path:?}");
        }
    }
}

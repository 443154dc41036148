//! Requests and responses on their way through.

use crate::support::gateway::{Wanted, certificate, endpoint};
use crate::support::raw::Raw;
use crate::support::session::{NEXT_COOKIE, with_session};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_request_and_its_response_pass() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let seen = client.call("GET /a%20b?c=d&e=%2F HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
    assert_eq!(seen.status, 200);
    let seen = seen.json();
    assert_eq!(seen["uri"], "/a%20b?c=d&e=%2F");
    assert_eq!(seen["headers"]["host"], serde_json::json!(["app.example"]));
    assert_eq!(seen["headers"]["x-forwarded-host"], serde_json::json!(["app.example"]));
    assert_eq!(seen["headers"]["x-forwarded-proto"], serde_json::json!(["https"]));
    assert_eq!(seen["headers"]["x-forwarded-for"], serde_json::json!(["127.0.0.1"]));
    assert!(seen["headers"]["via"][0].as_str().unwrap().starts_with("1.1 bearward-"));
    assert!(gateway.metrics().await.contains("http_requests_total{class=\"2xx\",outcome=\"forwarded\"} 1"));
}

#[tokio::test]
async fn one_connection_carries_requests_of_every_framing() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let large = "x".repeat(300_000);
    let sized = format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{large}");
    let chunk = "y".repeat(0x1000);
    let chunked = format!(
        "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        format!("1000\r\n{chunk}\r\n").repeat(74)
    );
    for _ in 0..2 {
        assert_eq!(client.call(&sized).await.json()["length"], 300_000);
        assert_eq!(client.call(&chunked).await.json()["length"], 0x1000 * 74);
        assert_eq!(client.call("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await.body.len(), 300_000);
        assert_eq!(client.call("GET /c HTTP/1.1\r\nHost: a\r\n\r\n").await.json()["uri"], "/c");
    }
    let body =
        client.call("POST /d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(body.status, 100);
    assert_eq!(client.call("ok").await.json()["length"], 2);
}

#[tokio::test]
async fn a_head_in_pieces_and_one_behind_empty_lines_are_read() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    for piece in ["\r\nGE", "T /a HTT", "P/1.1\r", "\nHost", ": a\r\n\r"] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.call("\n").await.json()["uri"], "/a");
}

#[tokio::test]
async fn an_absolute_target_is_forwarded_as_a_path() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let seen = client.call("GET http://app.example/a?b HTTP/1.1\r\nHost: app.example\r\n\r\n").await.json();
    assert_eq!((&seen["uri"], &seen["headers"]["host"][0]), (&"/a?b".into(), &"app.example".into()));
    let refused = client.call("GET http://b.example/ HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
    assert_eq!(refused.status, 400);
    assert!(client.is_closed().await);
    assert_eq!(upstream.requests(), 1);
}

// std:108, std:109, std:111, threats T10 and T11
#[tokio::test]
async fn a_client_can_neither_add_nor_remove_what_is_ours() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let seen = client
        .call(
            with_session("GET /api/x HTTP/1.1\r\nHost: app.example\r\nConnection: authorization, x-hop, keep-alive\r\n\
             Authorization: Bearer evil\r\nX-Hop: evil\r\nX-Forwarded-User: evil\r\nX_Forwarded_User: evil\r\n\
             x.auth.user: evil\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\nX-Forwarded-For: evil\r\n\
             Cookie: theirs=1\r\nCookie: more=2\r\nX-HTTP-Method-Override: evil\r\n\
             TE: trailers\r\nProxy-Authorization: evil\r\nKeep-Alive: timeout=evil\r\n"),
        )
        .await;
    let (seen, text) = (seen.json(), String::from_utf8(seen.body.clone()).unwrap());
    assert!(!text.contains("evil"), "{text}");
    assert_eq!(seen["headers"]["authorization"], serde_json::json!(["Bearer of-the-session"]));
    assert_eq!(seen["headers"]["cookie"], serde_json::json!(["theirs=1; more=2"]));
    assert_eq!(seen["headers"]["connection"], serde_json::Value::Null);
    let open = client.call("GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic x\r\n\r\n").await.json();
    assert_eq!(open["headers"]["authorization"], serde_json::json!(["Basic x"]));
}

#[tokio::test]
async fn cookies_of_ours_come_from_us_alone_and_such_responses_are_not_stored() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let open = client.call("GET /set-cookie HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(open.all("set-cookie"), ["theirs=1", "more=2"]);
    assert!(open.all("cache-control").is_empty());
    let session = client.call(with_session("GET /api/set-cookie HTTP/1.1\r\nHost: a\r\n")).await;
    let set = session.all("set-cookie");
    assert_eq!(set[..2], ["theirs=1", "more=2"]);
    assert!(set[2].starts_with(NEXT_COOKIE) && set.len() == 3, "{set:?}");
    // std:126
    assert_eq!(session.all("cache-control"), ["no-store"]);
    let cached = client.call(with_session("GET /api/cached HTTP/1.1\r\nHost: a\r\n")).await;
    // It carries a cookie of ours: nobody may store it, whatever the upstream allows.
    assert_eq!(cached.all("cache-control"), ["no-store"]);
}

#[tokio::test]
async fn endpoints_are_answered_here_with_a_bounded_body() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let logout = |size: usize| {
        format!(
            "POST /oauth2/logout HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: {size}\r\n\r\n{}",
            "b".repeat(size)
        )
    };
    assert_eq!(client.call(logout(60_000)).await.status, 303);
    assert_eq!(client.call("GET /oauth2/session HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 401);
    assert_eq!(client.call(logout(66_000)).await.status, 413);
    assert_eq!(upstream.requests(), 0);
}

// std:112, std:120, std:124
#[tokio::test]
async fn what_is_not_forwarded() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let status = async |request: &str| {
        let mut client = Raw::connect(gateway.address).await;
        client.call(format!("{request}\r\nHost: a\r\n\r\n")).await.status
    };
    assert_eq!(status("TRACE / HTTP/1.1").await, 405);
    assert_eq!(status("CONNECT a:1 HTTP/1.1").await, 405);
    assert_eq!(status("OPTIONS * HTTP/1.1").await, 204);
    assert_eq!(status("OPTIONS /a HTTP/1.1\r\nMax-Forwards: 0").await, 204);
    assert_eq!(status("GET /a/../b HTTP/1.1").await, 400);
    assert_eq!(status("GET /%2e%2e/b HTTP/1.1").await, 400);
    assert_eq!(status("GET //b HTTP/1.1").await, 400);
    assert_eq!(status("GET /oauth2/nothing HTTP/1.1").await, 404);
    assert_eq!(status("DELETE /oauth2/session HTTP/1.1").await, 405);
    assert_eq!(upstream.requests(), 0);
    let mut client = Raw::connect(gateway.address).await;
    let seen = client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.json();
    let via = seen["headers"]["via"][0].as_str().unwrap();
    assert_eq!(status(&format!("GET / HTTP/1.1\r\nVia: 1.0 x, {via}")).await, 508);
}

#[tokio::test]
async fn a_reload_takes_effect_on_connections_that_stay() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut gateway = Wanted::before(first.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    assert_eq!(client.call("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    gateway.reload(&Wanted::before(second.address)).await.unwrap();
    assert_eq!(client.call("GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 200);
    assert_eq!((first.requests(), second.requests()), (1, 1));
    let (_folder, cert, _) = certificate();
    let mut https = Wanted::before(second.address);
    https.upstream.endpoints = vec![endpoint("https://localhost")];
    https.upstream.ca_file = Some(cert);
    assert!(gateway.reload(&https).await.is_err());
}

#[tokio::test]
async fn events_are_not_held_back() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.0, 200);
    for number in 0..3 {
        // The next event is sent only after this one has arrived.
        upstream.permit();
        client.until(&format!("data: {number}\n\n")).await;
    }
    client.until("0\r\n\r\n").await;
}

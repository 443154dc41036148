//! What went wrong elsewhere, tried here. `docs/threat-model.md` lists the rest and the tests that hold them.

use bearward::edge::settings::Family;
use http::Method;

use crate::support::browser::Kind;
use crate::support::frames::{END_STREAM, Frames, Outcome, request};
use crate::support::gateway::{Gateway, Wanted};
use crate::support::raw::{Raw, Response};
use crate::support::recorder::Recorder;
use crate::support::upstream::Upstream;
use crate::support::world::World;

/// A request to a route that needs a session, without one.
async fn without_session(gateway: &Gateway, target: &str, fields: &str) -> Response {
    let head = format!("GET {target} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
    Raw::connect(gateway.address).await.call(head).await
}

// oauth2-proxy, GHSA-5hvv: a health check was told by its User-Agent, on any path.
#[tokio::test]
async fn cve_2026_34457_no_user_agent_and_no_health_path_passes_a_guard() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for agent in ["kube-probe/1.31", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Envoy/HC", "Wget", ""] {
        for target in ["/api/x", "/api/healthz", "/api/ping", "/api/x?/healthz", "/api/ready"] {
            let answer = without_session(&gateway, target, &format!("User-Agent: {agent}\r\n")).await;
            assert_eq!(answer.status, 401, "{agent} {target}");
        }
    }
    assert!(upstream.take().is_empty());
}

// oauth2-proxy, GHSA-7x63: the path that was judged came from X-Forwarded-Uri, and everyone was a trusted proxy.
// ory oathkeeper, GHSA-vhr5: X-Forwarded-Proto chose another rule.
#[tokio::test]
async fn cve_2026_40575_no_forwarded_field_chooses_a_route_whoever_sends_it() {
    let upstream = Recorder::start().await;
    for trusted in [None, Some("127.0.0.0/8")] {
        for believe in [Family::XForwarded, Family::Forwarded] {
            let mut wanted = Wanted::before(upstream.address);
            wanted.forwarding.trusted = trusted.iter().map(|network| network.parse().unwrap()).collect();
            wanted.forwarding.believe = believe;
            let gateway = wanted.start().await;
            for fields in [
                "X-Forwarded-Uri: /public\r\n",
                "X-Original-URL: /public\r\nX-Rewrite-URL: /public\r\n",
                "X-Original-URI: /public\r\nX-Original-Method: OPTIONS\r\n",
                "X-Forwarded-Proto: http\r\nX-Forwarded-Host: other.example\r\nX-Forwarded-Port: 80\r\n",
                "Forwarded: for=127.0.0.1;host=other.example;proto=http\r\n",
                "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n",
                "X-HTTP-Method-Override: OPTIONS\r\nX-Forwarded-Method: OPTIONS\r\n",
                "X-Forwarded-User: admin\r\nX-Auth-Request-Email: a@b\r\nRemote-User: admin\r\n",
            ] {
                let answer = without_session(&gateway, "/api/x", fields).await;
                assert_eq!(answer.status, 401, "{trusted:?} {fields}");
            }
        }
    }
    assert!(upstream.take().is_empty());
}

// oauth2-proxy, GHSA-pxq7: what stood behind `#` or `%23` was judged, and not what was forwarded.
#[tokio::test]
async fn cve_2026_41059_a_fragment_decides_nothing() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for (target, status) in [
        ("/api/x#/public", 400),
        ("/public#/../api/x", 400),
        ("/api/x%23/public", 401),
        ("/public%23/../api/x", 400),
        ("/public%23%2f..%2fapi/x", 400),
    ] {
        assert_eq!(without_session(&gateway, target, "").await.status, status, "{target}");
    }
    assert!(upstream.take().is_empty());
}

// oauth2-proxy, GHSA-7rh7: an expression for open paths was held against path and query.
#[tokio::test]
async fn cve_2025_54576_a_query_decides_nothing() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for target in
        ["/api/x?/public", "/api/x?a=/public/", "/api?/../public", "/api/x?%2fpublic", "/api/x?.css"]
    {
        assert_eq!(without_session(&gateway, target, "").await.status, 401, "{target}");
    }
    assert!(upstream.take().is_empty());
}

// oauth2-proxy, GHSA-vjrc; Traefik, CVE-2026-54763, CVE-2026-88011: `X_Forwarded_User` is `X-Forwarded-User` to many.
#[tokio::test]
async fn cve_2025_64484_no_alias_of_a_field_passes() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let fields = "X_Forwarded_User: evil\r\nX-Forwarded_User: evil\r\nX.Forwarded.User: evil\r\nX_FORWARDED_FOR: evil\r\n\
                  HTTP_X_USER: evil\r\nX_Real_IP: evil\r\nAuthorization_: evil\r\nRemote_User: evil\r\n";
    for line in ["GET /x HTTP/1.1", "PUT /x HTTP/1.1\r\nContent-Length: 0"] {
        let head = format!("{line}\r\nHost: a\r\nOrigin: https://app.example\r\n{fields}\r\n");
        let answer = Raw::connect(gateway.address).await.call(head).await;
        assert_eq!(answer.status, 200);
        assert!(!String::from_utf8_lossy(&answer.body).contains("evil"));
    }
    let mut client = Frames::connect(gateway.address, &[]).await;
    let fields = [("x_forwarded_user", "evil"), ("x.auth.user", "evil")];
    client.open(1, END_STREAM, &request("GET", "/x", &fields)).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    let body = client.until(crate::support::frames::DATA).await.unwrap().payload;
    assert!(!String::from_utf8_lossy(&body).contains("evil"));
}

// Envoy: a token that was merely there skipped the login, and nobody verified it.
#[tokio::test]
async fn cve_2022_29226_a_token_that_a_client_brings_opens_no_session_route() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for token in ["Bearer x", "bearer eyJhbGciOiJub25lIn0.e30.", "Basic YTpi", "Bearer", ""] {
        let answer = without_session(&gateway, "/api/x", &format!("Authorization: {token}\r\n")).await;
        assert_eq!(answer.status, 401, "{token}");
    }
    assert!(upstream.take().is_empty());
}

// Envoy: the request went on after it had been answered here. mod_auth_openidc, CVE-2025-31492: the protected content
// followed the login page.
#[tokio::test]
async fn cve_2022_29228_what_was_refused_goes_no_further() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for framing in
        ["Content-Length: 5\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"]
    {
        for accept in ["text/html", "application/json"] {
            let head = format!(
                "POST /api/x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nAccept: {accept}\r\n{framing}"
            );
            let mut client = Raw::connect(gateway.address).await;
            let answer = client.call(head).await;
            assert_eq!(answer.status, 401);
            drop(client);
        }
    }
    assert_eq!(without_session(&gateway, "/open", "").await.status, 200);
    assert_eq!(upstream.take().len(), 1, "the open one");
}

// Pomerium: metrics and profiles on the public listener.
#[tokio::test]
async fn cve_2022_24797_nothing_of_the_admin_listener_is_public() {
    let world = World::plan().start().await;
    for target in ["/metrics", "/healthz", "/readyz", "/sessions/end", "/debug/pprof/", "/config"] {
        for method in [Method::GET, Method::POST] {
            world.browser().send(method.clone(), target, Kind::Fetch, &[]).await;
            let public = world.api.last();
            assert_eq!(public.target, target, "{method} is the upstream's");
        }
    }
}

// mod_auth_openidc: a Cookie header of semicolons alone was a null pointer.
#[tokio::test]
async fn cve_2023_28625_cookies_that_are_none_do_no_harm() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for cookie in
        [";", ";;;", " ; ; ", "=", "=;=", ";=;", "\t;", ",", "a", "a;", ";a", "\"", "a=\"", "\u{e9}=\u{e9}"]
    {
        let field = format!("Cookie: {cookie}\r\n");
        assert_eq!(without_session(&gateway, "/api/x", &field).await.status, 401, "{cookie:?}");
        assert_eq!(without_session(&gateway, "/x", &field).await.status, 200, "{cookie:?}");
    }
}

// mod_auth_openidc; traefik-oidc-auth, PR 290: a cookie said how many chunks there were, and a loop believed it.
#[tokio::test]
async fn cve_2024_24814_a_number_in_a_cookie_costs_nothing() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for value in
        ["9-0-4294967295.x", "1-0-999999999.x", "18446744073709551616-0-3.x", "1-2-3.x", "-1--1--1.x"]
    {
        for name in
            ["__Host-bearward", "__Host-bearward.0", "__Host-bearward.1", "__Host-bearward.4294967295"]
        {
            let answer = without_session(&gateway, "/api/x", &format!("Cookie: {name}={value}\r\n")).await;
            assert_eq!(answer.status, 401, "{name}={value}");
        }
    }
}

// mod_auth_openidc: a POST without a body crashed where its content was to be kept.
#[tokio::test]
async fn cve_2025_3891_a_post_without_a_body_does_no_harm() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for framing in ["Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"] {
        for target in
            ["/api/x", "/oauth2/logout", "/oauth2/session/refresh", "/oauth2/callback", "/oauth2/login"]
        {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n{framing}"
            );
            let status = Raw::connect(gateway.address).await.call(head).await.status;
            assert!((300..500).contains(&status), "{target}: {status}");
        }
    }
}

// Pingora, RUSTSEC-2026-0033: bytes behind an upgrade reached the upstream before it had agreed.
#[tokio::test]
async fn rustsec_2026_0033_bytes_behind_an_upgrade_wait_for_its_101() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let head = "GET /x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    assert_eq!(client.call(format!("{head}GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n")).await.status, 200);
    assert!(client.is_closed().await);
    assert_eq!(upstream.take().len(), 1);
}

// CGI programs, httpoxy: a field became the proxy that programs use.
#[tokio::test]
async fn cve_2016_5385_no_client_names_a_proxy() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let seen = without_session(&gateway, "/x", "Proxy: http://evil.example\r\nproxy: evil\r\n").await;
    assert!(!String::from_utf8_lossy(&seen.body).contains("evil"));
}

// Envoy, CVE-2026-48090: the provider's answer came after the request that wanted it was gone.
#[tokio::test]
async fn cve_2026_48090_a_client_that_leaves_takes_no_refresh_with_it() {
    let world = World::start().await;
    let browser = world.signed_in("alice").await;
    world.expire_access_tokens();
    let before = world.idp.seen().counts().token_refresh;
    let mut client = Raw::connect(world.address()).await;
    let cookies = browser.cookie_header();
    client.send(format!("GET /api/a HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n")).await;
    // The provider takes its time to answer.
    world.provider_saw(|counts| counts.token_refresh > before).await;
    drop(client);
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(world.idp.seen().counts().token_refresh, before + 1);
    assert_eq!(world.api.bad_bearers(), 0);
}

//! Pages of other origins: what they may send, and what they may read of the answers.

use http::{HeaderMap, Method};

use crate::support::browser::{Browser, Kind, Reply};
use crate::support::world::World;

const SPA: &str = "https://spa.example.com";
const OTHER: &str = "https://other.example.com";
const EVIL: &str = "https://evil.example";
const ROUTES: &str = "  - { path: /api/*, upstream: UPSTREAM, auth: session }\n  \
                      - path: /own/*\n    upstream: UPSTREAM\n    auth: session\n    methods: [GET, PUT]\n    \
                      cors: { origins: [\"https://other.example.com\"], headers: [X-Team], expose_headers: [X-Total], max_age: 1h }\n  \
                      - { path: /closed/*, upstream: UPSTREAM, auth: session, cors: { origins: [] } }\n  \
                      - { path: /free/*, upstream: UPSTREAM, auth: none, cors: { origins: [] } }\n  \
                      - { path: /*, upstream: UPSTREAM, auth: none }\n";

async fn world() -> World {
    World::plan().routes(ROUTES).yaml(&format!("cors: {{ origins: [\"{SPA}\"] }}")).start().await
}

/// A script of another site sends a request.
async fn from(origin: &str, browser: &Browser, method: Method, path: &str) -> Reply {
    let fields = [("origin", origin), ("sec-fetch-site", "cross-site")];
    browser.send(method, path, Kind::Fetch, &fields).await
}

async fn preflight(origin: &str, browser: &Browser, method: &str, path: &str) -> Reply {
    let fields = [
        ("origin", origin),
        ("sec-fetch-site", "cross-site"),
        ("cookie", ""),
        ("access-control-request-method", method),
        ("access-control-request-headers", "x-team"),
    ];
    browser.send(Method::OPTIONS, path, Kind::Fetch, &fields).await
}

fn allowed(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("access-control-allow-origin").iter();
    let first = values.next()?;
    assert!(values.next().is_none(), "one origin");
    Some(first.to_str().unwrap())
}

fn varies(headers: &HeaderMap) -> bool {
    headers
        .get_all("vary")
        .iter()
        .any(|value| value.to_str().unwrap().split(", ").any(|name| name == "Origin"))
}

// std:105
#[tokio::test]
async fn a_preflight_is_answered_without_a_session_and_without_the_upstream() {
    let world = world().await;
    let browser = world.browser();
    let reply = preflight(SPA, &browser, "DELETE", "/api/orders").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (204, Some(SPA)), "{}", reply.text());
    assert_eq!(reply.headers["access-control-allow-credentials"], "true");
    assert_eq!(reply.headers["access-control-allow-methods"], "GET, HEAD, POST, PUT, PATCH, DELETE");
    assert_eq!(reply.headers["access-control-allow-headers"], "content-type, x-requested-with");
    assert_eq!(reply.headers["access-control-max-age"], "600");
    assert!(varies(&reply.headers));

    let own = preflight(OTHER, &browser, "PUT", "/own/x").await;
    assert_eq!(own.status, 204);
    assert_eq!(own.headers["access-control-allow-methods"], "GET, PUT");
    assert_eq!(own.headers["access-control-allow-headers"], "x-team");
    assert_eq!(own.headers["access-control-max-age"], "3600");

    for (origin, method, path, status) in [
        (EVIL, "GET", "/api/orders", 403),
        ("null", "GET", "/api/orders", 403),
        ("https://spa.example.com.evil.example", "GET", "/api/orders", 403),
        ("http://spa.example.com", "GET", "/api/orders", 403),
        ("https://spa.example.com:8443", "GET", "/api/orders", 403),
        // A route's own list takes the place of the common one.
        (SPA, "GET", "/own/x", 403),
        (SPA, "GET", "/closed/x", 403),
        // The route does not serve it.
        (OTHER, "DELETE", "/own/x", 405),
    ] {
        let reply = preflight(origin, &browser, method, path).await;
        assert_eq!(reply.status, status, "{origin} {path}");
        assert_eq!(allowed(&reply.headers), None, "{origin} {path}");
    }
    assert!(world.api.arrivals().is_empty(), "no upstream call");
    assert_eq!(world.idp.seen().counts().token_refresh, 0);
}

#[tokio::test]
async fn a_page_that_is_granted_reads_every_answer_of_ours() {
    let world = world().await;
    let nobody = world.browser();
    let reply = from(SPA, &nobody, Method::GET, "/api/orders").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (401, Some(SPA)));
    // A path would lead to the page's own origin.
    assert_eq!(reply.json()["login_url"], format!("{}/oauth2/login", world.home));
    let reply = from(SPA, &nobody, Method::GET, "/oauth2/session").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (401, Some(SPA)));

    let browser = world.signed_in("alice").await;
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let reply = from(SPA, &browser, method, "/api/orders").await;
        assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some(SPA)));
        assert_eq!(reply.headers["access-control-allow-credentials"], "true");
        assert!(varies(&reply.headers));
    }
    let reply = from(SPA, &browser, Method::GET, "/oauth2/session").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some(SPA)));
    let reply = from(SPA, &browser, Method::POST, "/oauth2/session/refresh").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some(SPA)));
    let reply = from(OTHER, &browser, Method::PUT, "/own/x").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some(OTHER)));
    assert_eq!(reply.headers["access-control-expose-headers"], "x-total");
}

#[tokio::test]
async fn an_upstream_that_is_down_is_told_to_the_page_too() {
    let yaml = format!("cors: {{ origins: [\"{SPA}\"] }}");
    let world = World::plan().upstream("http://127.0.0.1:9").yaml(&yaml).start().await;
    let browser = world.browser();
    browser.log_in("alice", "/api/x").await;
    let reply = from(SPA, &browser, Method::GET, "/api/orders").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (502, Some(SPA)));
    assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().count(), 1);
}

// std:104
#[tokio::test]
async fn a_page_that_is_not_granted_reads_nothing_whatever_the_upstream_says() {
    let world = world().await;
    let browser = world.signed_in("alice").await;
    // The upstream grants everything to everyone.
    let own_page = browser.get("/api/open-to-all").await;
    assert_eq!((own_page.status.as_u16(), allowed(&own_page.headers)), (200, None));
    assert!(!own_page.headers.contains_key("access-control-allow-credentials"));
    assert!(varies(&own_page.headers), "what is stored is not for a page that is granted more");
    let closed = browser.get("/closed/open-to-all").await;
    assert_eq!((closed.status.as_u16(), allowed(&closed.headers)), (200, None), "without rules too");
    let granted = from(SPA, &browser, Method::GET, "/api/open-to-all").await;
    assert_eq!(allowed(&granted.headers), Some(SPA));
    assert_eq!(granted.headers["access-control-allow-credentials"], "true");
    let open = from(SPA, &browser, Method::GET, "/open-to-all").await;
    assert_eq!(allowed(&open.headers), Some(SPA), "an open route obeys the common rules");
    let evil = from(EVIL, &browser, Method::GET, "/open-to-all").await;
    assert_eq!(allowed(&evil.headers), None);

    let before = world.api.arrivals().len();
    for (origin, path) in [(EVIL, "/api/x"), (SPA, "/own/x"), (SPA, "/closed/x"), (EVIL, "/oauth2/session")] {
        let reply = from(origin, &browser, Method::GET, path).await;
        assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (403, None), "{origin} {path}");
    }
    let two = [("origin", "https://spa.example.com, https://evil.example"), ("sec-fetch-site", "cross-site")];
    assert_eq!(browser.send(Method::GET, "/api/x", Kind::Fetch, &two).await.status, 403);
    assert_eq!(world.api.arrivals().len(), before, "nothing of it reached the API");
}

#[tokio::test]
async fn where_a_route_is_open_and_without_rules_the_upstream_speaks_for_itself() {
    let world = world().await;
    let browser = world.browser();
    let reply = from(EVIL, &browser, Method::GET, "/free/open-to-all").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some("*")));
    let reply = preflight(EVIL, &browser, "PUT", "/free/x").await;
    assert_eq!(reply.status, 200);
    assert_eq!(world.api.arrivals().len(), 2);
}

#[tokio::test]
async fn without_cookies_a_page_is_a_stranger() {
    let yaml = format!("cors: {{ origins: [\"{SPA}\"], credentials: false }}");
    let world = World::plan().yaml(&yaml).start().await;
    let browser = world.signed_in("alice").await;
    let reply = from(SPA, &browser, Method::GET, "/api/orders").await;
    assert_eq!(reply.status, 403, "a request with cookies is another site's");
    let reply = from(SPA, &browser, Method::GET, "/open").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (200, Some(SPA)));
    assert!(!reply.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn a_login_is_read_by_nobody() {
    let world = world().await;
    let browser = world.browser();
    let reply = from(SPA, &browser, Method::GET, "/oauth2/login").await;
    assert_eq!((reply.status.as_u16(), allowed(&reply.headers)), (302, None), "it names state and nonce");
    assert_eq!(preflight(SPA, &browser, "GET", "/oauth2/login").await.status, 405);
}

//! The demo API's answers, and what the page promises to browser tests.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::base::time::{ManualClock, SystemClock};

const NOW: i64 = 1_800_000_000;

fn jwt(claims: &Value) -> String {
    let part = base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims.to_string());
    format!("e30.{part}.signature")
}

fn alice() -> String {
    jwt(&json!({
        "sub": "alice", "name": "Alice Almgren", "email": "alice@example.com", "groups": ["staff", 7],
        "iat": NOW - 10, "exp": NOW + 20,
    }))
}

async fn ask(method: Method, path: &str, bearer: Option<&str>, body: &'static str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let clock = ManualClock::new(Timestamp::from_millis(NOW * 1000 + 500));
    answer(request.body(Full::new(Bytes::from(body))).unwrap(), &clock).await
}

async fn content(answer: Answer) -> Value {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn whoami_tells_of_the_token_and_never_tells_the_token() {
    let token = alice();
    let response = ask(Method::GET, "/api/whoami", Some(&token), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    let who = content(response).await;
    assert_eq!(who["sub"], "alice");
    assert_eq!(who["name"], "Alice Almgren");
    assert_eq!(who["email"], "alice@example.com");
    assert_eq!(who["groups"], json!(["staff"]));
    assert_eq!(who["token"]["issued_at"], (NOW - 10) as f64);
    assert_eq!(who["token"]["expires_at"], (NOW + 20) as f64);
    assert_eq!(who["token"]["seconds_left"], 19.5);
    assert_eq!(who["served_at"], NOW as f64 + 0.5);
    assert_eq!(who["token"]["id"].as_str().unwrap().len(), 6);
    for part in token.split('.').filter(|part| part.len() > 3) {
        assert!(!who.to_string().contains(part));
    }
}

#[tokio::test]
async fn tokens_that_differ_have_different_ids() {
    let other = jwt(&json!({ "sub": "alice", "exp": NOW + 21 }));
    let first = content(ask(Method::GET, "/api/whoami", Some(&alice()), "").await).await;
    let again = content(ask(Method::GET, "/api/whoami", Some(&alice()), "").await).await;
    let other = content(ask(Method::GET, "/api/whoami", Some(&other), "").await).await;
    assert_eq!(first["token"]["id"], again["token"]["id"]);
    assert_ne!(first["token"]["id"], other["token"]["id"]);
}

#[tokio::test]
async fn a_token_that_is_no_jwt_is_taken_as_it_is() {
    for opaque in ["gho_16C7e42F292c6912E7710c838347Ae178B4a", "a.b.c", "..", "x.!!!.y"] {
        let who = content(ask(Method::GET, "/api/whoami", Some(opaque), "").await).await;
        assert_eq!(who["sub"], Value::Null, "{opaque}");
        assert_eq!(who["token"]["seconds_left"], Value::Null);
        assert_eq!(who["groups"], json!([]));
    }
}

#[tokio::test]
async fn without_a_good_bearer_every_api_call_is_refused() {
    let spent = jwt(&json!({ "sub": "alice", "exp": NOW }));
    for (method, path) in
        [(Method::GET, "/api/whoami"), (Method::GET, "/api/slow"), (Method::POST, "/api/echo")]
    {
        for (bearer, reason) in
            [(None, "no_bearer"), (Some(""), "no_bearer"), (Some(&*spent), "token_expired")]
        {
            let response = ask(method.clone(), path, bearer, "").await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path} {bearer:?}");
            assert_eq!(response.headers()["www-authenticate"], "Bearer");
            assert_eq!(content(response).await["error"], reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_takes_a_second_and_a_half() {
    let began = tokio::time::Instant::now();
    let response = ask(Method::GET, "/api/slow", Some(&alice()), "").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(began.elapsed() >= SLOW);
}

#[tokio::test]
async fn echo_returns_the_body_as_plain_text() {
    let response = ask(Method::POST, "/api/echo", Some(&alice()), "<script>").await;
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "<script>");
    let large: &'static str = Box::leak("x".repeat(ECHO_LIMIT + 1).into_boxed_str());
    let response = ask(Method::POST, "/api/echo", Some(&alice()), large).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let status = async |method, path| ask(method, path, Some(&alice()), "").await.status();
    assert_eq!(status(Method::GET, "/nothing").await, StatusCode::NOT_FOUND);
    assert_eq!(status(Method::GET, "/api/nothing").await, StatusCode::NOT_FOUND);
    assert_eq!(status(Method::DELETE, "/api/whoami").await, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(status(Method::POST, "/app.js").await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn the_page_and_its_parts_are_served_with_their_types() {
    for (path, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/favicon.svg", "image/svg+xml"),
    ] {
        let response = ask(Method::GET, path, None, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], media_type);
        assert_eq!(response.headers()["content-security-policy"], PAGE_POLICY);
    }
}

#[test]
fn the_page_has_what_browser_tests_look_for_and_nothing_from_elsewhere() {
    let page = include_str!("../assets/index.html");
    for id in ["login", "logout", "who", "calls", "failures", "rotations", "burst", "signed-out", "signed-in"]
    {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    let script = include_str!("../assets/app.js");
    assert!(script.contains("window.bearwardDemo = demo"));
    // Every element that the script names exists.
    for id in script.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    // `default-src 'self'` would block all of these.
    for blocked in ["style=", "onclick=", "<style", "//cdn", "https://", "http://"] {
        assert!(!page.contains(blocked), "{blocked}");
    }
    assert!(!include_str!("../assets/style.css").contains("url("));
}

#[tokio::test]
async fn the_demo_answers_on_a_loopback_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let address = start_demo(listener, Arc::new(SystemClock), &tasks).unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("</html>\n"), "{answer}");
}

#[tokio::test]
async fn other_addresses_than_loopback_are_refused() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    assert!(start_demo(listener, Arc::new(SystemClock), &tasks).is_err());
}

//! Logging in at a certified provider, and what a session then is.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use crate::support::browser::Browser;
use crate::support::{Setup, World, http, until_expired};

#[tokio::test]
async fn a_login_ends_where_it_began_and_the_api_sees_a_fresh_bearer() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = Browser::new(&world.gateway.url);

    let page = browser.navigate("/app/orders?open=1").await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!((page.url.path(), page.url.query()), ("/app/orders", Some("open=1")));

    let told = browser.fetch("/api/whoami").await;
    assert_eq!((told.status, &told.json()["sub"]), (200, &Value::from("alice")));
    let bearer = world.upstream.bearers().pop().unwrap();
    let claims = verified(&world, &bearer).await;
    assert_eq!(claims["client_id"], world.provider.ready.client_id.as_str());
    assert_eq!(claims["scope"], "api");
    world.assert_unharmed(&browser).await;
}

#[tokio::test]
async fn the_browser_never_sees_a_token() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = world.signed_in("alice").await;
    let session = browser.fetch("/oauth2/session").await;
    assert_eq!(session.status, 200, "{}", session.text());
    let user = browser.fetch("/oauth2/userinfo").await;
    assert_eq!((user.status, &user.json()["user"]), (200, &Value::from("alice")), "{}", user.text());

    let bearer = world.upstream.bearers().pop().unwrap();
    let signature = bearer.rsplit('.').next().unwrap();
    for answer in [&session, &user] {
        assert!(!answer.text().contains(signature));
        assert!(!answer.text().contains("eyJ"), "something like a JSON Web Token: {}", answer.text());
    }
    assert!(!browser.cookie_header().unwrap().contains("eyJ"));
}

#[tokio::test]
async fn without_a_session_a_page_leads_to_the_provider_and_a_fetch_gets_401() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = Browser::new(&world.gateway.url);
    let fetched = browser.fetch("/api/whoami").await;
    assert_eq!(fetched.status, 401, "{}", fetched.text());
    assert_eq!(fetched.header("content-type"), Some("application/problem+json"));

    let url = page_url(&world, "/app/");
    let page = browser.step(&url, &::http::Method::GET, "").await.unwrap();
    assert!(page.location().is_some(), "{}", page.text());
    assert!(browser.navigate("/").await.status == 200, "an open route needs no session");
    assert_eq!(world.upstream.bearers(), [""; 0]);
    assert_eq!(world.upstream.violations(), [""; 0]);
}

#[tokio::test]
async fn five_logins_that_five_tabs_begin_at_once_all_succeed() {
    let Some(world) = World::start(Setup::default()).await else { return };
    let browser = Browser::new(&world.gateway.url);
    let login = page_url(&world, "/oauth2/login?rd=/app/");
    let begin = async || browser.step(&login, &::http::Method::GET, "").await.unwrap().location().unwrap();
    let (a, b, c, d, e) = tokio::join!(begin(), begin(), begin(), begin(), begin());

    // This provider itself takes one login of a browser at a time.
    for at_provider in [e, c, a, b, d] {
        let page = browser.navigate(at_provider.as_str()).await;
        assert_eq!((page.status, page.url.path()), (200, "/app/"), "{}", page.text());
        assert_eq!(browser.fetch("/api/whoami").await.json()["sub"], "alice");
    }
    assert_eq!(world.upstream.violations(), [""; 0]);
    assert_eq!(browser.deletions(), [""; 0]);
}

#[tokio::test]
async fn a_killed_gateway_comes_back_and_the_session_is_still_there() {
    let Some(mut world) = World::start(Setup::default()).await else { return };
    let browser = world.signed_in("alice").await;
    let before = browser.fetch("/api/whoami").await.json();
    world.gateway.restart().await;
    assert_eq!(browser.fetch("/api/whoami").await.status, 200);

    until_expired(&before).await;
    assert_eq!(browser.fetch("/api/whoami").await.status, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.assert_unharmed(&browser).await;
}

/// What the bearer says, by the provider's own keys.
async fn verified(world: &World, bearer: &str) -> Value {
    let ready = &world.provider.ready;
    let keys = http::get(&format!("{}/jwks", ready.issuer)).await.unwrap();
    let keys: JwkSet = serde_json::from_slice(&keys.body).unwrap();
    let header = decode_header(bearer).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&[&ready.issuer]);
    rules.set_audience(&[&ready.resource]);
    rules.leeway = 0;
    decode(bearer, &DecodingKey::from_jwk(key).unwrap(), &rules).unwrap().claims
}

fn page_url(world: &World, path: &str) -> url::Url {
    format!("{}{path}", world.gateway.url).parse().unwrap()
}

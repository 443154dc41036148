//! The provider alone: that it is as strict as the other tests believe.

use base64_simd::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::support::browser::Browser;
use crate::support::http::{Answer, send};
use crate::support::{Setup, World};

#[tokio::test]
async fn this_provider_ends_the_grant_when_a_refresh_token_comes_twice() {
    let Some(world) = World::start(Setup { delay: (0, 0), ..Setup::default() }).await else { return };
    let first = redeem(&world, &code(&world).await).await.json();
    let rotated = refresh(&world, &first).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text());
    let second = rotated.json();
    assert_ne!(first["refresh_token"], second["refresh_token"]);

    let reused = refresh(&world, &first).await;
    assert_eq!((reused.status, &reused.json()["error"]), (400, &Value::from("invalid_grant")));
    let seen = world.provider.seen().await;
    assert!(!seen.grants[0].alive);
    assert_eq!(seen.spent_twice().len(), 1);
    let successor = refresh(&world, &second).await;
    assert_eq!((successor.status, &successor.json()["error"]), (400, &Value::from("invalid_grant")));
}

async fn refresh(world: &World, tokens: &Value) -> Answer {
    let token = tokens["refresh_token"].as_str().unwrap();
    ask(world, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
}

async fn redeem(world: &World, code: &str) -> Answer {
    let redirect_uri = redirect_uri(world);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri),
        ("code_verifier", VERIFIER),
        ("resource", &world.provider.ready.resource),
    ];
    ask(world, &fields).await
}

async fn ask(world: &World, fields: &[(&str, &str)]) -> Answer {
    let ready = &world.provider.ready;
    let credentials = STANDARD.encode_to_string(format!("{}:{}", ready.client_id, ready.client_secret));
    let body = Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::post("/")
        .header(AUTHORIZATION, format!("Basic {credentials}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(body))
        .unwrap();
    send(&format!("{}/token", ready.issuer).parse().unwrap(), request).await.unwrap()
}

/// Logs in up to the redirect that carries the code, and keeps it from the gateway.
async fn code(world: &World) -> String {
    let ready = &world.provider.ready;
    let redirect_uri = redirect_uri(world);
    let parameters = [
        ("response_type", "code"),
        ("client_id", &*ready.client_id),
        ("redirect_uri", &redirect_uri),
        ("scope", "openid offline_access api"),
        ("resource", &ready.resource),
        ("prompt", "consent"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let browser = Browser::new(&ready.issuer);
    let mut url = Url::parse_with_params(&format!("{}/auth", ready.issuer), parameters).unwrap();
    for _ in 0..10 {
        if url.as_str().starts_with(&redirect_uri) {
            break;
        }
        let answer = browser.step(&url, &Method::GET, "").await.unwrap();
        url = answer.location().unwrap_or_else(|| panic!("{}", answer.text()));
    }
    let code = url.query_pairs().find(|(name, _)| name == "code");
    code.unwrap_or_else(|| panic!("no code in {url}")).1.into_owned()
}

fn redirect_uri(world: &World) -> String {
    format!("{}/oauth2/callback", world.gateway.url)
}

/// The pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

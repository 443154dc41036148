//! The URL, parameter by parameter.

use super::*;
use crate::oidc::DiscoveryError;
use crate::oidc::script::{ISSUER, Reply, World, metadata, secret, settings};

fn request<'a>(verifier: &'a Secret<String>, extra: &'a [(&'a str, &'a str)]) -> AuthorizationRequest<'a> {
    AuthorizationRequest { state: "st", nonce: "no", verifier, extra }
}

#[test]
fn the_challenge_is_that_of_the_specification() {
    // RFC 7636 appendix B; std:11
    let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    assert_eq!(pkce_challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[tokio::test]
async fn the_url_has_each_parameter_once_and_nobody_overrules_ours() {
    // std:9, std:10, std:20, std:21
    let mut settings = settings();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    settings.authorization_params =
        vec![pair("prompt", "login"), pair("audience", "api"), pair("response_type", "token")];
    settings.resources = vec!["https://a.example/".to_owned(), "https://b.example/".to_owned()];
    let world = World::with(settings);
    let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let extra =
        [("prompt", "none"), ("login_hint", "a@b&c"), ("redirect_uri", "https://evil"), ("request", "x")];
    let url = world.provider.authorization_url(&request(&verifier, &extra)).await.unwrap();
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let expected = [
        ("tenant", "a b"),
        ("response_type", "code"),
        ("client_id", "bearward"),
        ("redirect_uri", "https://app.example.com/oauth2/callback"),
        ("scope", "openid offline_access"),
        ("state", "st"),
        ("nonce", "no"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("resource", "https://a.example/"),
        ("resource", "https://b.example/"),
        ("prompt", "none"),
        ("login_hint", "a@b&c"),
        ("audience", "api"),
    ];
    assert_eq!(query, expected.map(|(name, value)| pair(name, value)));
    assert!(url.as_str().starts_with("https://id.example.com/authorize?"));
    assert!(!url.as_str().contains(verifier.expose()));
}

#[tokio::test]
async fn without_metadata_there_is_no_url() {
    let world = World::new();
    world.script.reply("/realm/.well-known/openid-configuration", Reply::text(404, ""));
    let verifier = secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let outcome = world.provider.authorization_url(&request(&verifier, &[])).await;
    assert!(matches!(outcome, Err(DiscoveryError::Status(404))));
}

#[tokio::test]
async fn the_answer_must_be_our_providers() {
    // std:23, std:24, std:25
    let cases = [
        (false, None, Ok(())),
        (false, Some(ISSUER), Ok(())),
        (false, Some("https://evil.example"), Err(IssuerMismatch::Different)),
        (true, None, Err(IssuerMismatch::Missing)),
        (true, Some(ISSUER), Ok(())),
        (true, Some("https://id.example.com/realm/"), Err(IssuerMismatch::Different)),
        (true, Some(""), Err(IssuerMismatch::Different)),
    ];
    for (announced, iss, expected) in cases {
        let world = World::new();
        let mut document = metadata();
        document["authorization_response_iss_parameter_supported"] = announced.into();
        world.script.reply("/realm/.well-known/openid-configuration", Reply::json(200, &document));
        let metadata = world.provider.metadata().await.unwrap();
        assert_eq!(world.provider.check_callback_issuer(&metadata, iss), expected, "{announced} {iss:?}");
    }
}

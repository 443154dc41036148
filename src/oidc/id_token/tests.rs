//! One case per rule.

use serde_json::{Value, json};

use super::*;
use crate::jwt::forge::{Forge, P256};
use crate::oidc::script::{ISSUER, NOW, World, answer, claims, id_token, secret, settings};

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

async fn login(token: String) -> Result<VerifiedIdToken, IdTokenError> {
    World::new().provider.verify_login(&answer(Some(token)), "n").await
}

#[tokio::test]
async fn a_good_token_is_accepted_and_read() {
    let verified = login(id_token(&claims())).await.unwrap();
    assert_eq!((verified.iss.as_str(), verified.sub.as_str()), (ISSUER, "alice"));
    assert_eq!(verified.aud, ["bearward"]);
    assert_eq!((verified.sid.as_deref(), verified.auth_time), (Some("s1"), Some(NOW - 10)));
    assert_eq!(verified.claims["sub"], "alice");
    assert_eq!(format!("{verified:?}"), "VerifiedIdToken(8 claims)");
    let accepted = [
        changed("aud", json!(["bearward"])),
        changed("aud", json!(["friend", "bearward"])),
        changed("azp", json!("bearward")),
        changed("iat", json!(NOW + 10)),
        changed("iat", json!(NOW - 300)),
        changed("nbf", json!(NOW + 30)),
        changed("exp", json!(NOW - 30)),
        changed("at_hash", json!(Algorithm::Es256.half_hash(b"at"))),
        without("sid"),
        without("auth_time"),
    ];
    for claims in accepted {
        assert!(login(id_token(&claims)).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn each_broken_rule_has_its_name() {
    use Rejection::{
        AccessTokenHash, Audience, AuthorizedParty, Expired, IssuedAhead, IssuedLongAgo, Issuer, Kind,
        Missing, Nonce, NotYetValid, UntrustedAudience, WrongType,
    };
    // std:45–std:48, std:52–std:55, std:58
    let cases = [
        (without("iss"), Missing(Claim::Issuer)),
        (without("sub"), Missing(Claim::Subject)),
        (without("aud"), Missing(Claim::Audience)),
        (without("exp"), Missing(Claim::Expiry)),
        (without("iat"), Missing(Claim::IssuedAt)),
        (without("nonce"), Missing(Claim::Nonce)),
        (changed("iss", json!("https://id.example.com/realm/")), Issuer),
        (changed("iss", json!([ISSUER])), WrongType(Claim::Issuer)),
        (changed("sub", json!("")), WrongType(Claim::Subject)),
        (changed("sub", json!("a".repeat(256))), WrongType(Claim::Subject)),
        (changed("sub", json!(7)), WrongType(Claim::Subject)),
        (changed("aud", json!("other")), Audience),
        (changed("aud", json!([])), Audience),
        (changed("aud", json!(["bearward", "stranger"])), UntrustedAudience),
        (changed("aud", json!({"bearward": 1})), WrongType(Claim::Audience)),
        (changed("azp", json!("friend")), AuthorizedParty),
        (changed("azp", json!(["bearward"])), WrongType(Claim::AuthorizedParty)),
        (changed("exp", json!(NOW - 60)), Expired),
        (changed("exp", json!("4000000000")), WrongType(Claim::Expiry)),
        (changed("nbf", json!(NOW + 61)), NotYetValid),
        (changed("nbf", json!("0")), WrongType(Claim::NotBefore)),
        (changed("iat", json!(NOW + 61)), IssuedAhead),
        (changed("iat", json!(NOW - 3661)), IssuedLongAgo),
        (changed("iat", json!(null)), WrongType(Claim::IssuedAt)),
        (changed("nonce", json!("m")), Nonce),
        (changed("nonce", json!("")), Nonce),
        (changed("nonce", json!(["n"])), WrongType(Claim::Nonce)),
        (changed("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), AccessTokenHash),
        (changed("at_hash", json!(1)), WrongType(Claim::AccessTokenHash)),
        (changed("sid", json!(1)), WrongType(Claim::Sid)),
        (changed("auth_time", json!("1")), WrongType(Claim::AuthTime)),
        (changed("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})), Kind),
    ];
    for (claims, expected) in cases {
        assert_eq!(login(id_token(&claims)).await.unwrap_err(), IdTokenError::Rejected(expected), "{claims}");
    }
    for typ in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt"] {
        let token = P256.token("ES256", json!({"kid": "a", "typ": typ}), &claims());
        assert_eq!(login(token).await.unwrap_err(), IdTokenError::Rejected(Kind), "{typ}");
    }
    assert!(login(P256.token("ES256", json!({"kid": "a", "typ": "jwt"}), &claims())).await.is_ok());
}

#[tokio::test]
async fn form_algorithm_and_signature_are_held() {
    // std:49, std:50, std:51
    let none = P256.sign("ES256", r#"{"alg":"none"}"#, &claims().to_string());
    let (signed, _) = none.rsplit_once('.').unwrap();
    let unsigned = format!("{signed}.");
    let twice = claims().to_string().replacen('{', r#"{"sub":"eve","#, 1);
    let duplicate = P256.sign("ES256", r#"{"alg":"ES256","kid":"a"}"#, &twice);
    let jwk = P256.jwk(json!({"kid": "a"})).to_string();
    let confused = Forge::Secret(jwk.into_bytes()).token("HS256", json!({"kid": "a"}), &claims());
    let stranger = Forge::p256();
    let embedded = json!({"kid": "a", "jwk": stranger.jwk(json!({}))});
    let cases = [
        (unsigned, Rejection::Algorithm),
        (confused, Rejection::Algorithm),
        (stranger.token("ES256", json!({"kid": "a"}), &claims()), Rejection::Signature),
        (stranger.token("ES256", embedded, &claims()), Rejection::Signature),
        (duplicate, Rejection::DuplicateMember),
        (String::from("a.b"), Rejection::NotCompact),
    ];
    for (token, expected) in cases {
        assert_eq!(login(token).await.unwrap_err(), IdTokenError::Rejected(expected));
    }
    let missing = World::new().provider.verify_login(&answer(None), "n").await;
    assert_eq!(missing.unwrap_err(), IdTokenError::Missing);
}

#[tokio::test]
async fn a_shared_secret_signs_only_where_it_is_configured() {
    // std:51
    let mut settings = settings();
    settings.id_token_algorithms = vec!["HS256".to_owned(), "ES256".to_owned()];
    let world = World::with(settings);
    let token = |secret: &[u8]| Forge::Secret(secret.to_vec()).token("HS256", json!({}), &claims());
    let good = answer(Some(token(b"client secret")));
    assert!(world.provider.verify_login(&good, "n").await.is_ok());
    assert_eq!(world.script.count("/jwks"), 0);
    let jwk = P256.jwk(json!({"kid": "a"})).to_string();
    for wrong in [b"another".as_slice(), jwk.as_bytes()] {
        let outcome = world.provider.verify_login(&answer(Some(token(wrong))), "n").await;
        assert_eq!(outcome.unwrap_err(), IdTokenError::Rejected(Rejection::Signature));
    }
}

#[tokio::test]
async fn a_refreshed_token_is_of_the_same_login() {
    // std:67, std:68
    let identity = login(id_token(&claims())).await.unwrap().login_identity();
    let cases = [
        (claims(), identity.clone(), Ok(())),
        (without("nonce"), identity.clone(), Ok(())),
        (without("auth_time"), identity.clone(), Ok(())),
        (changed("sid", json!("s2")), identity.clone(), Ok(())),
        (changed("iat", json!(NOW - 100_000)), identity.clone(), Ok(())),
        (changed("sub", json!("mallory")), identity.clone(), Err(Rejection::Subject)),
        (changed("iss", json!("https://evil.example")), identity.clone(), Err(Rejection::Issuer)),
        (changed("aud", json!(["bearward", "friend"])), identity.clone(), Err(Rejection::Audience)),
        (changed("aud", json!("other")), identity.clone(), Err(Rejection::Audience)),
        (changed("auth_time", json!(NOW)), identity.clone(), Err(Rejection::AuthTime)),
        (changed("nonce", json!("m")), identity.clone(), Err(Rejection::Nonce)),
        (changed("exp", json!(NOW - 60)), identity.clone(), Err(Rejection::Expired)),
        (changed("iat", json!(NOW + 61)), identity.clone(), Err(Rejection::IssuedAhead)),
        (
            changed("aud", json!(["bearward", "friend"])),
            LoginIdentity { aud: Vec::new(), auth_time: None, nonce: None, ..identity.clone() },
            Ok(()),
        ),
        (
            claims(),
            LoginIdentity { iss: "https://old.example".to_owned(), ..identity.clone() },
            Err(Rejection::Issuer),
        ),
    ];
    let world = World::new();
    for (claims, identity, expected) in cases {
        let answer = answer(Some(id_token(&claims)));
        let outcome = world.provider.verify_refreshed(&answer, &identity).await;
        let outcome = outcome.map(|verified| assert!(verified.is_some()));
        assert_eq!(outcome, expected.map_err(IdTokenError::Rejected), "{claims}");
    }
    assert!(world.provider.verify_refreshed(&answer(None), &identity).await.unwrap().is_none());
    let stranger = Forge::p256().token("ES256", json!({"kid": "a"}), &claims());
    let outcome = world.provider.verify_refreshed(&answer(Some(stranger)), &identity).await;
    assert_eq!(outcome.unwrap_err(), IdTokenError::Rejected(Rejection::Signature));
}

#[test]
fn claims_of_an_access_token_are_read_without_a_key() {
    use crate::oidc::access_token_claims;
    let token = P256.token("ES256", json!({}), &json!({"roles": ["a"]}));
    assert_eq!(access_token_claims(&secret(&token)).unwrap()["roles"], json!(["a"]));
    assert!(access_token_claims(&secret("opaque")).is_none());
}

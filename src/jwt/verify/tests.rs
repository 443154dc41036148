//! Every algorithm, with the right key and with every wrong one.

use serde_json::{Value, json};

use super::*;
use crate::jwt::forge::{ED25519, Forge, P256, P384, RSA};

const ALL: &[(&str, Algorithm)] = &[
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
    ("Ed25519", Algorithm::EdDsa),
];

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn outcome(token: &str, keys: &KeySet) -> Result<(), Rejection> {
    let allowed: Vec<Algorithm> = ALL.iter().map(|(_, algorithm)| *algorithm).collect();
    with_keys(&Jws::parse(token, &allowed)?, keys)
}

fn signer(alg: &str) -> &'static Forge {
    match alg {
        "ES256" => &P256,
        "ES384" => &P384,
        "EdDSA" | "Ed25519" => &ED25519,
        _ => &RSA,
    }
}

#[test]
fn every_algorithm_verifies_with_its_own_key_only() {
    let everything =
        set(&[RSA.jwk(json!({})), P256.jwk(json!({})), P384.jwk(json!({})), ED25519.jwk(json!({}))]);
    for (name, _) in ALL {
        let token = signer(name).token(name, json!({}), &json!({"sub": "a"}));
        assert_eq!(outcome(&token, &everything), Ok(()), "{name}");
        // A signature by another algorithm of the family is another signature.
        for (other, _) in ALL.iter().filter(|(other, _)| signer(other).jwk(json!({}))["kty"] == "RSA") {
            let header = json!({"alg": other}).to_string();
            let swapped = signer(name).sign(name, &header, "{}");
            let good = other == name;
            assert_eq!(outcome(&swapped, &everything).is_ok(), good, "{name} as {other}");
        }
        // Somebody else's signature.
        let (signed, _) = token.rsplit_once('.').unwrap();
        for forged in ["", "AAAA", "QQ"] {
            let forged = format!("{signed}.{forged}");
            assert_eq!(outcome(&forged, &everything), Err(Rejection::Signature), "{name}");
        }
    }
}

#[test]
fn several_keys_of_one_id_are_all_tried() {
    let keys = set(&[
        Forge::p256().jwk(json!({"kid": "a"})),
        RSA.jwk(json!({"kid": "a"})),
        P256.jwk(json!({"kid": "a"})),
    ]);
    let token = P256.token("ES256", json!({"kid": "a"}), &json!({}));
    assert_eq!(outcome(&token, &keys), Ok(()));
    let unknown = P256.token("ES256", json!({"kid": "b"}), &json!({}));
    assert_eq!(outcome(&unknown, &keys), Err(Rejection::UnknownKey));
    let stranger = Forge::p256().token("ES256", json!({"kid": "a"}), &json!({}));
    assert_eq!(outcome(&stranger, &keys), Err(Rejection::Signature));
}

#[test]
fn a_public_key_is_never_a_secret() {
    // std:51: the classic confusion, an HMAC keyed with the text of the public key.
    let public = RSA.jwk(json!({})).to_string().into_bytes();
    let token = Forge::Secret(public).token("HS256", json!({}), &json!({}));
    let parsed = Jws::parse(&token, &[Algorithm::Hs256, Algorithm::Rs256]).unwrap();
    assert_eq!(with_keys(&parsed, &set(&[RSA.jwk(json!({}))])), Err(Rejection::UnknownKey));
    assert_eq!(with_secret(&parsed, b"the client's secret"), Err(Rejection::Signature));

    let honest = Forge::Secret(b"the client's secret".to_vec()).token("HS256", json!({}), &json!({}));
    let parsed = Jws::parse(&honest, &[Algorithm::Hs256]).unwrap();
    assert_eq!(with_secret(&parsed, b"the client's secret"), Ok(()));

    let signed = RSA.token("RS256", json!({}), &json!({}));
    let parsed = Jws::parse(&signed, &[Algorithm::Rs256]).unwrap();
    assert_eq!(with_secret(&parsed, b"the client's secret"), Err(Rejection::Algorithm));
}

//! Which keys are kept, and which are tried.

use serde_json::json;

use super::*;
use crate::jwt::forge::{self, ED25519, Forge, P256, P384, RSA};

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

#[test]
fn what_must_not_verify_is_skipped_and_the_rest_is_kept() {
    // std:152
    let weak = forge::encode(&[0xff; 255]);
    let padded = forge::encode(&[&[0][..], &[0xff; 256]].concat());
    let cases = [
        (RSA.jwk(json!({"use": "sig", "alg": "RS256", "key_ops": ["verify"]})), true),
        (RSA.jwk(json!({"n": padded})), true),
        (P256.jwk(json!({})), true),
        (P384.jwk(json!({"alg": "ES384"})), true),
        (ED25519.jwk(json!({"alg": "Ed25519"})), true),
        (RSA.jwk(json!({"use": "enc"})), false),
        (RSA.jwk(json!({"use": 1})), false),
        (RSA.jwk(json!({"key_ops": ["encrypt", "wrapKey"]})), false),
        (RSA.jwk(json!({"key_ops": "verify"})), false),
        (RSA.jwk(json!({"alg": "RSA-OAEP"})), false),
        (RSA.jwk(json!({"alg": "ES256"})), false),
        (RSA.jwk(json!({"n": weak})), false),
        (RSA.jwk(json!({"n": forge::encode(&[0xff; 1025])})), false),
        (RSA.jwk(json!({"n": ""})), false),
        (RSA.jwk(json!({"e": 65537})), false),
        (RSA.jwk(json!({"d": "AQAB"})), false),
        (RSA.jwk(json!({"kid": 1})), false),
        (P256.jwk(json!({"crv": "P-384"})), false),
        (P256.jwk(json!({"crv": "secp256k1"})), false),
        (P256.jwk(json!({"y": "AA"})), false),
        (ED25519.jwk(json!({"crv": "X25519"})), false),
        (Forge::Secret(vec![1; 32]).jwk(json!({"alg": "HS256"})), false),
        (json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}), false),
        (json!({}), false),
        (json!("key"), false),
    ];
    for (jwk, kept) in cases {
        assert_eq!(set(&[jwk.clone(), P256.jwk(json!({}))]).len(), 1 + usize::from(kept), "{jwk}");
    }
}

#[test]
fn only_an_object_with_a_list_is_a_set() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>"] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(KeySet::parse(br#"{"keys":[],"more":1}"#).unwrap().is_empty());
}

#[test]
fn the_choice_is_by_id_family_and_algorithm() {
    // std:59, std:60
    let keys = set(&[
        RSA.jwk(json!({"kid": "a", "alg": "RS256"})),
        P256.jwk(json!({"kid": "a"})),
        P384.jwk(json!({"kid": "a"})),
        RSA.jwk(json!({"kid": "b", "alg": "PS256"})),
        RSA.jwk(json!({})),
    ]);
    let count = |algorithm, id| keys.candidates(algorithm, id).count();
    assert_eq!(count(Algorithm::Rs256, Some("a")), 1);
    assert_eq!(count(Algorithm::Rs384, Some("a")), 0);
    assert_eq!(count(Algorithm::Es256, Some("a")), 1);
    assert_eq!(count(Algorithm::Es384, Some("a")), 1);
    assert_eq!(count(Algorithm::EdDsa, Some("a")), 0);
    assert_eq!(count(Algorithm::Ps256, Some("b")), 1);
    assert_eq!(count(Algorithm::Rs256, Some("c")), 0);
    assert_eq!(count(Algorithm::Rs256, None), 2);
    assert_eq!(count(Algorithm::Hs256, None), 0);
    let many = set(&vec![P256.jwk(json!({})); 10]);
    assert_eq!(many.candidates(Algorithm::Es256, None).count(), TRIES);
}

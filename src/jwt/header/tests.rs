//! The form of tokens.

use serde_json::json;

use super::*;
use crate::jwt::forge::{Forge, encode};

const ALLOWED: &[Algorithm] = &[Algorithm::Rs256, Algorithm::Es256];

fn check(token: &str, expected: Result<(), Rejection>) {
    assert_eq!(Jws::parse(token, ALLOWED).map(|_| ()), expected, "{token}");
}

fn secret() -> Forge {
    Forge::Secret(vec![7; 32])
}

#[test]
fn only_three_parts_of_strict_base64url_are_a_token() {
    let good = secret().sign("HS256", r#"{"alg":"RS256"}"#, "{}");
    check(&good, Ok(()));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = signed.split_once('.').unwrap();
    let cases = [
        (String::new(), Rejection::NotCompact),
        (String::from("opaque"), Rejection::NotCompact),
        (signed.to_owned(), Rejection::NotCompact),
        (format!("{good}.x.y"), Rejection::NotCompact),
        (format!(".{payload}.{signature}"), Rejection::NotCompact),
        (format!("{header}..{signature}"), Rejection::NotCompact),
        (json!({"payload": payload, "signatures": []}).to_string(), Rejection::NotCompact),
        (format!("{header}=.{payload}.{signature}"), Rejection::Encoding),
        (format!("{header}.{payload}.{signature}="), Rejection::Encoding),
        (format!("{header}.{payload}. {signature}"), Rejection::Encoding),
        (format!("{header}.{payload}\n.{signature}"), Rejection::Encoding),
        (format!("{header}.{payload}.+/"), Rejection::Encoding),
        // The last two bits of a byte's second character must be zero.
        (format!("{header}.{payload}.QR"), Rejection::Encoding),
        (format!("{}.{payload}.{signature}", encode(b"[]")), Rejection::NotJson),
        (format!("{}.{payload}.{signature}", encode(b"\xff{}")), Rejection::NotJson),
        (format!("{header}.{}.{signature}", encode(b"1")), Rejection::NotJson),
        ("a".repeat(LONGEST + 1), Rejection::TooLong),
    ];
    for (token, expected) in cases {
        check(&token, Err(expected));
    }
}

#[test]
fn header_rules_come_before_any_key() {
    // std:50, std:57, std:63
    let cases = [
        (r#"{"alg":"ES256","kid":"a","typ":"JWT","jku":"https://evil","x5u":1,"jwk":{},"x5c":[]}"#, Ok(())),
        (r#"{"alg":"none"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":"None"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":"nOnE"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":"HS256"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":"RS512"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":"rs256"}"#, Err(Rejection::Algorithm)),
        (r#"{"alg":""}"#, Err(Rejection::Algorithm)),
        ("{}", Err(Rejection::Header)),
        (r#"{"alg":["RS256"]}"#, Err(Rejection::Header)),
        (r#"{"alg":null}"#, Err(Rejection::Header)),
        (r#"{"alg":"RS256","kid":1}"#, Err(Rejection::Header)),
        (r#"{"alg":"RS256","typ":{}}"#, Err(Rejection::Header)),
        (r#"{"alg":"RS256","crit":["b64"],"b64":false}"#, Err(Rejection::Critical)),
        (r#"{"alg":"RS256","crit":[]}"#, Err(Rejection::Critical)),
        (r#"{"alg":"RS256","alg":"none"}"#, Err(Rejection::DuplicateMember)),
        (r#"{"alg":"RS256","x":{"a":1,"a":2}}"#, Err(Rejection::DuplicateMember)),
    ];
    for (header, expected) in cases {
        check(&secret().sign("HS256", header, "{}"), expected);
    }
    let twice = secret().sign("HS256", r#"{"alg":"RS256"}"#, r#"{"sub":"a","sub":"b"}"#);
    check(&twice, Err(Rejection::DuplicateMember));
    // An encrypted token has five parts.
    check("eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", Err(Rejection::NotCompact));
}

#[test]
fn the_kind_is_compared_without_case_and_prefix() {
    for (typ, expected) in [("JWT", "jwt"), ("application/at+jwt", "at+jwt"), ("AT+JWT", "at+jwt")] {
        let header = json!({"alg": "RS256", "typ": typ}).to_string();
        let token = secret().sign("HS256", &header, "{}");
        assert_eq!(Jws::parse(&token, ALLOWED).unwrap().kind(), Some(expected));
    }
}

#[test]
fn claims_of_an_opaque_token_are_nobodys() {
    assert!(unverified_claims("opaque").is_none());
    assert!(unverified_claims("a.b.c").is_none());
    let token = secret().sign("HS256", "{}", r#"{"roles":["x"]}"#);
    assert_eq!(unverified_claims(&token).unwrap()["roles"], json!(["x"]));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in "[A-Za-z0-9_.=-]{0,80}|\\PC{0,40}") {
        drop(Jws::parse(&text, ALLOWED));
        drop(unverified_claims(&text));
    }
}

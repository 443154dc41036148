//! Types, times and audiences.

use serde_json::json;

use super::*;

fn claims(value: Value) -> Claims {
    Claims::new(value.as_object().unwrap().clone())
}

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const LEEWAY: Duration = Duration::from_secs(60);

#[test]
fn a_claim_of_the_wrong_type_is_never_absent() {
    for wrong in [json!(1), json!(null), json!(true), json!(["a"]), json!({})] {
        let found = claims(json!({"nonce": wrong}));
        assert_eq!(found.text(Claim::Nonce), Err(Rejection::WrongType(Claim::Nonce)), "{wrong}");
    }
    for wrong in [json!("1000000"), json!(null), json!(true), json!([1]), json!({}), json!(1e300)] {
        let found = claims(json!({"exp": wrong, "nbf": wrong}));
        assert_eq!(found.date(Claim::Expiry), Err(Rejection::WrongType(Claim::Expiry)), "{wrong}");
        assert_eq!(found.date(Claim::NotBefore), Err(Rejection::WrongType(Claim::NotBefore)), "{wrong}");
    }
    for wrong in [json!(1), json!(null), json!(["a", 1]), json!({"a": 1})] {
        let found = claims(json!({"aud": wrong}));
        assert_eq!(found.audiences(), Err(Rejection::WrongType(Claim::Audience)), "{wrong}");
    }
    let empty = claims(json!({}));
    assert_eq!(empty.text(Claim::Nonce), Ok(None));
    assert_eq!(empty.required_text(Claim::Subject), Err(Rejection::Missing(Claim::Subject)));
    assert_eq!(empty.audiences(), Err(Rejection::Missing(Claim::Audience)));
    assert_eq!(empty.check_validity(NOW, LEEWAY), Err(Rejection::Missing(Claim::Expiry)));
}

#[test]
fn validity_has_a_leeway_on_both_sides() {
    // std:52
    let at = 1_000_000;
    let cases = [
        (json!({"exp": at + 1}), Ok(())),
        (json!({"exp": at + 1, "nbf": at}), Ok(())),
        (json!({"exp": at - 59}), Ok(())),
        (json!({"exp": f64::from(at) - 58.5}), Ok(())),
        (json!({"exp": at - 60}), Err(Rejection::Expired)),
        (json!({"exp": -1}), Err(Rejection::Expired)),
        (json!({"exp": at + 1, "nbf": at + 60}), Ok(())),
        (json!({"exp": at + 99, "nbf": at + 61}), Err(Rejection::NotYetValid)),
        (json!({"exp": i64::MAX, "nbf": i64::MIN}), Ok(())),
    ];
    for (value, expected) in cases {
        assert_eq!(claims(value.clone()).check_validity(NOW, LEEWAY), expected, "{value}");
    }
}

#[test]
fn issue_is_neither_ahead_nor_absurdly_far_back() {
    // std:53
    let cases = [
        (json!({"iat": 1_000_010}), Ok(())),
        (json!({"iat": 1_000_060}), Ok(())),
        (json!({"iat": 1_000_061}), Err(Rejection::IssuedAhead)),
        (json!({"iat": 1_000_000 - 160}), Ok(())),
        (json!({"iat": 1_000_000 - 161}), Err(Rejection::IssuedLongAgo)),
        (json!({}), Err(Rejection::Missing(Claim::IssuedAt))),
    ];
    for (value, expected) in cases {
        let outcome = claims(value.clone()).check_issued(NOW, LEEWAY, Duration::from_secs(100));
        assert_eq!(outcome, expected, "{value}");
    }
}

#[test]
fn the_audience_is_us_and_nobody_untrusted() {
    // std:47
    let cases = [
        (json!("us"), Ok(())),
        (json!(["us"]), Ok(())),
        (json!(["api", "us"]), Ok(())),
        (json!("them"), Err(Rejection::Audience)),
        (json!("US"), Err(Rejection::Audience)),
        (json!([]), Err(Rejection::Audience)),
        (json!(["api"]), Err(Rejection::Audience)),
        (json!(["us", "them"]), Err(Rejection::UntrustedAudience)),
    ];
    for (value, expected) in cases {
        let outcome = claims(json!({"aud": value})).check_audience("us", &["api".to_owned()]);
        assert_eq!(outcome, expected, "{value}");
    }
}

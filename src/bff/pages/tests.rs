//! The table of all denials, and what no page may do.

use std::collections::HashSet;

use super::*;
use crate::gate::denial::CookieFate;

const ID: RequestId = RequestId(0x00c0_ffee_0123_4567);
const ID_TEXT: &str = "00c0ffee01234567";
const HOSTILE: &str = "\"><script>alert(1)</script>'&{{7*7}}\r\nSet-Cookie: a=b";

/// One of each. The match makes a new denial fail to compile until it is here.
#[expect(clippy::too_many_lines, reason = "a table")]
fn denials() -> Vec<Denial> {
    let all = vec![
        Denial::NoRoute,
        Denial::MethodNotAllowed(vec![Method::GET, Method::POST]),
        Denial::AmbiguousPath("an encoded slash"),
        Denial::BadRequest("two `Host` fields"),
        Denial::HeadTooLarge,
        Denial::UriTooLong,
        Denial::BodyTooLarge,
        Denial::NoSession,
        Denial::SessionEnded,
        Denial::SessionExpired,
        Denial::RolledBack,
        Denial::NoRefreshToken,
        Denial::LoginRequired(HOSTILE.to_owned()),
        Denial::RefreshUnknown,
        Denial::RefreshNotAllowed,
        Denial::ProviderUnavailable { retry_after: Duration::from_millis(2500) },
        Denial::CrossSite,
        Denial::OriginNotAllowed,
        Denial::UpstreamUnreachable,
        Denial::UpstreamTimeout,
        Denial::SessionReplaced,
        Denial::Loop,
        Denial::StoreUnavailable { retry_after: Duration::from_secs(1) },
        Denial::HostNotServed,
        Denial::PreflightRefused,
        Denial::ExpectationFailed,
        Denial::CookiesTooLarge,
        Denial::Misdirected,
        Denial::BodyTimeout,
        Denial::UpstreamDown { retry_after: Duration::from_secs(1) },
        Denial::UpstreamBusy,
    ];
    let places = all.iter().map(|denial| match denial {
        Denial::NoRoute => 0,
        Denial::MethodNotAllowed(_) => 1,
        Denial::AmbiguousPath(_) => 2,
        Denial::BadRequest(_) => 3,
        Denial::HeadTooLarge => 4,
        Denial::UriTooLong => 5,
        Denial::BodyTooLarge => 6,
        Denial::NoSession => 7,
        Denial::SessionEnded => 8,
        Denial::SessionExpired => 9,
        Denial::RolledBack => 10,
        Denial::NoRefreshToken => 11,
        Denial::LoginRequired(_) => 12,
        Denial::RefreshUnknown => 13,
        Denial::RefreshNotAllowed => 14,
        Denial::ProviderUnavailable { .. } => 15,
        Denial::CrossSite => 16,
        Denial::OriginNotAllowed => 17,
        Denial::UpstreamUnreachable => 18,
        Denial::UpstreamTimeout => 19,
        Denial::SessionReplaced => 20,
        Denial::Loop => 21,
        Denial::StoreUnavailable { .. } => 22,
        Denial::HostNotServed => 23,
        Denial::PreflightRefused => 24,
        Denial::ExpectationFailed => 25,
        Denial::CookiesTooLarge => 26,
        Denial::Misdirected => 27,
        Denial::BodyTimeout => 28,
        Denial::UpstreamDown { .. } => 29,
        Denial::UpstreamBusy => 30,
    });
    assert!(places.eq(0..31), "a denial is missing from the table");
    all
}

fn links() -> Links {
    Links::new(&Url::parse("https://app.example.com").unwrap(), "/oauth2").returning_to("/a?b=\"c\"&d")
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[track_caller]
fn check_page(response: &Response<Bytes>, status: StatusCode, action: &str) {
    let html = body(response);
    assert_eq!(response.status(), status);
    assert!(html.contains(ID_TEXT), "{html}");
    assert_eq!(html.matches("<a ").count(), 1, "one thing to do: {html}");
    assert!(html.contains(&format!(">{action}</a>")), "{action}: {html}");
    assert_eq!(html.matches("<h1>").count(), 1);
    for outside in
        ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "http://", "https://", "style="]
    {
        assert!(!html.contains(outside), "{outside}: {html}");
    }
    assert_eq!(field(response, "content-type"), "text/html; charset=utf-8");
    assert_eq!(field(response, "cache-control"), "no-store");
    assert_eq!(field(response, "x-content-type-options"), "nosniff");
    assert_eq!(field(response, "referrer-policy"), "no-referrer");
    // std:129
    assert_eq!(field(response, "strict-transport-security"), "max-age=31536000");
    let policy = field(response, "content-security-policy");
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
}

#[test]
fn every_denial_has_a_page_with_an_id_and_one_action() {
    for denial in denials() {
        let effects = denial.effects();
        let page = error_page(&denial, ID, &links());
        let action = match effects.remedy {
            Remedy::Login if effects.label == "no_session" => "Log in",
            Remedy::Login | Remedy::LoginByHand => "Log in again",
            Remedy::Retry => "Try again",
            Remedy::Nothing => "Go to the start page",
        };
        check_page(&page, effects.status, action);
        assert!(body(&page).contains(effects.label));
        check_demanded_fields(&page, &denial);
    }
}

// std:129
#[track_caller]
fn check_demanded_fields(response: &Response<Bytes>, denial: &Denial) {
    let status = response.status();
    assert_eq!(status == StatusCode::UNAUTHORIZED, response.headers().contains_key("www-authenticate"));
    assert_eq!(status == StatusCode::SERVICE_UNAVAILABLE, response.headers().contains_key("retry-after"));
    assert_eq!(status == StatusCode::METHOD_NOT_ALLOWED, response.headers().contains_key("allow"));
    assert!(!response.headers().contains_key("set-cookie"), "cookies are the caller's: {denial:?}");
    let challenge = field(response, "www-authenticate").to_ascii_lowercase();
    let prompting = ["basic", "digest", "ntlm", "negotiate", "bearer"];
    assert!(!prompting.iter().any(|scheme| challenge.starts_with(scheme)), "{challenge}");
}

#[test]
fn every_denial_has_a_problem_document() {
    let mut types = HashSet::new();
    for denial in denials() {
        let effects = denial.effects();
        let response = problem(&denial, ID, Some("/oauth2/login"));
        assert_eq!(response.status(), effects.status);
        assert_eq!(field(&response, "content-type"), "application/problem+json");
        assert_eq!(field(&response, "cache-control"), "no-store");
        assert_eq!(field(&response, "x-content-type-options"), "nosniff");
        check_demanded_fields(&response, &denial);
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(document["type"], format!("urn:bearward:problem:{}", effects.label));
        assert_eq!(document["status"], effects.status.as_u16());
        assert_eq!(document["request_id"], ID_TEXT);
        assert_eq!(document["instance"], format!("urn:bearward:request:{ID_TEXT}"));
        assert!(document["title"].is_string() && document["detail"].is_string());
        let mendable = effects.status == StatusCode::UNAUTHORIZED
            && matches!(effects.remedy, Remedy::Login | Remedy::LoginByHand);
        assert_eq!(document.get("login_url").is_some(), mendable, "{denial:?}");
        assert!(types.insert(document["type"].to_string()), "two denials of one type");
    }
}

#[test]
fn a_problem_without_a_login_url_has_no_such_member() {
    assert!(!body(&problem(&Denial::NoSession, ID, None)).contains("login_url"));
}

#[test]
fn what_exactly_was_wrong_is_told_to_programs_only() {
    let denial = Denial::BadRequest("two `Host` fields");
    assert!(body(&problem(&denial, ID, None)).contains("Cause: two `Host` fields."));
    assert!(!body(&error_page(&denial, ID, &links())).contains("Host"));
}

#[test]
fn a_fault_says_that_the_login_stands_and_only_an_ended_session_says_otherwise() {
    for denial in denials() {
        let text = body(&error_page(&denial, ID, &links())).to_owned();
        if matches!(
            denial,
            Denial::UpstreamUnreachable
                | Denial::UpstreamTimeout
                | Denial::UpstreamBusy
                | Denial::UpstreamDown { .. }
        ) {
            assert!(text.contains("Your login is not affected"), "{denial:?}");
        }
        if matches!(denial, Denial::ProviderUnavailable { .. } | Denial::StoreUnavailable { .. }) {
            assert!(text.contains("If you were logged in, you still are"), "{denial:?}");
        }
        if text.contains("You were logged out") {
            assert_eq!(denial.effects().cookie, CookieFate::Delete);
        }
    }
}

#[test]
fn the_time_to_come_back_is_rounded_up_and_never_zero() {
    for (retry_after, expected) in [(0, "1"), (1, "1"), (1000, "1"), (2500, "3"), (10_000, "10")] {
        let denial = Denial::ProviderUnavailable { retry_after: Duration::from_millis(retry_after) };
        assert_eq!(field(&error_page(&denial, ID, &links()), "retry-after"), expected);
    }
}

#[test]
fn the_allowed_methods_are_listed() {
    let denial = Denial::MethodNotAllowed(vec![Method::GET, Method::POST]);
    assert_eq!(field(&problem(&denial, ID, None), "allow"), "GET, POST");
}

#[test]
fn hostile_text_is_escaped_everywhere() {
    let failure = LoginFailure { status: StatusCode::BAD_REQUEST, label: HOSTILE, text: HOSTILE };
    let hostile = Links { login: format!("javascript:{HOSTILE}"), ..links() };
    let page = login_failed_page(&failure, ID, &hostile);
    check_page(&page, StatusCode::BAD_REQUEST, "Log in again");
    assert_eq!(body(&page).matches("&#34;&#62;&#60;script").count(), 3, "{}", body(&page));
    // What a denial carries from outside is not shown at all.
    let denial = Denial::LoginRequired(HOSTILE.to_owned());
    assert!(!body(&error_page(&denial, ID, &links())).contains("alert"));
    assert!(!body(&problem(&denial, ID, None)).contains("alert"));
    // A problem document's own link is data, and stays inside its JSON string.
    let response = problem(&Denial::NoSession, ID, Some(HOSTILE));
    let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(document["login_url"], HOSTILE);
}

#[test]
fn the_return_target_is_encoded_into_the_login_link() {
    assert_eq!(links().login_url(), "/oauth2/login?rd=%2Fa%3Fb%3D%22c%22%26d");
    let page = error_page(&Denial::NoSession, ID, &links());
    assert!(body(&page).contains("href=\"/oauth2/login?rd=%2Fa%3Fb%3D%22c%22%26d\""), "{}", body(&page));
}

#[test]
fn the_policy_allows_exactly_the_style_of_the_page() {
    let page = logged_out_page(ID, &links());
    let html = body(&page);
    let style = html.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = base64_simd::STANDARD.encode_to_string(sha256(style.as_bytes()));
    assert!(field(&page, "content-security-policy").contains(&format!("style-src 'sha256-{hash}'")));
}

#[test]
fn a_logout_ends_on_a_page_with_a_way_back() {
    check_page(&logged_out_page(ID, &links()), StatusCode::OK, "Log in again");
}

#[test]
fn a_login_failure_demands_what_its_status_demands() {
    let failure = |status| LoginFailure { status, label: "state_mismatch", text: "It took too long." };
    let page = login_failed_page(&failure(StatusCode::UNAUTHORIZED), ID, &links());
    assert!(page.headers().contains_key("www-authenticate"));
    let page = login_failed_page(&failure(StatusCode::SERVICE_UNAVAILABLE), ID, &links());
    assert_eq!(field(&page, "retry-after"), "2");
}

// std:129
#[test]
fn strict_transport_is_not_demanded_of_plain_http() {
    let links = Links::new(&Url::parse("http://localhost:4180").unwrap(), "/oauth2");
    assert_eq!(field(&error_page(&Denial::NoRoute, ID, &links), "strict-transport-security"), "");
}

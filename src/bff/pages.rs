//! Pages and problem documents: what happened, a request id, one thing to do.
//!
//! Every answer of the gateway that is not an upstream's is made here. Nothing of the request is shown but its
//! id, templates escape what they are given, and a page loads nothing: its only style is allowed by hash.
//! Cookies are not set here; the caller adds them. Bodies are the same for `HEAD`; the caller leaves them out.

use std::sync::LazyLock;
use std::time::Duration;

use askama::Template;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use serde::Serialize;
use url::Url;

use crate::base::secret::sha256;
use crate::gate::denial::{Denial, Remedy};
use crate::gate::head::RequestId;

mod wording;

/// Where the one thing to do on a page leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    login: String,
    home: String,
    transport: Transport,
}

/// How browsers reach us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Https,
    Http,
}

impl Links {
    /// From the origin that browsers see and the path of our endpoints.
    pub fn new(public_url: &Url, base_path: &str) -> Self {
        let transport = if public_url.scheme() == "https" { Transport::Https } else { Transport::Http };
        Self { login: format!("{base_path}/login"), home: String::from("/"), transport }
    }

    /// The same, with a login that ends at `return_to`, a path that was checked.
    #[must_use]
    pub fn returning_to(&self, return_to: &str) -> Self {
        let query =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("rd", return_to).finish();
        Self { login: format!("{}?{query}", self.login), ..self.clone() }
    }

    /// Where a login starts: the `login_url` of [`problem`].
    pub fn login_url(&self) -> &str {
        &self.login
    }
}

/// Why a login came to nothing, as its page tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailure<'a> {
    /// The status of the page.
    pub status: StatusCode,
    /// The reason code, as in logs.
    pub label: &'a str,
    /// What happened, in plain words of ours: never what the provider or the query said.
    pub text: &'a str,
}

/// The page for a navigation that was refused.
pub fn error_page(denial: &Denial, request_id: RequestId, links: &Links) -> Response<Bytes> {
    let effects = denial.effects();
    let wording = wording::of(denial);
    let page = Page {
        title: wording.title,
        text: wording.text,
        mark: if effects.status.is_server_error() { Mark::Wait } else { Mark::Stop },
        action: action(denial, links),
        label: effects.label,
        request_id,
        style: STYLE,
    };
    let mut response = page.respond(effects.status, links);
    add_denial_headers(response.headers_mut(), denial);
    response
}

/// The page for a login that came to nothing.
pub fn login_failed_page(
    failure: &LoginFailure<'_>,
    request_id: RequestId,
    links: &Links,
) -> Response<Bytes> {
    let page = Page {
        title: "The login did not work",
        text: failure.text,
        mark: Mark::Stop,
        action: Action { href: &links.login, text: "Log in again" },
        label: failure.label,
        request_id,
        style: STYLE,
    };
    let mut response = page.respond(failure.status, links);
    if failure.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
    }
    if failure.status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, seconds(SOON));
    }
    response
}

/// The page after a logout.
pub fn logged_out_page(request_id: RequestId, links: &Links) -> Response<Bytes> {
    let page = Page {
        title: "You are logged out",
        text: "Your session here has ended, in every tab of this browser.",
        mark: Mark::Done,
        action: Action { href: &links.login, text: "Log in again" },
        label: "logged_out",
        request_id,
        style: STYLE,
    };
    page.respond(StatusCode::OK, links)
}

/// The problem document for a program that was refused (RFC 9457).
///
/// `login_url` is told only with a 401 that a login mends.
pub fn problem(denial: &Denial, request_id: RequestId, login_url: Option<&str>) -> Response<Bytes> {
    let effects = denial.effects();
    let mendable = effects.status == StatusCode::UNAUTHORIZED
        && matches!(effects.remedy, Remedy::Login | Remedy::LoginByHand);
    let document = Problem {
        kind: format!("urn:bearward:problem:{}", effects.label),
        code: effects.label,
        title: wording::of(denial).title,
        status: effects.status.as_u16(),
        detail: wording::detail(denial),
        instance: format!("urn:bearward:request:{request_id}"),
        request_id: request_id.to_string(),
        login_url: login_url.filter(|_| mendable),
    };
    // A struct of texts and a number always serializes; an empty body would still have the right status.
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = effects.status;
    add_headers(response.headers_mut(), &PROBLEM_HEADERS);
    add_denial_headers(response.headers_mut(), denial);
    response
}

/// RFC 9457 §3.1, and three members of ours.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    /// The reason code, the last part of `type`: what a script compares.
    code: &'static str,
    title: &'a str,
    status: u16,
    detail: String,
    instance: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: &'a str,
    text: &'a str,
    mark: Mark,
    action: Action<'a>,
    label: &'a str,
    request_id: RequestId,
    style: &'static str,
}

/// The sign above the title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Stop,
    Wait,
    Done,
}

/// The one thing to do.
struct Action<'a> {
    href: &'a str,
    text: &'static str,
}

impl Page<'_> {
    fn respond(&self, status: StatusCode, links: &Links) -> Response<Bytes> {
        // Writing into a string does not fail; the title alone would still say what happened.
        let body = self.render().unwrap_or_else(|_| String::from("<!doctype html><title>Error</title>"));
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        add_headers(headers, &PAGE_HEADERS);
        headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
        if links.transport == Transport::Https {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, ONE_YEAR);
        }
        response
    }
}

fn action<'a>(denial: &Denial, links: &'a Links) -> Action<'a> {
    match denial.effects().remedy {
        Remedy::Login if *denial == Denial::NoSession => Action { href: &links.login, text: "Log in" },
        Remedy::Login | Remedy::LoginByHand => Action { href: &links.login, text: "Log in again" },
        // An empty reference is the page's own address (RFC 3986 §4.4), so it need not be written into the page.
        Remedy::Retry => Action { href: "", text: "Try again" },
        Remedy::Nothing => Action { href: &links.home, text: "Go to the start page" },
    }
}

/// Header fields that a status demands.
fn add_denial_headers(headers: &mut HeaderMap, denial: &Denial) {
    match denial.effects().status {
        // RFC 9110 §15.5.2, std:129
        StatusCode::UNAUTHORIZED => headers.insert(header::WWW_AUTHENTICATE, CHALLENGE),
        StatusCode::SERVICE_UNAVAILABLE => headers.insert(header::RETRY_AFTER, seconds(retry_after(denial))),
        _ => None,
    };
    if let Denial::MethodNotAllowed(allowed) = denial {
        headers.insert(header::ALLOW, allow(allowed)); // RFC 9110 §15.5.6
    }
}

fn retry_after(denial: &Denial) -> Duration {
    if let Denial::ProviderUnavailable { retry_after }
    | Denial::StoreUnavailable { retry_after }
    | Denial::UpstreamDown { retry_after } = denial
    {
        *retry_after
    } else {
        SOON
    }
}

/// Whole seconds, rounded up, so that nobody comes too early; at least one.
fn seconds(duration: Duration) -> HeaderValue {
    let whole = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    HeaderValue::from(whole.max(1))
}

fn allow(methods: &[Method]) -> HeaderValue {
    let list = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static(""))
}

fn add_headers(headers: &mut HeaderMap, list: &[(HeaderName, &'static str)]) {
    for (name, value) in list {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

const PAGE_HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (header::CONTENT_LANGUAGE, "en"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
];

const PROBLEM_HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "application/problem+json"),
    (header::CONTENT_LANGUAGE, "en"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The scheme that draft-broyer-http-cookie-auth names for sessions kept in cookies. Browsers prompt only for
/// schemes that they know (Basic, Digest, Negotiate), so this one stays silent.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Cookie realm=\"bearward\"");

/// How long the browser insists on https; a year is what ASVS asks for. Other hosts of the domain are not ours.
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// When to come back to a gateway that drains or is full: another replica answers at once.
const SOON: Duration = Duration::from_secs(2);

const STYLE: &str = include_str!("../../templates/page.css");

static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = base64_simd::STANDARD.encode_to_string(sha256(STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    // Base64 is a valid header value; without style the page would still be readable.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(
        "default-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ))
});

#[cfg(test)]
mod tests;

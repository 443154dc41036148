//! An upstream's response head after ours was added to it.

use http::header::{CACHE_CONTROL, CONNECTION, EXPIRES, HeaderName, SET_COOKIE, UPGRADE};
use http::{HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use super::live::Live;
use crate::gate::verdict::ForwardPlan;

/// Applies what the plan says of the response.
///
/// # Errors
/// Where a field cannot be written.
pub(super) fn apply(response: &mut ResponseHeader, plan: &ForwardPlan, live: &Live) -> pingora::Result<()> {
    // 100 and 103 come before the response; a cookie belongs to the response itself. 101 is one.
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(());
    }
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        drop_hop_by_hop(response);
    }
    drop_cookies(response, |name| live.gate.is_own_cookie(name))?;
    if let Some(ticket) = &plan.session {
        // Rule 4: decided now, from the newest generation known.
        let cookies = live.gate.response_cookies(ticket);
        // RFC 9111 §3.5 keeps shared caches off responses to requests that carry `Authorization`. The browser's
        // does not, so a cache before us must be told. std:126
        if !response.headers.contains_key(CACHE_CONTROL) || !cookies.is_empty() {
            response.insert_header(CACHE_CONTROL, "no-store")?;
        }
        if !cookies.is_empty() {
            // Whatever the upstream allows: a stored `Set-Cookie` of ours would log others in as this user.
            for name in [EXPIRES.as_str(), "surrogate-control", "cdn-cache-control"] {
                response.remove_header(name);
            }
        }
        for cookie in cookies {
            response.append_header(SET_COOKIE, cookie)?;
        }
    }
    Ok(())
}

/// An upstream sets no cookie of ours: it could end or replace sessions.
fn drop_cookies(response: &mut ResponseHeader, is_own: impl Fn(&str) -> bool) -> pingora::Result<()> {
    let is_own = |line: &HeaderValue| is_own(&cookie_name(line.as_bytes()));
    if !response.headers.get_all(SET_COOKIE).iter().any(is_own) {
        return Ok(());
    }
    let others: Vec<_> =
        response.headers.get_all(SET_COOKIE).iter().filter(|line| !is_own(line)).cloned().collect();
    response.remove_header(&SET_COOKIE);
    for line in others {
        response.append_header(SET_COOKIE, line)?;
    }
    Ok(())
}

/// The name that a browser reads from a `Set-Cookie` line (6265bis §5.6): up to the first `=` of what comes before
/// the first `;`, without blanks around it.
fn cookie_name(line: &[u8]) -> std::borrow::Cow<'_, str> {
    let pair = line.split(|&byte| byte == b';').next().unwrap_or_default();
    let name = match memchr::memchr(b'=', pair).and_then(|at| pair.get(..at)) {
        Some(name) => name,
        // A cookie without a name; browsers read a prefix like `__Host-` in its value too.
        None => pair,
    };
    String::from_utf8_lossy(name.trim_ascii())
}

/// RFC 9110 §7.6.1: what concerns the upstream's connection only.
fn drop_hop_by_hop(response: &mut ResponseHeader) {
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        // What nearly every response says names no other field.
        .filter(|token| *token != b"keep-alive" && *token != b"close")
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // Framing is pingora's, and it reads these fields after us.
        .filter(|name| name != http::header::TRANSFER_ENCODING && name != http::header::CONTENT_LENGTH)
        .collect();
    for name in &nominated {
        response.remove_header(name);
    }
    response.remove_header(&CONNECTION);
    response.remove_header(&KEEP_ALIVE);
    response.remove_header(&PROXY_CONNECTION);
    // RFC 9110 §15.5.22: only 426 says something with it.
    if response.status != StatusCode::UPGRADE_REQUIRED {
        response.remove_header(&UPGRADE);
    }
}

// Statics: a name that is given as text is parsed each time.
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

#[cfg(test)]
mod tests {
    use super::*;

    fn response(fields: &[(&str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in fields {
            response.append_header((*name).to_owned(), *value).unwrap();
        }
        response
    }

    #[test]
    fn an_upstream_sets_no_cookie_of_ours() {
        let lines = ["a=1", "own=2; Path=/", " own =3", "own", "ownx=4", "b=own=5", "=own"];
        let mut response = response(&lines.map(|line| ("Set-Cookie", line)));
        drop_cookies(&mut response, |name| name == "own").unwrap();
        let left: Vec<_> =
            response.headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(left, ["a=1", "ownx=4", "b=own=5", "=own"]);
    }

    #[test]
    fn what_concerns_the_upstreams_connection_stays_there() {
        let mut response = response(&[
            ("Connection", "close, X-Hop"),
            ("X-Hop", "a"),
            ("Keep-Alive", "timeout=5"),
            ("Upgrade", "h2c"),
            ("X-End", "b"),
        ]);
        drop_hop_by_hop(&mut response);
        let left: Vec<_> = response.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-end"]);
    }
}

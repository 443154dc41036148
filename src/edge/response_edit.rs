//! An upstream's response head after ours was added to it.

use http::header::{
    CACHE_CONTROL, CONNECTION, EXPIRES, Entry, HeaderName, PROXY_AUTHENTICATE, SET_COOKIE, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;

use super::live::Live;
use crate::gate::policy::cors;
use crate::gate::verdict::ForwardPlan;

/// Applies what the plan says of the response.
///
/// Field names go on in lower case, as those of requests do: a map besides the map would be kept for their case.
///
/// # Errors
/// Where the reason phrase cannot be kept.
pub(super) fn apply(response: &mut ResponseHeader, plan: &ForwardPlan, live: &Live) -> pingora::Result<()> {
    let usual = response.status.canonical_reason();
    let reason = response.get_reason_phrase().filter(|reason| usual != Some(reason)).map(str::to_owned);
    let nothing = ResponseHeader::from(http::Response::new(()).into_parts().0);
    let mut parts = Parts::from(std::mem::replace(response, nothing));
    edit(parts.status, &mut parts.headers, plan, live);
    *response = ResponseHeader::from(parts);
    match reason {
        Some(reason) => response.set_reason_phrase(Some(&reason)),
        None => Ok(()),
    }
}

/// The same for a head that is not pingora's.
pub(super) fn edit(status: StatusCode, headers: &mut HeaderMap, plan: &ForwardPlan, live: &Live) {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        drop_hop_by_hop(status, headers);
    }
    drop_cookies(headers, |name| live.gate.is_own_cookie(name));
    // 100 and 103 come before the response; a cookie of ours belongs to the response itself. 101 is one.
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    cors::edit(headers, &plan.route, plan.cors.as_ref());
    if let Some(ticket) = &plan.session {
        // Rule 4: decided now, from the newest generation known.
        let cookies = live.gate.response_cookies(ticket);
        // RFC 9111 §3.5 keeps shared caches off responses to requests that carry `Authorization`. The browser's
        // does not, so a cache before us must be told. std:126
        if !headers.contains_key(CACHE_CONTROL) || !cookies.is_empty() {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if !cookies.is_empty() {
            // Whatever the upstream allows: a stored `Set-Cookie` of ours would log others in as this user.
            for name in [EXPIRES.as_str(), "surrogate-control", "cdn-cache-control"] {
                headers.remove(name);
            }
        }
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }
}

/// An upstream sets no cookie of ours: it could end or replace sessions.
fn drop_cookies(headers: &mut HeaderMap, is_own: impl Fn(&str) -> bool) {
    let Entry::Occupied(set) = headers.entry(SET_COOKIE) else { return };
    let is_own = |line: &HeaderValue| is_own(&cookie_name(line.as_bytes()));
    if !set.iter().any(is_own) {
        return;
    }
    let others: Vec<_> = set.remove_entry_mult().1.filter(|line| !is_own(line)).collect();
    for line in others {
        headers.append(SET_COOKIE, line);
    }
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
fn drop_hop_by_hop(status: StatusCode, headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        // What nearly every response says names no other field.
        .filter(|token| *token != b"keep-alive" && *token != b"close")
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // Framing is judged by whoever read the head, and pingora reads these fields after us.
        .filter(|name| name != http::header::TRANSFER_ENCODING && name != http::header::CONTENT_LENGTH)
        // It is nominated wherever it is sent (RFC 9110 §7.8), and judged below.
        .filter(|name| name != UPGRADE)
        .collect();
    for name in &nominated {
        headers.remove(name);
    }
    headers.remove(CONNECTION);
    headers.remove(&KEEP_ALIVE);
    headers.remove(&PROXY_CONNECTION);
    // RFC 9110 §11.7: what a proxy asks of us, and what it says of our answer, is not for browsers.
    headers.remove(PROXY_AUTHENTICATE);
    headers.remove(&PROXY_AUTHENTICATION_INFO);
    // RFC 9110 §15.5.22: only 426 says something with it.
    if status != StatusCode::UPGRADE_REQUIRED {
        headers.remove(UPGRADE);
    }
}

// Statics: a name that is given as text is parsed each time.
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

#[cfg(test)]
mod tests {
    use super::*;

    fn response(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        });
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn an_upstream_sets_no_cookie_of_ours() {
        let lines = ["a=1", "own=2; Path=/", " own =3", "own", "ownx=4", "b=own=5", "=own"];
        let mut headers = response(&lines.map(|line| ("Set-Cookie", line)));
        drop_cookies(&mut headers, |name| name == "own");
        let left: Vec<_> = headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap()).collect();
        assert_eq!(left, ["a=1", "ownx=4", "b=own=5", "=own"]);
    }

    #[test]
    fn what_concerns_the_upstreams_connection_stays_there() {
        let mut headers = response(&[
            ("Connection", "close, X-Hop"),
            ("X-Hop", "a"),
            ("Keep-Alive", "timeout=5"),
            ("Upgrade", "h2c"),
            ("Proxy-Connection", "close"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "a"),
            ("X-End", "b"),
        ]);
        drop_hop_by_hop(StatusCode::OK, &mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-end"]);
    }
}

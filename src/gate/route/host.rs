//! The host that a request is for.
//!
//! From `:authority` or the `Host` field, never from a forwarded header (std:110). That there is exactly one, and
//! that it agrees with an absolute-form target, was checked by the edge when it read the head (std:116).

use std::borrow::Cow;

use http::header::HOST;
use http::request::Parts;

/// The host of a request: lower case, without port and without the dot of an absolute name; `None` where the
/// request names none, as HTTP/1.0 allows.
pub fn host_of(parts: &Parts) -> Option<Cow<'_, str>> {
    let authority = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    let host = without_port(authority.trim());
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    let upper = host.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) })
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // `[::1]` has colons of its own; only what follows the bracket is a port.
        Some((host, port)) if !port.ends_with(']') => host,
        Some(_) | None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(uri: &str, header: Option<&str>) -> Option<String> {
        let mut request = http::Request::builder().uri(uri);
        if let Some(header) = header {
            request = request.header(HOST, header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        host_of(&parts).map(Cow::into_owned)
    }

    #[test]
    fn the_host_is_lower_case_and_has_no_port() {
        assert_eq!(host("/", Some("App.Example.com:8080")).as_deref(), Some("app.example.com"));
        assert_eq!(host("/", Some("app.example.com.")).as_deref(), Some("app.example.com"));
        assert_eq!(host("/", Some("[::1]:80")).as_deref(), Some("[::1]"));
        assert_eq!(host("/", Some("[::1]")).as_deref(), Some("[::1]"));
        assert_eq!(host("https://h2.example:443/", None).as_deref(), Some("h2.example"));
        assert_eq!(host("/", None), None);
        assert_eq!(host("/", Some("")), None);
    }
}

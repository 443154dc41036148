//! A request's head, from the bytes that were scanned when it arrived.
//!
//! A third reading of one head must not become a third opinion: lines and framing were judged by the scan, names and
//! values are judged by their types, and where anything is unusual the answer is `None` and pingora reads on.

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::edge::head_scan::Ordinary;
use crate::edge::request_edit::ADDED;

/// Reads it. The values share the memory of `head`.
pub(super) fn read(head: &Bytes, shape: &Ordinary) -> Option<Parts> {
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = match head.get(shape.method.clone())? {
        b"GET" => Method::GET,
        b"HEAD" => Method::HEAD,
        _ => return None,
    };
    parts.uri = Uri::from_maybe_shared(slice(head, shape.target.clone())?).ok()?;
    parts.headers = fields(head, shape)?;
    is_plain_host(parts.headers.get(HOST)?.as_bytes()).then_some(parts)
}

fn fields(head: &Bytes, shape: &Ordinary) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(shape.fields + ADDED);
    let (mut at, end) = (shape.first_field, shape.end.checked_sub(2)?);
    while at < end {
        let length = memchr::memchr(b'\n', head.get(at..end)?)?;
        let line = head.get(at..at + length)?.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        let name = HeaderName::from_bytes(line.get(..colon)?).ok()?;
        let value = trimmed(line, colon + 1);
        let value = slice(head, at + value.start..at + value.end)?;
        // Refused are control characters, a lone CR among them.
        headers.try_append(name, HeaderValue::from_maybe_shared(value).ok()?).ok()?;
        at += length + 1;
    }
    Some(headers)
}

/// RFC 9110 §5.5: a value without the blanks around it.
fn trimmed(line: &[u8], from: usize) -> std::ops::Range<usize> {
    let is_blank = |at: usize| matches!(line.get(at), Some(b' ' | b'\t'));
    let (mut start, mut end) = (from, line.len());
    while start < end && is_blank(start) {
        start += 1;
    }
    while start < end && is_blank(end - 1) {
        end -= 1;
    }
    start..end
}

fn slice(head: &Bytes, range: std::ops::Range<usize>) -> Option<Bytes> {
    (range.start <= range.end && range.end <= head.len()).then(|| head.slice(range))
}

/// A name or an IPv4 address, with or without a port. Whatever else may stand in `Host` is not ordinary. std:116
fn is_plain_host(host: &[u8]) -> bool {
    let (name, port) = match memchr::memchr(b':', host) {
        Some(at) => (host.get(..at).unwrap_or_default(), host.get(at + 1..).unwrap_or_default()),
        None => (host, b"80".as_slice()),
    };
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && (1..=5).contains(&port.len())
        && port.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::head_scan::{Progress, Scan};
    use crate::edge::settings::Limits;

    fn parts(head: &str) -> Option<Parts> {
        let limits = Limits { head_bytes: 4_000, header_count: 40, uri_bytes: 400, ..Limits::small() };
        let Ok(Progress::Complete(found)) = Scan::default().advance(head.as_bytes(), &limits) else {
            return None;
        };
        read(&Bytes::copy_from_slice(head.as_bytes()), &found.ordinary?)
    }

    fn with(fields: &str) -> Option<Parts> {
        parts(&format!("GET /a?b HTTP/1.1\r\nHost: app.example:8080\r\n{fields}\r\n"))
    }

    #[test]
    fn an_ordinary_request_is_read() {
        let parts = with("Accept:text/html\r\nX-Two: \ta b \r\nX-Two: c\r\nConnection: Keep-Alive\r\nX:\r\n")
            .unwrap();
        assert_eq!((&parts.method, parts.uri.to_string().as_str()), (&Method::GET, "/a?b"));
        let fields: Vec<_> =
            parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 6] = [
            ("host", b"app.example:8080"),
            ("accept", b"text/html"),
            ("x-two", b"a b"),
            ("x-two", b"c"),
            ("connection", b"Keep-Alive"),
            ("x", b""),
        ];
        assert_eq!(fields, expected);
        assert_eq!(parts.headers.len(), 6);
        assert_eq!(parts.version, http::Version::HTTP_11);
    }

    // std:113 to std:119
    #[test]
    fn whatever_is_unusual_is_left_to_pingora() {
        assert!(with("").is_some());
        for fields in [
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: upgrade\r\n",
            "Connection: keep-alive, x\r\n",
            "Connection: close\r\nConnection: x\r\n",
            "Upgrade: websocket\r\n",
            "Expect: 100-continue\r\n",
            "TE: trailers\r\n",
            "Trailer: a\r\n",
            "Keep-Alive: timeout=5\r\n",
            "Proxy-Authorization: a\r\n",
            "Proxy-Connection: keep-alive\r\n",
            "HTTP2-Settings: a\r\n",
            "Name : a\r\n",
            "no colon\r\n",
            ": a\r\n",
            "X: a\rb\r\n",
            "X: a\0b\r\n",
            "X: \u{b}a\r\n",
            "X: \u{c}a\r\n",
            "X: a\u{7f}\r\n",
            "X(: a\r\n",
        ] {
            assert!(with(fields).is_none(), "{fields:?}");
        }
        for line in [
            "POST /a HTTP/1.1",
            "get /a HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET * HTTP/1.1",
            "GET /a HTTP/1.0",
            "GET http://a/ HTTP/1.1",
            "GET /<a> HTTP/1.1",
        ] {
            assert!(parts(&format!("{line}\r\nHost: a\r\n\r\n")).is_none(), "{line}");
        }
        for host in ["", "a b", "u@a", "[::1]", "a:", "a:b", "a:123456", "a,b", "a:1:2"] {
            assert!(parts(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_none(), "{host:?}");
        }
        let behind = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(parts(behind).is_none());
    }

    #[test]
    fn empty_lines_before_a_request_change_nothing() {
        assert_eq!(parts("\r\n\r\nHEAD /a HTTP/1.1\r\nhost:a\r\n\r\n").unwrap().method, Method::HEAD);
    }
}

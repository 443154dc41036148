//! The end of an HTTP/1 head, and what the parser must never see.
//!
//! Pure and incremental: fed with what has arrived, each byte is looked at once. It is stricter than the parser
//! behind it, never looser, so two parsers cannot disagree to a client's advantage. What it does not check (field
//! names, values, chunked framing) pingora does.
//!
//! RFC 9112 §2.2 (bare LF, leading empty lines), §3.2 (Host), §5.2 (obs-fold), §6.1 and §6.3 (framing).

use std::net::Ipv6Addr;
use std::ops::Range;

use http::StatusCode;

use super::settings::Limits;

/// How far a head is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes must come.
    Partial,
    /// The head is complete.
    Complete(Head),
    /// The client speaks HTTP/2 without TLS (RFC 9113 §3.3).
    Preface,
}

/// What is known of a complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Scheme and authority of an absolute-form target, which must go before the head is handed on.
    pub(super) absolute: Option<Range<usize>>,
    /// What goes in their place: an absolute-form target may lack even the slash.
    pub(super) slash: &'static str,
    /// Where its parts lie, where it is nothing out of the ordinary.
    pub(super) ordinary: Option<Ordinary>,
}

/// A head that says nothing of framing, expectations or other protocols: HTTP/1.1, a path as its target, no body, and
/// nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ordinary {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    /// Where the first field line begins.
    pub(super) first_field: usize,
    /// How many field lines there are.
    pub(super) fields: usize,
    /// Where the head ends.
    pub(super) end: usize,
    pub(super) wish: Wish,
}

/// What a client wants to become of its connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    #[default]
    Keep,
    Close,
}

/// Why a head is refused before anyone parsed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not HTTP, or HTTP that can be read in two ways.
    Bad(&'static str),
    /// Too many bytes or fields.
    TooLarge,
    /// The target is too long.
    UriTooLong,
    /// Too many cookies, or too large.
    Cookies,
    /// `CONNECT`: there is nothing that we tunnel.
    Connect,
    /// It did not arrive in time.
    Slow,
    /// No connection is free.
    Full,
    /// The client has too many connections.
    Crowd,
}

impl Fault {
    /// The status of the answer.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge | Self::Cookies => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Crowd => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What is wrong, for whoever debugs a client.
    pub(super) const fn detail(self) -> &'static str {
        match self {
            Self::Bad(what) => what,
            Self::TooLarge => "the header fields are too large or too many",
            Self::UriTooLong => "the request target is too long",
            Self::Cookies => "the cookies are too large or too many",
            Self::Connect => "CONNECT is not served",
            Self::Slow => "the request head did not arrive in time",
            Self::Full => "no connection is free",
            Self::Crowd => "too many connections from one address",
        }
    }

    /// The reason code, the same as that of the denial where there is one.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Bad(_) => "bad_request",
            Self::TooLarge => "head_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::Cookies => "cookies_too_large",
            Self::Connect => "method_not_allowed",
            Self::Slow => "head_timeout",
            Self::Full => "overloaded",
            Self::Crowd => "too_many_connections",
        }
    }
}

/// The state of a scan.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Where the line begins that is being read.
    line: usize,
    /// Everything before this was looked at.
    looked: usize,
    fields: usize,
    request: Option<RequestLine>,
    host: Option<Range<usize>>,
    content_length: Seen,
    transfer_encoding: Seen,
    cookies: Cookies,
    /// Anything that the commonest requests do not have.
    unusual: Seen,
    wish: Wish,
}

#[derive(Debug, Clone)]
struct RequestLine {
    method: Range<usize>,
    target: Range<usize>,
    /// Where the next line begins.
    end: usize,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seen {
    #[default]
    No,
    Yes,
}

impl Scan {
    /// Looks at what arrived since the last call. `bytes` is the whole of it each time.
    ///
    /// # Errors
    /// Where the head must be refused; the connection is of no further use then.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Fault> {
        while let Some(found) = bytes.get(self.looked..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = self.looked + found;
            // Before anything else: a head that arrives in one piece must not slip past its limit.
            if end >= limits.head_bytes {
                return Err(self.too_large(end, limits));
            }
            let start = self.line;
            self.looked = end + 1;
            self.line = end + 1;
            let line = bytes.get(start..end).unwrap_or_default();
            // RFC 9112 §2.2 lets a recipient take a bare LF for a line end; servers differ in whether they do.
            let line = line.strip_suffix(b"\r").ok_or(Fault::Bad("a line ends without CR"))?;
            match self.request.clone() {
                // RFC 9112 §2.2: empty lines before a request line are ignored.
                None if line.is_empty() => {}
                // RFC 9113 §3.4: the first line of the preface.
                None if line == b"PRI * HTTP/2.0" => return Ok(Progress::Preface),
                None => self.request = Some(request_line(line, start, limits)?),
                Some(request) if line.is_empty() => return self.finish(&request, bytes),
                Some(_) => self.field(line, start, limits)?,
            }
        }
        self.looked = bytes.len();
        if bytes.len() > limits.head_bytes {
            return Err(self.too_large(bytes.len(), limits));
        }
        if self.request.is_none() && bytes.len() > longest_request_line(limits) {
            return Err(Fault::UriTooLong);
        }
        Ok(Progress::Partial)
    }

    fn field(&mut self, line: &[u8], at: usize, limits: &Limits) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > limits.header_count {
            return Err(Fault::TooLarge);
        }
        match line.first() {
            // RFC 9112 §5.2: obs-fold. std:115
            Some(b' ' | b'\t') => return Err(Fault::Bad("a folded line")),
            Some(b'h' | b'H') if value(line, b"host:").is_some() => {
                let value = at + b"host:".len()..at + line.len();
                if self.host.replace(value).is_some() {
                    return Err(Fault::Bad("two Host fields")); // std:116
                }
            }
            Some(b'c' | b'C') => {
                // Equal ones would be forwarded as they are; a server that joins them reads another length. std:114
                if let Some(length) = value(line, b"content-length:")
                    && (self.content_length.again() || length.contains(&b','))
                {
                    return Err(Fault::Bad("two Content-Length values"));
                }
                if let Some(options) = value(line, b"connection:") {
                    self.hear(options);
                }
                if let Some(cookies) = value(line, b"cookie:") {
                    self.cookies.add(cookies);
                    if self.cookies.exceed(limits) {
                        return Err(Fault::Cookies);
                    }
                }
            }
            Some(b't' | b'T') => {
                if let Some(coding) = value(line, b"transfer-encoding:")
                    && (self.transfer_encoding.again() || !coding.eq_ignore_ascii_case(b"chunked"))
                {
                    return Err(Fault::Bad("a transfer coding other than one chunked")); // std:113
                }
                if is_unusual(line) {
                    self.unusual = Seen::Yes;
                }
            }
            Some(b'e' | b'E' | b'h' | b'H' | b'k' | b'K' | b'p' | b'P' | b'u' | b'U') if is_unusual(line) => {
                self.unusual = Seen::Yes;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    fn hear(&mut self, options: &[u8]) {
        if options.eq_ignore_ascii_case(b"close") {
            self.wish = Wish::Close;
        } else if !options.eq_ignore_ascii_case(b"keep-alive") {
            self.unusual = Seen::Yes;
        }
    }

    fn finish(&self, request: &RequestLine, bytes: &[u8]) -> Result<Progress, Fault> {
        // RFC 9112 §6.1: a request with both is an attempt at smuggling until proven otherwise. std:113
        if self.content_length == Seen::Yes && self.transfer_encoding == Seen::Yes {
            return Err(Fault::Bad("Content-Length and Transfer-Encoding"));
        }
        let host = self.host.clone().map(|range| bytes.get(range).unwrap_or_default().trim_ascii());
        // RFC 9112 §3.2. std:116
        if request.version == Version::Http11 && host.is_none() {
            return Err(Fault::Bad("no Host"));
        }
        if host.is_some_and(|host| !is_host(host)) {
            return Err(Fault::Bad("Host is none"));
        }
        let target = bytes.get(request.target.clone()).unwrap_or_default();
        if target.first() == Some(&b'/') || target == b"*" {
            let ordinary = self.ordinary(request, bytes);
            return Ok(Progress::Complete(Head { absolute: None, slash: "", ordinary }));
        }
        let (authority, start) = authority(target).ok_or(Fault::Bad("the target is not a path"))?;
        // RFC 9112 §3.2.2: the authority would replace Host. Two that differ are two opinions of where it goes.
        if !host.is_some_and(|host| host.eq_ignore_ascii_case(authority)) {
            return Err(Fault::Bad("the target's authority is not Host"));
        }
        let end = start + authority.len();
        let slash = match target.get(end) {
            Some(b'/') => "",
            None => "/",
            Some(_) => return Err(Fault::Bad("the target has no path")),
        };
        let cut = request.target.start..request.target.start + end;
        Ok(Progress::Complete(Head { absolute: Some(cut), slash, ordinary: None }))
    }

    fn ordinary(&self, request: &RequestLine, bytes: &[u8]) -> Option<Ordinary> {
        let is_ordinary = request.version == Version::Http11
            && self.unusual == Seen::No
            && self.content_length == Seen::No
            && self.transfer_encoding == Seen::No
            // What comes behind a head without a body is another request, or an attempt at one. std:117
            && self.looked == bytes.len()
            && bytes.get(request.target.start) == Some(&b'/');
        is_ordinary.then(|| Ordinary {
            method: request.method.clone(),
            target: request.target.clone(),
            first_field: request.end,
            fields: self.fields,
            end: self.looked,
            wish: self.wish,
        })
    }

    fn too_large(&self, length: usize, limits: &Limits) -> Fault {
        let in_target = self.request.is_none() && length > longest_request_line(limits);
        if in_target { Fault::UriTooLong } else { Fault::TooLarge }
    }
}

/// What all `Cookie` fields of a request come to. Nothing that a cookie says of itself is counted with
/// (CVE-2024-24814).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cookies {
    bytes: usize,
    count: usize,
}

impl Cookies {
    /// Counts a field.
    pub(super) fn add(&mut self, value: &[u8]) {
        self.bytes += value.len();
        self.count += memchr::memchr_iter(b';', value).count() + usize::from(!value.is_empty());
    }

    /// Whether they are more than anyone needs. std:183
    pub(super) const fn exceed(self, limits: &Limits) -> bool {
        self.bytes > limits.cookie_bytes || self.count > limits.cookie_count
    }
}

impl Seen {
    fn again(&mut self) -> bool {
        std::mem::replace(self, Self::Yes) == Self::Yes
    }
}

/// The target, a method of any length in use, two blanks and the version.
const fn longest_request_line(limits: &Limits) -> usize {
    limits.uri_bytes.saturating_add(64)
}

fn request_line(line: &[u8], at: usize, limits: &Limits) -> Result<RequestLine, Fault> {
    let not_http = Fault::Bad("not a request line");
    let mut parts = line.splitn(3, |&byte| byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(not_http);
    };
    let version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        _ => return Err(not_http),
    };
    if method == b"CONNECT" {
        return Err(Fault::Connect); // std:120
    }
    if method.is_empty()
        || method.len() > 32
        // RFC 9110 §9.1: a method has a case. `get` is none that anyone serves, but some servers take it for GET.
        || !method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
    {
        return Err(not_http);
    }
    if target.len() > limits.uri_bytes {
        return Err(Fault::UriTooLong);
    }
    // The parser behind would cut a fragment and escape a blank: other bytes than were judged would go on. std:122
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(Fault::Bad("the target holds a character that must be encoded"));
    }
    let start = at + method.len() + 1;
    Ok(RequestLine {
        method: at..start - 1,
        target: start..start + target.len(),
        // The line was stripped of its CRLF.
        end: at + line.len() + 2,
        version,
    })
}

/// Whether a field concerns the connection, a body to come or another protocol; `Connection`, `Content-Length` and
/// `Transfer-Encoding` are judged by themselves. RFC 9110 §7.6.1, §10.1.1
fn is_unusual(line: &[u8]) -> bool {
    let starts = |name: &[u8]| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    [b"expect".as_slice(), b"upgrade", b"te:", b"te ", b"trailer", b"keep-alive", b"proxy-", b"http2-settings"]
        .into_iter()
        .any(starts)
        // Browsers send it with every navigation; it asks for nothing of the connection.
        && !starts(b"upgrade-insecure-requests")
}

/// The value of a field line, where `name` (lower case, with its colon) is the field's name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A name or an address, with or without a port: RFC 3986 §3.2.2 without what nobody means by a host (user information,
/// percent-encoding, sub-delimiters), by which servers tell different hosts from one field. std:116
pub(super) fn is_host(host: &[u8]) -> bool {
    let name_end = match host.first() {
        Some(b'[') => host.iter().position(|&byte| byte == b']').map_or(0, |at| at + 1),
        _ => host.iter().position(|&byte| byte == b':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at_checked(name_end).unwrap_or_default();
    let is_name = match name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
        Some(address) => std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        None => {
            !name.is_empty()
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(b":")
            .is_some_and(|digits| (1..=5).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit));
    is_name && is_port
}

/// The authority of an absolute-form target, and where it begins.
fn authority(target: &[u8]) -> Option<(&[u8], usize)> {
    let start = memchr::memmem::find(target, b"://")? + 3;
    let scheme = target.get(..start - 3)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let rest = target.get(start..)?;
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some((rest.get(..end)?, start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str) -> Result<Progress, Fault> {
        let whole = Scan::default().advance(head.as_bytes(), &Limits::small());
        // However it is cut, the answer is the same.
        let mut scan = Scan::default();
        let mut pieces = Ok(Progress::Partial);
        for end in 1..=head.len() {
            pieces = scan.advance(&head.as_bytes()[..end], &Limits::small());
            if pieces != Ok(Progress::Partial) {
                break;
            }
        }
        assert_eq!(pieces, whole, "{head:?}");
        whole
    }

    #[test]
    fn a_head_is_complete_at_its_empty_line() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(matches!(scan(head), Ok(Progress::Complete(Head { absolute: None, .. }))), "{head:?}");
        }
        assert_eq!(scan("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(Progress::Partial));
        assert_eq!(scan("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(Progress::Preface));
    }

    // std:113, std:114, std:115, std:116, std:122
    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for head in [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHOST: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "\u{16}\u{3}\u{1} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a,b\r\n\r\n",
            "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            assert!(matches!(scan(head), Err(Fault::Bad(_))), "{head:?}: {:?}", scan(head));
        }
        assert_eq!(scan("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Fault::Connect));
    }

    #[test]
    fn an_absolute_target_is_cut_to_its_path() {
        for (target, expected) in
            [("http://a:1/b?c", "/b?c"), ("HTTP://A:1/", "/"), ("https://a:1", "/"), ("/b", "/b")]
        {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a:1\r\n\r\n");
            let Ok(Progress::Complete(found)) = scan(&head) else { panic!("{head}") };
            let mut cut = head.clone();
            if let Some(range) = found.absolute {
                cut.replace_range(range, found.slash);
            }
            assert_eq!(cut, format!("GET {expected} HTTP/1.1\r\nHost: a:1\r\n\r\n"));
        }
    }

    #[test]
    fn an_ordinary_head_is_told_with_the_place_of_its_parts() {
        let ordinary = |head: &str| match scan(head) {
            Ok(Progress::Complete(found)) => found.ordinary,
            _ => None,
        };
        let head = "\r\nHEAD /a?b HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n";
        let found = ordinary(head).unwrap();
        assert_eq!((&head[found.method], &head[found.target]), ("HEAD", "/a?b"));
        assert!(head[found.first_field..].starts_with("Host: a"));
        assert_eq!((found.fields, found.end, found.wish), (2, head.len(), Wish::Close));
        for fields in ["Upgrade-Insecure-Requests: 1", "Connection: keep-alive", "Ex: a", "Ten: a"] {
            assert!(
                ordinary(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).is_some(),
                "{fields}"
            );
        }
        for fields in
            ["Upgrade: a", "TE: a", "Expect: a", "Connection: a", "Content-Length: 0", "Keep-Alive: a"]
        {
            assert_eq!(ordinary(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")), None, "{fields}");
        }
        assert_eq!(ordinary("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), None);
        assert_eq!(ordinary("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), None);
    }

    // std:116
    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in ["a", "A-b.c_d:1", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:443", "a."] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "", ":1", "a:", "a:b", "a:123456", "a:1:2", "u@a", "a/b", "a b", "a,b", "a%62", "é", "[a]",
            "[::1", "[::1]x", "[::1]:", "[]", "::1", "<a>", "a\\b",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    // std:117
    #[test]
    fn bytes_behind_a_head_are_not_ordinary() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\nG";
        let Ok(Progress::Complete(found)) = Scan::default().advance(head.as_bytes(), &Limits::small()) else {
            panic!("not complete");
        };
        assert_eq!(found.ordinary, None);
    }

    // std:183
    #[test]
    fn limits_have_answers_of_their_own() {
        let long = |target: usize, field: usize| {
            format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "t".repeat(target), "h".repeat(field))
        };
        assert!(scan(&long(99, 10)).is_ok());
        assert_eq!(scan(&long(100, 10)), Err(Fault::UriTooLong));
        assert_eq!(scan(&"G".repeat(200)), Err(Fault::UriTooLong));
        assert_eq!(scan(&long(10, 400)), Err(Fault::TooLarge));
        let cookies = |fields: &str| scan(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert!(cookies("Cookie: a=1; b=2\r\ncookie: c=3\r\nCOOKIE:\r\n").is_ok());
        assert!(cookies(&format!("Cookie: a={}\r\n", "c".repeat(38))).is_ok());
        for many in [
            format!("Cookie: a={}\r\n", "c".repeat(39)),
            format!("Cookie: a={0}\r\nCookie: b={0}\r\n", "c".repeat(20)),
            "cookie:a=1;b=2;c=3;d=4\r\n".to_owned(),
            "Cookie: ;;;\r\n".to_owned(),
            "Cookie: a=1\r\nCookie: b=2\r\nCookie: c=3; d=4\r\n".to_owned(),
        ] {
            assert_eq!(cookies(&many), Err(Fault::Cookies), "{many}");
        }
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "a: b\r\n".repeat(4));
        assert_eq!(scan(&many), Err(Fault::TooLarge));
    }
}

//! An upstream's response head, and where its body ends.
//!
//! RFC 9112 §6.3, read strictly: what could be framed in two ways is no response. The fields that frame a message are
//! taken out here and written anew.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::{Header, ParserConfig, Status};

/// A response head.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    /// The reason phrase, where it is not the usual one.
    pub(super) reason: Option<String>,
    /// Every field but those that frame the body.
    pub(super) headers: HeaderMap,
    /// What the head says of the body's length.
    pub(super) declared: Declared,
    pub(super) persistence: Persistence,
    /// How many bytes it took.
    pub(super) length: usize,
}

/// What a head says of the length of a body, whether or not there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Length(u64),
    Chunked,
    Nothing,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Whether a connection may carry another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    Persists,
    Ends,
}

/// Not a response, or one that can be read in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHead;

/// Reads a head; `None` where it is not complete.
///
/// # Errors
/// Where it is none, or framed in two ways.
pub(super) fn read(bytes: &[u8]) -> Result<Option<ResponseHead>, BadHead> {
    // A long head that comes in many pieces is not parsed anew with each of them.
    if bytes.len() > AT_ONCE && bytes.len() <= LARGEST && !has_end(bytes) {
        return Ok(None);
    }
    let mut fields = [const { std::mem::MaybeUninit::<Header<'_>>::uninit() }; MOST_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut fields);
    let length = match status.map_err(|_| BadHead)? {
        Status::Complete(length) => length,
        Status::Partial if bytes.len() > LARGEST => return Err(BadHead),
        Status::Partial => return Ok(None),
    };
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(BadHead)?;
    let usual = status.canonical_reason().unwrap_or_default();
    let reason = parsed.reason.filter(|reason| !reason.is_empty() && *reason != usual);
    let mut head = ResponseHead {
        status,
        reason: reason.map(str::to_owned),
        headers: HeaderMap::with_capacity(parsed.headers.len() + ADDED),
        declared: Declared::Nothing,
        persistence: Persistence::Ends,
        length,
    };
    let shared = Bytes::copy_from_slice(bytes.get(..length).ok_or(BadHead)?);
    for field in parsed.headers.iter() {
        let start = (field.value.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize).ok_or(BadHead)?;
        let end = start + field.value.len();
        let value = (end <= shared.len()).then(|| shared.slice(start..end)).ok_or(BadHead)?;
        head.take(field.name, value)?;
    }
    head.persistence = persistence(parsed.version, &head.headers);
    // RFC 9112 §6.1: HTTP/1.0 has no transfer codings. std:113
    if parsed.version != Some(1) && head.declared == Declared::Chunked {
        return Err(BadHead);
    }
    Ok(Some(head))
}

impl ResponseHead {
    fn take(&mut self, name: &str, value: Bytes) -> Result<(), BadHead> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadHead)?;
        if name == CONTENT_LENGTH {
            // RFC 9110 §8.6: the same value may stand there twice. std:114
            for length in value.split(|&byte| byte == b',') {
                self.declare(Declared::Length(number(length.trim_ascii()).ok_or(BadHead)?))?;
            }
            return Ok(());
        }
        if name == TRANSFER_ENCODING {
            if self.declared != Declared::Nothing || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadHead);
            }
            return self.declare(Declared::Chunked);
        }
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| BadHead)?;
        self.headers.try_append(name, value).map_err(|_| BadHead)?;
        Ok(())
    }

    // RFC 9112 §6.3: lengths that differ, or a length besides a coding, are an attempt at response splitting until
    // proven otherwise. std:113
    fn declare(&mut self, declared: Declared) -> Result<(), BadHead> {
        if self.declared != Declared::Nothing && self.declared != declared {
            return Err(BadHead);
        }
        self.declared = declared;
        Ok(())
    }

    /// Where the body of this response to `method` ends.
    pub(super) fn framing(&self, method: &Method) -> Framing {
        if method == Method::HEAD || is_bodiless(self.status) {
            return Framing::Empty;
        }
        match self.declared {
            Declared::Length(length) => Framing::Length(length),
            Declared::Chunked => Framing::Chunked,
            Declared::Nothing => Framing::UntilClose,
        }
    }
}

/// RFC 9112 §9.3
fn persistence(version: Option<u8>, headers: &HeaderMap) -> Persistence {
    let lines = headers.get_all(CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let mut persistence = if version == Some(1) { Persistence::Persists } else { Persistence::Ends };
    for token in tokens {
        if token.eq_ignore_ascii_case(b"close") {
            return Persistence::Ends;
        }
        if token.eq_ignore_ascii_case(b"keep-alive") {
            persistence = Persistence::Persists;
        }
    }
    persistence
}

/// RFC 9110 §6.4.1
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED || status.is_informational()
}

/// Whether an empty line is in there, as lenient as the parser is about line ends.
fn has_end(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"\n\r\n").is_some() || memchr::memmem::find(bytes, b"\n\n").is_some()
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit)).then_some(digits)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

// As many as pingora reads.
const MOST_FIELDS: usize = 256;
const LARGEST: usize = 1024 * 1024;
const AT_ONCE: usize = 16 * 1024;
// Set-Cookie in up to three parts, Cache-Control.
const ADDED: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<ResponseHead>, BadHead> {
        read(text.as_bytes())
    }

    fn framed(fields: &str) -> Option<(Framing, Persistence)> {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).ok()??;
        Some((head.framing(&Method::GET), head.persistence))
    }

    #[test]
    fn a_head_is_read() {
        let text = "HTTP/1.1 200 Fine\r\nContent-Length: 3\r\nX-One:  a \r\nset-cookie: b\r\nSet-Cookie: c\r\n\r\nabc";
        let head = head(text).unwrap().unwrap();
        assert_eq!(
            (head.status, head.reason.as_deref(), head.length),
            (StatusCode::OK, Some("Fine"), text.len() - 3)
        );
        assert_eq!(head.headers["x-one"], "a");
        let cookies: Vec<_> = head.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["b", "c"]);
        assert!(!head.headers.contains_key(CONTENT_LENGTH));
        for end in 0..text.len() - 3 {
            assert!(read(&text.as_bytes()[..end]).unwrap().is_none(), "{end}");
        }
    }

    #[test]
    fn a_long_head_is_read_once_it_is_whole_and_a_longer_one_is_none() {
        for end in ["\r\n\r\n", "\n\n"] {
            let long = format!("HTTP/1.1 200 OK\r\nX: {}{end}", "x".repeat(900_000));
            assert!(read(&long.as_bytes()[..20_000]).unwrap().is_none());
            assert!(read(&long.as_bytes()[..long.len() - 1]).unwrap().is_none());
            assert_eq!(head(&long).unwrap().unwrap().length, long.len());
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LARGEST));
        assert!(head(&endless).is_err());
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        use Persistence::{Ends, Persists};
        for (fields, expected) in [
            ("Content-Length: 3\r\n", (Framing::Length(3), Persists)),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", (Framing::Length(3), Persists)),
            ("Content-Length: 3, 3\r\n", (Framing::Length(3), Persists)),
            ("Transfer-Encoding: Chunked\r\n", (Framing::Chunked, Persists)),
            ("Connection: close\r\n", (Framing::UntilClose, Ends)),
            ("Connection: x, Close, keep-alive\r\n", (Framing::UntilClose, Ends)),
            ("Connection: close\r\nConnection: keep-alive\r\n", (Framing::UntilClose, Ends)),
        ] {
            assert_eq!(framed(fields), Some(expected), "{fields:?}");
        }
        for status in ["204 No Content", "304 Not Modified", "103 Early Hints"] {
            let head = head(&format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n")).unwrap().unwrap();
            assert_eq!(head.framing(&Method::GET), Framing::Empty, "{status}");
        }
        let old =
            |fields: &str| head(&format!("HTTP/1.0 200 OK\r\n{fields}\r\n")).unwrap().unwrap().persistence;
        assert_eq!(old(""), Ends);
        assert_eq!(old("Connection: keep-alive\r\n"), Persists);
        let any = head("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").unwrap().unwrap();
        assert_eq!(any.framing(&Method::HEAD), Framing::Empty);
    }

    // std:113, std:114
    #[test]
    fn what_can_be_framed_in_two_ways_is_no_response() {
        for fields in [
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3, 4\r\n",
            "Content-Length: 3,\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 3 3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: a\r\n folded\r\n",
            "no colon\r\n",
            "X: a\0\r\n",
        ] {
            assert_eq!(framed(fields), None, "{fields:?}");
        }
        for text in [
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "\r\nx",
        ] {
            assert!(head(text).is_err(), "{text:?}");
        }
    }
}

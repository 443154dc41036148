//! Heads and chunks as they go out.

use http::header::DATE;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use pingora::protocols::http::date::get_cached_date;

use super::response::{Declared, Framing, ResponseHead, is_bodiless};
use crate::edge::head_scan::Wish;

/// A request's head, with a target in three parts.
pub(super) fn request(out: &mut Vec<u8>, parts: &Parts, target: [&[u8]; 3]) {
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    for part in target {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    fields(out, &parts.headers);
    out.extend_from_slice(b"\r\n");
}

/// The head of an upstream's response to `method`, framed anew.
pub(super) fn response(out: &mut Vec<u8>, head: &ResponseHead, method: &Method, wish: Wish) {
    status_line(out, head.status, head.reason.as_deref());
    fields(out, &head.headers);
    match (head.framing(method), head.declared) {
        (Framing::Length(length), _) => content_length(out, length),
        (Framing::Chunked | Framing::UntilClose, _) => out.extend_from_slice(CHUNKED),
        // RFC 9110 §9.3.2, §15.4.5: what the answer to a GET would have said.
        (Framing::Empty, Declared::Length(length)) if head.status != StatusCode::NO_CONTENT => {
            content_length(out, length);
        }
        (Framing::Empty, Declared::Chunked) if !is_bodiless(head.status) => out.extend_from_slice(CHUNKED),
        (Framing::Empty, Declared::Length(_) | Declared::Chunked | Declared::Nothing) => {}
    }
    end(out, &head.headers, wish);
}

/// The head of an answer that comes before the response.
pub(super) fn informational(out: &mut Vec<u8>, head: &ResponseHead) {
    status_line(out, head.status, head.reason.as_deref());
    fields(out, &head.headers);
    out.extend_from_slice(b"\r\n");
}

/// The head of an answer of ours, which holds its length.
pub(super) fn own(out: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap, wish: Wish) {
    status_line(out, status, None);
    fields(out, headers);
    end(out, headers, wish);
}

/// A chunk of a body; nothing where there is no content, which would be the end.
pub(super) fn chunk(out: &mut Vec<u8>, content: &[u8]) {
    if content.is_empty() {
        return;
    }
    let length = content.len();
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let digit = u32::try_from(length >> (4 * digit) & 0xf).unwrap_or_default();
        out.push(char::from_digit(digit, 16).map_or(b'0', |digit| digit as u8));
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunked body.
pub(super) fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn status_line(out: &mut Vec<u8>, status: StatusCode, reason: Option<&str>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.or(status.canonical_reason()).unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        field(out, name.as_str(), value.as_bytes());
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = [b'0'; 20];
    let mut left = length;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        // The cast keeps one digit.
        *digit = b'0' + (left % 10) as u8;
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    field(out, "content-length", digits.get(digits.len() - used..).unwrap_or_default());
}

fn end(out: &mut Vec<u8>, headers: &HeaderMap, wish: Wish) {
    // RFC 9110 §6.6.1
    if !headers.contains_key(DATE) {
        field(out, "date", get_cached_date().as_bytes());
    }
    // RFC 9112 §9.6
    out.extend_from_slice(match wish {
        Wish::Keep => b"connection: keep-alive\r\n\r\n".as_slice(),
        Wish::Close => b"connection: close\r\n\r\n",
    });
}

const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_fmt_would_write() {
        for number in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            let mut out = Vec::new();
            content_length(&mut out, number);
            assert_eq!(out, format!("content-length: {number}\r\n").as_bytes());
        }
        for length in [1, 9, 10, 15, 16, 255, 256, 4_096, 65_537] {
            let mut out = Vec::new();
            chunk(&mut out, &vec![b'x'; length]);
            let expected = format!("{length:x}\r\n{}\r\n", "x".repeat(length));
            assert_eq!(out, expected.as_bytes());
        }
        let mut out = Vec::new();
        chunk(&mut out, b"");
        assert!(out.is_empty());
    }

    #[test]
    fn a_response_is_framed_anew() {
        let head = |text: &str| super::super::response::read(text.as_bytes()).unwrap().unwrap();
        for (text, method, framing) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::GET, "content-length: 3\r\n"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Method::GET,
                "transfer-encoding: chunked\r\n",
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::GET, "transfer-encoding: chunked\r\n"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::HEAD, "content-length: 3\r\n"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Method::HEAD,
                "transfer-encoding: chunked\r\n",
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Method::HEAD, ""),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Method::GET, ""),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", Method::GET, "content-length: 3\r\n"),
            ("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Method::GET, ""),
        ] {
            let mut head = head(text);
            head.headers.insert(DATE, http::HeaderValue::from_static("d"));
            let mut out = Vec::new();
            response(&mut out, &head, &method, Wish::Close);
            let line = text.lines().next().unwrap();
            let expected = format!("{line}\r\ndate: d\r\n{framing}connection: close\r\n\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{method} {text:?}");
        }
    }
}

//! Writes answers of our own.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::response::Parts;
use http::{HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use super::head_scan::Fault;

/// Writes a whole answer.
///
/// # Errors
/// Where the client is gone.
pub(super) async fn write(session: &mut Session, response: http::Response<Bytes>) -> pingora::Result<u16> {
    let (parts, body) = whole(response);
    let status = parts.status;
    // RFC 9110 §10.1.1: a client that waited for 100 may not send its body now; what comes next would be taken for
    // it. std:121
    if session.req_header().headers.contains_key(EXPECT) && !session.is_body_done() {
        session.set_keepalive(None);
    }
    // RFC 9110 §9.3.2: HEAD has the fields of GET and no content.
    let empty = body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(ResponseHeader::from(parts)), empty).await?;
    if !empty {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(status.as_u16())
}

/// An answer of ours with its length and without a body where there can be none.
pub(super) fn whole(response: http::Response<Bytes>) -> (Parts, Bytes) {
    let (mut parts, body) = response.into_parts();
    // What we answer is about one request of one user, unless it says otherwise.
    parts.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if parts.status == StatusCode::NO_CONTENT || parts.status == StatusCode::NOT_MODIFIED {
        parts.headers.remove(CONTENT_LENGTH);
        return (parts, Bytes::new());
    }
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    (parts, body)
}

/// A whole HTTP/1.1 response for a head that never became a request. The connection ends with it.
pub(super) fn raw(fault: Fault) -> Vec<u8> {
    let (status, label) = (fault.status(), fault.label());
    let reason = status.canonical_reason().unwrap_or_default();
    let detail = fault.detail();
    let body = format!(
        r#"{{"type":"about:blank","title":"{reason}","status":{},"code":"{label}","detail":"{detail}"}}"#,
        status.as_u16()
    );
    format!(
        "HTTP/1.1 {} {reason}\r\n{CONTENT_TYPE}: application/problem+json\r\n{CONTENT_LENGTH}: {}\r\n\
         {CACHE_CONTROL}: no-store\r\n{CONNECTION}: close\r\n\r\n{body}",
        status.as_u16(),
        body.len(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_answer_is_a_whole_response() {
        let raw = String::from_utf8(raw(Fault::Slow)).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "head_timeout");
    }
}

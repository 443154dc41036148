//! What pingora tells of a request, in our words.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, MAX_FORWARDS, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::tls::SslDigest;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};
use url::Url;

use crate::edge::call::{Blame, Link};
use crate::edge::head_scan::{Cookies, is_host};
use crate::edge::intake::Rules;
use crate::edge::request_edit;
use crate::edge::settings::Limits;
use crate::edge::upstream::NoSeat;
use crate::gate::denial::Denial;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::policy::csrf;

/// The head as the gate is told it.
pub(super) fn head(session: &Session, request_id: RequestId) -> RequestHead<'_> {
    let request = session.req_header();
    RequestHead { parts: request, target: request.raw_path(), peer: peer(session), request_id }
}

/// The other end of the connection.
pub(super) fn peer(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}

/// RFC 9110 §7.6.2, §9.3.7: `OPTIONS` about the server itself, or not to be forwarded any further. std:120
pub(in crate::edge) fn is_for_us(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && (request.raw_path() == b"*"
            || request.headers.get(MAX_FORWARDS).and_then(request_edit::forwards_left) == Some(0))
}

/// What is refused for its head alone, whatever it is for.
pub(in crate::edge) fn refused(request: &RequestHeader) -> Option<Denial> {
    if request.method == Method::TRACE {
        return Some(Denial::MethodNotAllowed(SERVED.to_vec())); // std:120
    }
    if csrf::is_websocket(&request.headers) && !is_handshake(request) {
        return Some(Denial::BadRequest("a WebSocket begins with a GET without a body"));
    }
    (!may_expect(request)).then_some(Denial::ExpectationFailed)
}

const SERVED: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// RFC 9112 §6.1, §6.3: a coding that nobody undoes here would frame a response in one way for us and in another for the
/// client. std:113
pub(super) fn is_framed_once(response: &ResponseHeader) -> bool {
    let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    codings.next().is_none_or(is_chunked) && codings.next().is_none()
}

/// RFC 9112 §3.2: HTTP/1.0 may name no host, what is sent on in HTTP/1.1 must. Such a request is for the public origin.
pub(super) fn name_host(request: &mut RequestHeader, public: &Url) -> pingora::Result<()> {
    if request.headers.contains_key(HOST) || request.uri.authority().is_some() {
        return Ok(());
    }
    request.insert_header(HOST, public.authority())
}

/// Whether a head that no scan of ours has seen names one host, a path and a method as HTTP/1 would have to. std:117
pub(super) fn is_sound(head: &RequestHeader) -> bool {
    let host = match head.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => head.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default(),
    };
    let path = head.raw_path();
    is_host(host)
        && (path.first() == Some(&b'/') || path == b"*")
        && path.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
        && head.method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// Header fields or cookies over their limit, of a head that no scan of ours has counted. The cookies of HTTP/2 come one
/// by one and are one field (RFC 9113 §8.2.3).
pub(super) fn too_many(headers: &HeaderMap, limits: &Limits) -> Option<Denial> {
    let (mut cookies, mut fields) = (Cookies::default(), 0);
    for field in headers.get_all(COOKIE) {
        cookies.add(field.as_bytes());
        fields += 1;
    }
    if headers.len() - fields + fields.min(1) > limits.header_count {
        return Some(Denial::HeadTooLarge);
    }
    cookies.exceed(limits).then_some(Denial::CookiesTooLarge)
}

/// RFC 9110 §10.1.1: one expectation is known; HTTP/1.0 has none, whatever it says.
fn may_expect(request: &RequestHeader) -> bool {
    let mut all = request.headers.get_all(EXPECT).iter();
    request.version == Version::HTTP_10 || all.all(|one| one.as_bytes().eq_ignore_ascii_case(CONTINUE))
}

/// RFC 9110 §10.1.1: whoever reads the body asks for it. An upstream in HTTP/1.1 does so itself; one in HTTP/2 seldom
/// does, so the client is told here. Where no body follows there is nothing to ask for.
pub(super) async fn settle_expectation(
    session: &mut Session,
    request: &mut RequestHeader,
) -> pingora::Result<()> {
    if !request.headers.contains_key(EXPECT) {
        return Ok(());
    }
    if session.is_body_empty() || session.req_header().version == Version::HTTP_10 {
        request.remove_header(&EXPECT);
    } else if request.version == Version::HTTP_2 {
        request.remove_header(&EXPECT);
        session.write_continue_response().await?;
    }
    Ok(())
}

const CONTINUE: &[u8] = b"100-continue";

/// The answer to it.
pub(in crate::edge) fn options() -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// What a failure means to the client; `None` where there is no client left.
pub(super) fn denial_of(session: &mut Session, error: &Error) -> Option<Denial> {
    if is_slow_client(session, error) {
        return Some(Denial::BodyTimeout);
    }
    let timeout = matches!(
        error.root_etype(),
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    );
    match error.esource() {
        ErrorSource::Downstream if *error.etype() == TOO_LARGE => Some(Denial::BodyTooLarge),
        ErrorSource::Downstream if timeout => Some(Denial::BadRequest("the response was not taken in time")),
        ErrorSource::Downstream
            if matches!(
                error.etype(),
                // The last one is a stream that was reset.
                ErrorType::WriteError
                    | ErrorType::ReadError
                    | ErrorType::ConnectionClosed
                    | ErrorType::H2Error
            ) =>
        {
            None
        }
        ErrorSource::Downstream => Some(Denial::BadRequest("the request cannot be forwarded")),
        ErrorSource::Upstream if timeout => Some(Denial::UpstreamTimeout),
        ErrorSource::Upstream if matches!(error.etype(), ErrorType::Custom(BUSY)) => {
            Some(Denial::UpstreamBusy)
        }
        ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset => {
            Some(Denial::UpstreamUnreachable)
        }
    }
}

/// Whether a failure is a body that did not come in time.
fn is_slow_client(session: &mut Session, error: &Error) -> bool {
    match error.esource() {
        ErrorSource::Downstream => {
            matches!(error.root_etype(), ErrorType::ReadTimedout) || *error.etype() == TOO_SLOW
        }
        // An upstream that was given all that came, and is silent before the whole has come, waits as we do.
        ErrorSource::Upstream => {
            matches!(error.root_etype(), ErrorType::ReadTimedout) && !session.is_body_done()
        }
        ErrorSource::Internal | ErrorSource::Unset => false,
    }
}

/// The length of a request's body, where its head says so.
pub(super) fn length(session: &Session) -> Option<u64> {
    session.req_header().headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The rules for a request's body. The calls of gRPC are streams in both directions, and may have little to say for a
/// long time.
pub(super) fn intake(session: &Session, rules: Rules) -> Rules {
    let kind = session.req_header().headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_stream = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
    if is_stream { Rules { rate: 0, ..rules } } else { rules }
}

/// The error that ends a request whose body is refused.
pub(super) fn error_of(denial: Denial) -> Box<Error> {
    let kind = if denial == Denial::BodyTooLarge { TOO_LARGE } else { TOO_SLOW };
    Error::new_down(kind)
}

const TOO_LARGE: ErrorType = ErrorType::Custom("BodyTooLarge");
const TOO_SLOW: ErrorType = ErrorType::Custom("BodyTooSlow");

/// Whether a failure speaks against the endpoint: its connection broke, or it did not answer in time.
pub(super) fn is_the_endpoints(error: &Error) -> bool {
    let broken = matches!(
        error.root_etype(),
        ErrorType::ConnectionClosed
            | ErrorType::ReadError
            | ErrorType::WriteError
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
            | ErrorType::H2Error
    );
    broken && *error.esource() == ErrorSource::Upstream
}

/// Whether a connection ended before a byte of its response. pingora says so in words only.
pub(super) fn nothing_came(error: &Error) -> bool {
    let context = error.context.as_ref().map(|context| context.as_str()).unwrap_or_default();
    context.split_once(READ).is_none_or(|(_, amount)| amount == "0")
}

const READ: &str = "bytes already read: ";

/// A request that gets no seat.
pub(super) fn no_seat(why: NoSeat) -> Box<Error> {
    match why {
        NoSeat::Full => Error::new_up(ErrorType::Custom(BUSY)),
        NoSeat::Nowhere => Error::explain(ErrorType::InternalError, "a request without an upstream"),
    }
}

const BUSY: &str = "UpstreamBusy";

/// Who caused a failure.
pub(super) fn blame_of(session: &mut Session, error: &Error) -> Blame {
    if is_slow_client(session, error) {
        return Blame::Client;
    }
    match error.esource() {
        ErrorSource::Downstream => Blame::Client,
        ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset => Blame::Upstream,
    }
}

/// What the client's connection is secured by.
pub(super) fn link(session: &Session) -> Link {
    if tls(session).is_some() { Link::Tls } else { Link::Plain }
}

/// What the TLS of the client's connection tells.
pub(super) fn tls(session: &Session) -> Option<Arc<SslDigest>> {
    session.digest()?.ssl_digest.clone()
}

/// RFC 6455 §4.1: what a request for a WebSocket may be. Of one with a body, where the body ends and the tunnel begins
/// would be read in two ways.
fn is_handshake(request: &RequestHeader) -> bool {
    let length = request.headers.get(CONTENT_LENGTH);
    request.method == Method::GET
        && length.is_none_or(|length| length == "0")
        && !request.headers.contains_key(TRANSFER_ENCODING)
}

/// Ends a response that its upstream broke off. Over HTTP/1.1 the connection ends with it; a stream that is dropped would
/// be reset as one that its client cancelled (RFC 9113 §7), which it did not.
pub(super) fn broken(session: &mut Session) {
    if let ServerSession::H2(stream) = &mut *session.downstream_session {
        stream.shutdown();
    }
}

/// Writes the last bytes of a connection, and waits for the client to take them: a close with unread bytes resets the
/// connection, and the reset would overtake them. The caller bounds the wait.
pub(super) async fn farewell(session: &mut Session, last: Bytes) {
    let client = &mut session.downstream_session;
    if client.write_response_body(last, false).await.is_ok() {
        while let Ok(Some(_)) = client.read_request_body().await {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9113 §8.2.3
    #[test]
    fn cookies_that_http2_split_are_one_field() {
        let mut headers = HeaderMap::new();
        for name in ["a", "b", "c", "cookie", "cookie", "cookie"] {
            headers.append(name, HeaderValue::from_static("d=1"));
        }
        let limits = Limits::small();
        assert_eq!(too_many(&headers, &limits), None);
        headers.append("e", HeaderValue::from_static("f"));
        assert_eq!(too_many(&headers, &limits), Some(Denial::HeadTooLarge));
        headers.remove("e");
        headers.append("cookie", HeaderValue::from_static("d=1"));
        assert_eq!(too_many(&headers, &limits), Some(Denial::CookiesTooLarge));
    }
}

//! Requests as the endpoints read them, answers as they write them.
//!
//! An answer may also be silence, a closed connection, or half a body.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64_simd::STANDARD;
use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, PRAGMA,
    RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::faults::PlainFault;

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn query(&self) -> Parameters {
        Parameters::parse(self.uri.query().unwrap_or_default().as_bytes())
    }

    pub(crate) fn form(&self) -> Parameters {
        Parameters::parse(&self.body)
    }

    /// The value of the first cookie of that name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        let lines = self.headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.credentials("Bearer")
    }

    /// The id and secret of HTTP Basic. RFC 6749 §2.3.1: both were form-encoded before.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let decoded = STANDARD.decode_to_vec(self.credentials("Basic")?).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        Some((form_decoded(id), form_decoded(secret)))
    }

    fn credentials(&self, scheme: &str) -> Option<&str> {
        let (name, rest) = self.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        name.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }
}

fn form_decoded(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// The parameters of a query or form, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// RFC 6749 §3.1: a parameter without a value is one that was left out.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// RFC 6749 §3.1: parameters must not be included more than once.
    pub(crate) fn has_duplicates(&self) -> bool {
        let mut keys: Vec<&str> = self.0.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        keys.windows(2).any(|pair| matches!(pair, [left, right] if left == right))
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An answer.
    Answer(Response<Content>),
    /// The connection stays open, nothing is said.
    Silence,
    /// The connection is closed without a byte.
    Reset,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::body(status, "text/plain", Content::whole(Bytes::new()))
    }

    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::body(status, "application/json", Content::whole(value.to_string().into()))
    }

    /// RFC 6749 §5.2. `invalid_client` is 401 and names the scheme.
    pub(crate) fn oauth_error(error: &str, description: &str) -> Self {
        let value = json!({ "error": error, "error_description": description });
        if error == "invalid_client" {
            return Self::json(StatusCode::UNAUTHORIZED, &value)
                .with(WWW_AUTHENTICATE, "Basic realm=\"devidp\"");
        }
        Self::json(StatusCode::BAD_REQUEST, &value)
    }

    pub(crate) fn page(status: StatusCode, html: String) -> Self {
        // No `form-action`: Chrome applies it to the redirect that follows the form, which leads to the client.
        let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
        let content = Content::whole(html.into());
        Self::body(status, "text/html; charset=utf-8", content).with(CONTENT_SECURITY_POLICY, policy)
    }

    pub(crate) fn redirect(status: StatusCode, location: &str) -> Self {
        Self::body(status, "text/plain", Content::whole(Bytes::new())).with(LOCATION, location)
    }

    pub(crate) fn body(status: StatusCode, content_type: &'static str, content: Content) -> Self {
        let mut response = Response::new(content);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        // RFC 6749 §5.1, and nothing else here wants to be cached either.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        Self::Answer(response)
    }

    /// With one more header; a value that is not one is left out.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let (Self::Answer(response), Ok(value)) = (&mut self, HeaderValue::from_str(value)) {
            if name == SET_COOKIE {
                response.headers_mut().append(name, value);
            } else {
                response.headers_mut().insert(name, value);
            }
        }
        self
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        self.with(RETRY_AFTER, &seconds.to_string())
    }

    pub(crate) fn garbage() -> Self {
        Self::body(StatusCode::OK, "application/json", Content::whole(Bytes::from_static(b"{\"\x00\xff:]")))
    }
}

impl From<PlainFault> for Reply {
    fn from(fault: PlainFault) -> Self {
        match fault {
            PlainFault::Status(status) => Self::status(status),
            PlainFault::Hang => Self::Silence,
            PlainFault::Reset => Self::Reset,
            PlainFault::Redirect(location) => Self::redirect(StatusCode::FOUND, &location),
            PlainFault::Garbage => Self::garbage(),
            PlainFault::Oversize => Self::json(StatusCode::OK, &json!({ "padding": padding() })),
        }
    }
}

/// More than anybody should read.
pub(crate) fn padding() -> String {
    "x".repeat(10_000_000)
}

/// A body, which may break off.
#[derive(Debug)]
pub(crate) struct Content {
    length: u64,
    left: Option<Bytes>,
    ending: Ending,
}

#[derive(Debug)]
enum Ending {
    Proper,
    /// Breaks off at the poll after the next one, so that what was written before is flushed.
    BreaksSoon,
    Breaks,
}

impl Content {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self {
            length: length(&bytes),
            left: Some(bytes).filter(|bytes| !bytes.is_empty()),
            ending: Ending::Proper,
        }
    }

    /// Announces everything, sends half.
    pub(crate) fn truncated(mut bytes: Bytes) -> Self {
        let length = length(&bytes);
        bytes.truncate(bytes.len() / 2);
        Self { length, left: Some(bytes), ending: Ending::BreaksSoon }
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match self.ending {
            Ending::Proper => Poll::Ready(None),
            Ending::BreaksSoon => {
                self.ending = Ending::Breaks;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Breaks => Poll::Ready(Some(Err(io::Error::other("broken off on purpose")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && matches!(self.ending, Ending::Proper)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

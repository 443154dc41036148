//! Temporary endpoints for the edge's own tests; the real ones replace this file.

pub mod pages;
pub mod settings;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};

use crate::gate::head::RequestHead;
use crate::gate::verdict::{EndpointCall, Refusal};

/// Answers.
#[derive(Debug, Default)]
pub struct Bff;

impl Bff {
    /// Serves an endpoint.
    #[expect(clippy::unused_async, reason = "the real endpoints ask the provider")]
    pub async fn serve(&self, call: EndpointCall, _: &RequestHead<'_>, body: Bytes) -> http::Response<Bytes> {
        http::Response::new(Bytes::from(format!("{:?} {}", call.endpoint, body.len())))
    }

    /// Refuses.
    pub fn refuse(&self, refusal: &Refusal, head: &RequestHead<'_>) -> http::Response<Bytes> {
        let effects = refusal.denial.effects();
        let body = format!(
            "{{\"status\":{},\"code\":\"{}\",\"id\":\"{}\"}}",
            effects.status.as_u16(),
            effects.label,
            head.request_id
        );
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = effects.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        for cookie in &refusal.cookies {
            headers.append(SET_COOKIE, cookie.clone());
        }
        response
    }
}

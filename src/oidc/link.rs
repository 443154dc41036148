//! What every request to the provider needs: settings, network, clock.
//!
//! Adds nothing to a request and reads nothing from an answer but what is common to all of them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response};
use url::Url;

use super::settings::Settings;
use crate::base::http_client::{HttpClient, Limits, NotSent, TransportError};
use crate::base::time::{Clock, Timestamp};

/// Our line to the provider.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) settings: Settings,
    pub(super) http: Arc<dyn HttpClient>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Link {
    /// Fetches a document.
    pub(super) async fn fetch(&self, from: &Url) -> Result<Response<Bytes>, TransportError> {
        self.send(request(Method::GET, from, Bytes::new())?).await
    }

    /// Sends `request` once, within the configured time.
    pub(super) async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, TransportError> {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.http.send(request, Limits::within(self.settings.timeout)).await
    }

    /// Now.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A request to `to`.
pub(super) fn request(method: Method, to: &Url, body: Bytes) -> Result<Request<Bytes>, TransportError> {
    Request::builder()
        .method(method)
        .uri(to.as_str())
        .body(body)
        .map_err(|_invalid| TransportError::not_sent(NotSent::Address))
}

/// `Retry-After` as a delay (RFC 9110 §10.2.3), within an hour; `None` where it is absent or unreadable.
pub(super) fn retry_after(response: &Response<Bytes>, now: Timestamp) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
            Timestamp::from_millis(date.as_millisecond()).since(now)
        }
    };
    Some(delay.min(LONGEST_DELAY))
}

/// Whether at least `wait` lies between `then` and `now`. A clock that was set back counts as waited long enough,
/// or it would hold up the next attempt for as long as it was wrong.
pub(super) fn waited(now: Timestamp, then: Timestamp, wait: Duration) -> bool {
    now < then || now.since(then) >= wait
}

/// An error and what caused it, for a log field.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Whoever asks for more is served better by an attempt now and then.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = Timestamp::from_secs(1_445_412_480 - 30);
        let cases = [
            ("5", Some(5)),
            (" 0 ", Some(0)),
            ("86400", Some(3600)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ];
        for (value, expected) in cases {
            let response = Response::builder().header(RETRY_AFTER, value).body(Bytes::new()).unwrap();
            assert_eq!(retry_after(&response, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn a_clock_set_back_does_not_hold_up_attempts() {
        let then = Timestamp::from_secs(1000);
        assert!(!waited(then, then, Duration::from_secs(1)));
        assert!(waited(then.plus(Duration::from_secs(1)), then, Duration::from_secs(1)));
        assert!(waited(then.minus(Duration::from_secs(1)), then, Duration::from_secs(1)));
    }
}

//! `POST /sessions/end` of the admin listener: an operator ends sessions.
//!
//! The listener is for operators and has no login of its own. A browser that runs beside it must not be made to
//! call this by a page: a body of JSON needs a preflight there, which nobody answers.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoints::Bff;
use crate::session::sessions::Selected;
use crate::telemetry::audit::SessionTag;

/// What is typed: one of the three.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Wish {
    /// The name of a session, as logs give it.
    Session(String),
    /// A user's `sub`.
    Subject(String),
    /// `true`
    All(bool),
}

impl Bff {
    /// Ends the sessions that `body` names.
    pub async fn end_sessions(&self, headers: &HeaderMap, body: &[u8]) -> Response<Bytes> {
        let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        if !is_json || headers.contains_key(ORIGIN) {
            let why = "a body of application/json from a program, not from a page";
            return answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!({ "error": why }));
        }
        let Some(selected) = serde_json::from_slice(body).ok().and_then(select) else {
            let why = "one of {\"session\": \"<16 hex digits, as in logs>\"}, {\"subject\": \"<sub>\"}, {\"all\": true}";
            return answer(StatusCode::BAD_REQUEST, &json!({ "error": why }));
        };
        match self.sessions.end_selected(&selected).await {
            Ok(ended) => answer(StatusCode::OK, &json!({ "ended_here": ended })),
            Err(error) => {
                let why = format!("ended here, but other replicas were not told: {error}; ask again");
                answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": why }))
            }
        }
    }
}

fn select(wish: Wish) -> Option<Selected> {
    match wish {
        Wish::Session(tag) => SessionTag::parse(&tag).map(Selected::Session),
        Wish::Subject(subject) if subject.is_empty() => None,
        Wish::Subject(subject) => Some(Selected::Subject(subject)),
        Wish::All(true) => Some(Selected::Everyone),
        Wish::All(false) => None,
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_exactly_one_thing() {
        let read = |text: &str| serde_json::from_str(text).ok().and_then(select);
        let tag = SessionTag::of(b"a");
        assert_eq!(read(&format!("{{\"session\":\"{tag}\"}}")), Some(Selected::Session(tag)));
        assert_eq!(read(r#"{"subject":"alice"}"#), Some(Selected::Subject("alice".to_owned())));
        assert_eq!(read(r#"{"all":true}"#), Some(Selected::Everyone));
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"all":false}"#,
            r#"{"all":1}"#,
            r#"{"subject":""}"#,
            r#"{"session":"alice"}"#,
            r#"{"session":"0123456789abcdeg"}"#,
            r#"{"subject":"a","all":true}"#,
            r#"{"everyone":true}"#,
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}

//! What a forwarded request carries: the bearer and header fields made from claims.

use std::collections::HashSet;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::settings::{Piece, Route, Template};
use crate::session::model::Session;

/// Guards the header fields that any route sets on every route: an upstream that believes such a field must be able
/// to, whichever way a request took to it. A route that does not set one gets an empty template, which drops what
/// the client sent (std:108).
pub fn guard_headers(mut routes: Vec<Route>) -> Vec<Arc<Route>> {
    let names: HashSet<HeaderName> =
        routes.iter().flat_map(|route| &route.set_headers).map(|(name, _)| name.clone()).collect();
    for route in &mut routes {
        for name in &names {
            if !route.set_headers.iter().any(|(set, _)| set == name) {
                route.set_headers.push((name.clone(), Template(Vec::new())));
            }
        }
    }
    routes.into_iter().map(Arc::new).collect()
}

/// The header fields that `route` sets, from the claims of `session` where there is one. A field whose claim is
/// missing, or cannot stand in a header field, is not set; the client's own field of that name is dropped all the
/// same.
pub fn identity_headers(route: &Route, session: Option<&Session>) -> Vec<(HeaderName, Option<HeaderValue>)> {
    route.set_headers.iter().map(|(name, template)| (name.clone(), render(template, session))).collect()
}

fn render(Template(pieces): &Template, session: Option<&Session>) -> Option<HeaderValue> {
    if pieces.is_empty() {
        return None;
    }
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(literal) => text.push_str(literal),
            Piece::Claim(name) => text.push_str(&claim(name, session?)?),
        }
    }
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn claim(name: &str, session: &Session) -> Option<String> {
    match name {
        "sub" => Some(session.identity.subject.clone()),
        "iss" => Some(session.identity.issuer.clone()),
        _ => plain(session.claims.get(name)?),
    }
}

/// Text of a claim; lists are joined with commas, the form that applications know from other gateways.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> =
                items.iter().map(|item| if item.is_array() { None } else { plain(item) }).collect();
            Some(items?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::session::refresh::record::tests::session;

    fn check(pieces: &[Piece], expected: Option<&str>) {
        let mut session = session(1);
        session.claims = json!({
            "email": "a@example.com", "groups": ["staff", "ops"], "level": 3, "admin": true,
            "nested": {"a": 1}, "lists": [["a"]], "evil": "a\r\nX-Admin: 1", "name": "Ælice",
        })
        .as_object()
        .unwrap()
        .clone();
        let rendered = render(&Template(pieces.to_vec()), Some(&session));
        assert_eq!(rendered.as_ref().map(HeaderValue::as_bytes), expected.map(str::as_bytes), "{pieces:?}");
    }

    fn claim_of(name: &str) -> Piece {
        Piece::Claim(name.to_owned())
    }

    #[test]
    fn templates_are_filled_from_claims() {
        check(&[claim_of("sub")], Some("alice"));
        check(&[Piece::Text("user-".into()), claim_of("email")], Some("user-a@example.com"));
        check(&[claim_of("groups")], Some("staff,ops"));
        check(&[claim_of("level"), Piece::Text("/".into()), claim_of("admin")], Some("3/true"));
        check(&[claim_of("name")], Some("Ælice"));
    }

    #[test]
    fn what_cannot_stand_in_a_header_field_is_not_sent() {
        for name in ["missing", "nested", "lists", "evil"] {
            check(&[Piece::Text("x".into()), claim_of(name)], None);
        }
    }
}

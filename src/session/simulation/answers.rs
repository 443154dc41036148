//! What the simulated provider answers with.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::oidc::script::ISSUER;

pub(super) fn refusal(error: &str) -> (u16, Value) {
    (400, json!({ "error": error }))
}

pub(super) fn reply(status: u16, body: &Value) -> Response<Bytes> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Bytes::from(body.to_string())).unwrap()
}

pub(super) fn metadata() -> Value {
    json!({
        "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/jwks"),
        "revocation_endpoint": format!("{ISSUER}/revoke"), "code_challenge_methods_supported": ["S256"],
    })
}

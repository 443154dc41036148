//! The metadata and the key set.
//!
//! OpenID Connect Discovery 1.0, RFC 8414; RFC 7517.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::faults::{DiscoveryFault, JwksFault};
use crate::http_io::Reply;
use crate::keys::SigningKey;
use crate::shared::Shared;

pub(crate) fn metadata(shared: &Shared) -> Reply {
    shared.seen.count(|counts| counts.discovery += 1);
    let mut metadata = true_metadata(shared);
    match shared.faults.discovery.take() {
        Some(DiscoveryFault::Plain(fault)) => return fault.into(),
        Some(DiscoveryFault::WrongIssuer) => {
            metadata.insert("issuer".into(), "http://wrong-issuer.example".into());
        }
        Some(DiscoveryFault::MissingEndpoints) => {
            metadata.retain(|name, _| {
                !matches!(name.as_str(), "authorization_endpoint" | "token_endpoint" | "jwks_uri")
            });
        }
        None => {}
    }
    Reply::json(StatusCode::OK, &Value::Object(metadata))
}

pub(crate) fn jwks(shared: &Shared) -> Reply {
    shared.seen.count(|counts| counts.jwks += 1);
    let mut keys = shared.keys().jwks();
    match shared.faults.jwks.take() {
        Some(JwksFault::Plain(fault)) => return fault.into(),
        Some(JwksFault::DuplicateKids) => keys.extend(impostors(shared, &keys)),
        Some(JwksFault::NoKids) => keys.iter_mut().for_each(|key| {
            key.remove("kid");
        }),
        Some(JwksFault::Empty) => keys.clear(),
        None => {}
    }
    Reply::json(StatusCode::OK, &json!({ "keys": keys }))
}

/// Fresh keys under the names of these.
fn impostors(shared: &Shared, keys: &[Map<String, Value>]) -> Vec<Map<String, Value>> {
    let under_name_of = |key: &Map<String, Value>| {
        let mut impostor = SigningKey::generate(shared.settings.signing).ok()?.into_jwk();
        impostor.insert("kid".into(), key.get("kid")?.clone());
        Some(impostor)
    };
    keys.iter().filter_map(under_name_of).collect()
}

fn true_metadata(shared: &Shared) -> Map<String, Value> {
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    let metadata = json!({
        "issuer": shared.issuer,
        "authorization_endpoint": shared.url("/authorize"),
        "token_endpoint": shared.url("/token"),
        "userinfo_endpoint": shared.url("/userinfo"),
        "jwks_uri": shared.url("/jwks"),
        "revocation_endpoint": shared.url("/revoke"),
        "introspection_endpoint": shared.url("/introspect"),
        "end_session_endpoint": shared.url("/end-session"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [shared.settings.signing.name()],
        "token_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": shared.settings.advertise_iss_parameter,
        "prompt_values_supported": ["none", "login"],
        "scopes_supported": ["openid", "profile", "email", "groups", "offline_access"],
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash",
            "name", "email", "email_verified", "preferred_username", "groups",
        ],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
        "backchannel_logout_supported": false,
    });
    match metadata {
        Value::Object(metadata) => metadata,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

//! What an access token says of itself, where it is a JWT.
//!
//! RFC 9068 §2.2 by form only. We are not its audience: the token came from the token endpoint over TLS, and its
//! claims serve for roles in requests that we forward with it. Never for a token that somebody else brought.

use serde_json::{Map, Value};

use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::jwt::{claims, unverified_claims};

/// The payload of an access token that the token endpoint gave us; `None` where it is opaque.
pub fn access_token_claims(token: &Secret<String>) -> Option<Map<String, Value>> {
    unverified_claims(token.expose())
}

/// `exp`, where there is one.
pub(super) fn expiry(token: &Secret<String>) -> Option<Timestamp> {
    let claims = access_token_claims(token)?;
    claims::seconds(claims.get("exp")?).map(Timestamp::from_secs)
}

//! The authorization request, and who answered it.
//!
//! OIDC Core §3.1.2.1, RFC 7636 §4, RFC 8707 §2, RFC 9207 §2.4. Always `response_type=code` with PKCE by S256;
//! nothing that a caller or the configuration adds can change that (std:9, std:11).

use url::Url;

use super::discovery::Metadata;
use super::settings::Settings;
use crate::base::secret::{Secret, sha256};

/// One login that is about to start.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationRequest<'a> {
    /// At least 128 random bits, bound to the browser (std:12).
    pub state: &'a str,
    /// At least 128 random bits, in at most 64 characters (std:13).
    pub nonce: &'a str,
    /// 43 to 128 unreserved characters (RFC 7636 §4.1; std:11); only its hash is sent.
    pub verifier: &'a Secret<String>,
    /// Further parameters that the caller allows, such as `prompt`; they go before configured ones of that name.
    pub extra: &'a [(&'a str, &'a str)],
}

/// An authorization response that is not our provider's (RFC 9207 §2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssuerMismatch {
    /// The provider says that it always sends `iss`, and it did not come.
    #[error("the authorization response has no issuer")]
    Missing,
    /// `iss` is another issuer.
    #[error("the authorization response is another issuer's")]
    Different,
}

/// The S256 challenge of `verifier` (RFC 7636 §4.2).
pub fn pkce_challenge(verifier: &Secret<String>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(sha256(verifier.expose().as_bytes()))
}

/// The URL that the browser is sent to.
pub(super) fn url(settings: &Settings, metadata: &Metadata, login: &AuthorizationRequest<'_>) -> Url {
    let mut url = metadata.authorization_endpoint.clone();
    let challenge = pkce_challenge(login.verifier);
    let scope = settings.scopes.join(" ");
    let ours = [
        ("response_type", "code"),
        ("client_id", settings.client_id.as_str()),
        ("redirect_uri", settings.redirect_uri.as_str()),
        ("scope", scope.as_str()),
        ("state", login.state),
        ("nonce", login.nonce),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    // RFC 6749 §3.1: no parameter more than once, `resource` apart (RFC 8707 §2). The first to name it wins.
    let mut sent: Vec<&str> = RESERVED.to_vec();
    let configured =
        settings.authorization_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut query = url.query_pairs_mut();
    query.extend_pairs(ours);
    query.extend_pairs(settings.resources.iter().map(|resource| ("resource", resource)));
    for (name, value) in login.extra.iter().copied().chain(configured) {
        if !sent.contains(&name) {
            query.append_pair(name, value);
            sent.push(name);
        }
    }
    drop(query);
    url
}

/// Whether the authorization response with this `iss` is our provider's, by simple string comparison.
///
/// An `iss` that is ours from a provider that does not announce to send one is taken (RFC 9207 §2.4 leaves that to
/// the client): refusing the right name protects nobody.
pub(super) fn check_callback_issuer(metadata: &Metadata, iss: Option<&str>) -> Result<(), IssuerMismatch> {
    match iss {
        Some(named) if named == metadata.issuer => Ok(()),
        Some(_) => Err(IssuerMismatch::Different),
        None if metadata.sends_callback_issuer => Err(IssuerMismatch::Missing),
        None => Ok(()),
    }
}

/// What only we set; `request` and `request_uri` could replace all of it (OIDC Core §6).
const RESERVED: &[&str] = &[
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "request",
    "request_uri",
];

#[cfg(test)]
mod tests;

//! The provider's metadata, fetched and checked.
//!
//! Nothing is used of a document that is not the issuer's.
//! OIDC Discovery §4, RFC 8414 §3.3, RFC 9207 §3. Endpoints come from here and nowhere else (std:3).

use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::link::Link;
use crate::base::http_client::TransportError;

/// What the provider says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `issuer`, identical to the configured one.
    pub issuer: String,
    /// `authorization_endpoint`
    pub authorization_endpoint: Url,
    /// `token_endpoint`
    pub token_endpoint: Url,
    /// `jwks_uri`
    pub jwks_uri: Url,
    /// `userinfo_endpoint`
    pub userinfo_endpoint: Option<Url>,
    /// `introspection_endpoint` (RFC 8414 §2)
    pub introspection_endpoint: Option<Url>,
    /// `revocation_endpoint` (RFC 8414 §2)
    pub revocation_endpoint: Option<Url>,
    /// `end_session_endpoint` (RP-Initiated Logout §2.1)
    pub end_session_endpoint: Option<Url>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207 §3)
    pub sends_callback_issuer: bool,
    /// Whether `code_challenge_methods_supported` names `S256` (RFC 8414 §2; std:6)
    pub supports_pkce: bool,
}

/// Why the provider's metadata are not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiscoveryError {
    /// The configured issuer is not an `https` URL (or `http` on this machine).
    #[error("the configured issuer is not an https URL")]
    BadIssuer,
    /// No answer came.
    #[error("the provider did not answer the discovery request")]
    Unreachable(#[source] TransportError),
    /// The answer was not 200; a redirect is not followed (std:7).
    #[error("the discovery request was answered with status {0}")]
    Status(u16),
    /// The answer is not a JSON object labelled as one.
    #[error("the discovery document is not a JSON object")]
    NotJson,
    /// The document is another issuer's (std:2).
    #[error("the discovery document names another issuer")]
    IssuerMismatch,
    /// A member that must be there is not, or has the wrong type.
    #[error("the discovery document has no usable `{0}`")]
    Member(&'static str),
    /// An endpoint is not an `https` URL (or `http` on this machine), or carries credentials or a fragment.
    #[error("`{0}` in the discovery document is not an https URL")]
    Endpoint(&'static str),
    /// The attempt was cut off by the end of its runtime.
    #[error("the discovery request was interrupted")]
    Interrupted,
}

impl DiscoveryError {
    /// A short name for logs, metrics and `/readyz`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::BadIssuer => "bad_issuer",
            Self::Unreachable(error) => error.label(),
            Self::Status(_) => "bad_status",
            Self::NotJson => "not_json",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::Member(_) => "missing_member",
            Self::Endpoint(_) => "bad_endpoint",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Fetches and checks the metadata.
pub(super) async fn fetch(link: &Link) -> Result<Metadata, DiscoveryError> {
    let address = address(&link.settings.issuer)?;
    let response = link.fetch(&address).await.map_err(DiscoveryError::Unreachable)?;
    read(&response, &link.settings.issuer)
}

/// Where the metadata are: the issuer without a trailing slash, and the well-known path (Discovery §4.1).
fn address(issuer: &str) -> Result<Url, DiscoveryError> {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let address = Url::parse(&format!("{base}/.well-known/openid-configuration"));
    // Discovery §3: an issuer has neither query nor fragment, so the path ends where it should.
    address
        .ok()
        .filter(|address| is_safe(address) && address.query().is_none())
        .ok_or(DiscoveryError::BadIssuer)
}

fn read(response: &Response<Bytes>, issuer: &str) -> Result<Metadata, DiscoveryError> {
    if response.status() != StatusCode::OK {
        return Err(DiscoveryError::Status(response.status().as_u16()));
    }
    if !is_json(response) {
        return Err(DiscoveryError::NotJson);
    }
    let document: Map<String, Value> =
        serde_json::from_slice(response.body()).map_err(|_invalid| DiscoveryError::NotJson)?;
    // Nothing else of the document is looked at before its issuer (Discovery §4.3).
    match document.get("issuer").and_then(Value::as_str) {
        None => return Err(DiscoveryError::Member("issuer")),
        Some(named) if named != issuer => return Err(DiscoveryError::IssuerMismatch),
        Some(_) => {}
    }
    let methods = document.get("code_challenge_methods_supported").and_then(Value::as_array);
    Ok(Metadata {
        issuer: issuer.to_owned(),
        authorization_endpoint: required(&document, "authorization_endpoint")?,
        token_endpoint: required(&document, "token_endpoint")?,
        jwks_uri: required(&document, "jwks_uri")?,
        userinfo_endpoint: endpoint(&document, "userinfo_endpoint")?,
        introspection_endpoint: endpoint(&document, "introspection_endpoint")?,
        revocation_endpoint: endpoint(&document, "revocation_endpoint")?,
        end_session_endpoint: endpoint(&document, "end_session_endpoint")?,
        sends_callback_issuer: flag(&document, "authorization_response_iss_parameter_supported")?,
        supports_pkce: methods.is_some_and(|methods| methods.iter().any(|method| method == "S256")),
    })
}

fn is_json(response: &Response<Bytes>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

fn required(document: &Map<String, Value>, name: &'static str) -> Result<Url, DiscoveryError> {
    endpoint(document, name)?.ok_or(DiscoveryError::Member(name))
}

/// An endpoint, if it is there. One that is unsafe spoils the document: to leave it out would silently switch off
/// revocation or logout.
fn endpoint(document: &Map<String, Value>, name: &'static str) -> Result<Option<Url>, DiscoveryError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let url = Url::parse(text).ok().filter(is_safe);
            url.map(Some).ok_or(DiscoveryError::Endpoint(name))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(DiscoveryError::Member(name))
        }
    }
}

/// A flag; absent is false. One of the wrong type is not: it may have meant that `iss` is always sent.
fn flag(document: &Map<String, Value>, name: &'static str) -> Result<bool, DiscoveryError> {
    document.get(name).map_or(Ok(false), |value| value.as_bool().ok_or(DiscoveryError::Member(name)))
}

/// `https`, or `http` to this machine, where nobody listens on the way; no credentials, no fragment (std:3).
fn is_safe(url: &Url) -> bool {
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let secure = url.scheme() == "https" || (url.scheme() == "http" && local);
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    secure && plain && url.has_host()
}

#[cfg(test)]
mod tests;

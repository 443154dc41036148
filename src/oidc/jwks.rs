//! The provider's keys, fetched from where its metadata say.
//!
//! RFC 7517 §5, OIDC Core §10.1.1. When to fetch is decided in `provider`.

use http::StatusCode;

use super::discovery::{DiscoveryError, Metadata};
use super::link::Link;
use crate::base::http_client::TransportError;
use crate::jwt::{KeySet, KeySetError};

/// Why the provider's keys are not known.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum JwksError {
    /// Where they are is not known.
    #[error("the provider's metadata are not known")]
    Discovery(#[source] DiscoveryError),
    /// No answer came.
    #[error("the provider did not answer the request for its keys")]
    Unreachable(#[source] TransportError),
    /// The answer was not 200; a redirect is not followed (std:7).
    #[error("the request for the keys was answered with status {0}")]
    Status(u16),
    /// The answer is not a key set.
    #[error("the provider's key set is not readable")]
    NotAKeySet(#[source] KeySetError),
}

/// Fetches and reads the key set.
pub(super) async fn fetch(link: &Link, metadata: &Metadata) -> Result<KeySet, JwksError> {
    let response = link.fetch(&metadata.jwks_uri).await.map_err(JwksError::Unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(JwksError::Status(response.status().as_u16()));
    }
    KeySet::parse(response.body()).map_err(JwksError::NotAKeySet)
}

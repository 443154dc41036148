//! OpenID Connect and OAuth 2.0, one file per request to the provider.
//!
//! Speaks to the provider and judges its answers; knows nothing of cookies, sessions or browsers. The public face
//! is [`Provider`]: it is made without I/O, learns the provider's metadata and keys when they are first needed,
//! keeps the last good copies of both through any outage, and never repeats a request by itself.

mod access_token;
mod authorize;
mod client_auth;
mod discovery;
mod end_session;
mod id_token;
mod jwks;
mod link;
mod oauth_error;
mod provider;
mod revoke;
#[cfg(test)]
pub(crate) mod script;
pub mod settings;
mod shelf;
mod token;

pub use access_token::access_token_claims;
pub use authorize::{AuthorizationRequest, IssuerMismatch, pkce_challenge};
pub use discovery::{DiscoveryError, Metadata};
pub use id_token::{IdTokenError, LoginIdentity, VerifiedIdToken};
pub use oauth_error::OAuthError;
pub use provider::{Provider, ProviderStatus};
pub use revoke::{RevokeError, TokenKind};
pub use settings::Settings;
pub use token::{TokenAnswer, TokenError};

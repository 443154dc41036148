//! What the configuration says about the provider.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::base::secret::Secret;

/// One provider and our client there.
#[derive(Debug)]
pub struct Settings {
    /// The issuer identifier, compared as the string that was configured (OIDC Discovery §4.3).
    pub issuer: String,
    /// The client identifier.
    pub client_id: String,
    /// How the client authenticates at the token endpoint.
    pub client_auth: ClientAuth,
    /// `scope` of the authorization request; holds `openid`.
    pub scopes: Vec<String>,
    /// Further parameters of the authorization request, such as `audience` or `prompt`.
    pub authorization_params: Vec<(String, String)>,
    /// Further parameters of every token request.
    pub token_params: Vec<(String, String)>,
    /// Absolute URIs for RFC 8707 `resource`, sent in authorization and token requests.
    pub resources: Vec<String>,
    /// Whether a login without a refresh token is refused.
    pub require_refresh_token: bool,
    /// Signature algorithms an ID token may use.
    pub id_token_algorithms: Vec<String>,
    /// Audiences besides our client id that an ID token may name (OIDC Core §3.1.3.7).
    pub trusted_audiences: Vec<String>,
    /// How far the provider's clock may differ from ours.
    pub clock_leeway: Duration,
    /// Certificates that vouch for the provider, instead of the machine's roots.
    pub ca_file: Option<PathBuf>,
    /// How long one request to the provider may take in all.
    pub timeout: Duration,
    /// An access token's life where the provider tells neither `expires_in` nor `exp`.
    pub default_token_life: Duration,
    /// Where users go after the provider's logout; `None` leaves it to the provider.
    pub post_logout_redirect_uri: Option<Url>,
    /// The registered redirect URI: `public_url` and the callback's path.
    pub redirect_uri: Url,
}

/// How the client authenticates (RFC 6749 §2.3).
#[derive(Debug)]
pub enum ClientAuth {
    /// `client_secret_basic`
    Basic(Secret<String>),
    /// `client_secret_post`
    Post(Secret<String>),
}

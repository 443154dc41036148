//! What the configuration says about our endpoints.

use url::Url;

/// Endpoint settings.
#[derive(Debug)]
pub struct Settings {
    /// The origin that browsers see.
    pub public_url: Url,
    /// Where the endpoints live: `/oauth2`.
    pub base_path: String,
    /// Where a login ends that names no valid return target: a path.
    pub default_return_to: String,
    /// Query parameters of the login endpoint that are passed on to the provider (std:20).
    pub login_params: Vec<String>,
}

//! The provider's logout, to which the browser is sent after ours.
//!
//! OpenID Connect RP-Initiated Logout 1.0 §2, §3 (std:156). Only makes the URL.

use url::Url;

use super::discovery::Metadata;
use super::settings::Settings;
use crate::base::secret::Secret;

/// Where the browser goes to log out at the provider; `None` where it offers no logout.
///
/// The ID token travels in the URL where one was kept, as the standard has it; else our client id does.
pub(super) fn url(
    settings: &Settings,
    metadata: &Metadata,
    hint: Option<&Secret<String>>,
    logout_hint: Option<&str>,
    state: &str,
) -> Option<Url> {
    let mut url = metadata.end_session_endpoint.clone()?;
    let mut query = url.query_pairs_mut();
    match hint {
        Some(token) => query.append_pair("id_token_hint", token.expose()),
        None => query.append_pair("client_id", &settings.client_id),
    };
    if let Some(user) = logout_hint {
        query.append_pair("logout_hint", user);
    }
    if let Some(target) = &settings.post_logout_redirect_uri {
        // `state` comes back only along with the target (§2).
        query.append_pair("post_logout_redirect_uri", target.as_str());
        query.append_pair("state", state);
    }
    drop(query);
    Some(url)
}

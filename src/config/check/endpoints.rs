//! `endpoints`: where our own paths are and how a login begins and ends.

use super::path;
use crate::config::problems::Findings;
use crate::config::raw::Endpoints;

/// The folder of our endpoints.
pub(super) fn base_path(raw: &Endpoints, findings: &mut Findings) -> Option<String> {
    let text = raw.base_path.as_ref()?;
    let why = match path::plain(&text.value) {
        Ok(()) if !text.value.ends_with('/') => return Some(text.value.clone()),
        Ok(()) => "the base path is a folder's name, without `/` at its end",
        Err(why) => why,
    };
    findings.report(&text.at, why).help("write it as `/oauth2`");
    None
}

/// Where a login ends by default, and the parameters of the login endpoint that are passed on.
pub(super) fn check(
    raw: Endpoints,
    base_path: Option<&str>,
    findings: &mut Findings,
) -> Option<(String, Vec<String>)> {
    let default_return_to = raw.default_return_to.and_then(|text| {
        let folder = text.value.split(['?', '#']).next().unwrap_or_default();
        let ours = base_path.and_then(|base| folder.strip_prefix(base));
        let wrong = if !text.value.starts_with('/') || text.value.starts_with("//") {
            Some("not a path of our own origin")
        } else if text.value.bytes().any(|byte| byte == b'\\' || !byte.is_ascii_graphic()) {
            Some("a character that does not belong in a path")
        } else if ours.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            Some("a login must not end at one of our endpoints")
        } else {
            None
        };
        if let Some(why) = wrong {
            findings.report(&text.at, why).help("write a path of the application, such as `/`");
            return None;
        }
        Some(text.value)
    });
    for name in raw.login_params.iter().flat_map(|list| &list.value) {
        if name.value.is_empty() || FIXED.contains(&name.value.as_str()) {
            findings
                .report(&name.at, "browsers must not choose this parameter")
                .help("drop it from the list");
        }
    }
    let login_params = super::texts(raw.login_params);
    Some((default_return_to?, login_params?))
}

/// Parameters of an authorization request that are the gateway's to choose (RFC 6749, RFC 7636, OIDC Core).
pub(super) const FIXED: &[&str] = &[
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
    "resource",
    "id_token_hint",
    "rd",
];

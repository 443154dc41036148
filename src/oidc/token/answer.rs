//! The token endpoint's answer, read.
//!
//! RFC 6749 §5.1, §5.2. Unknown members are ignored and `null` is absence; what cannot be used is refused in a way
//! that keeps a refresh token that came along.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::{TokenAnswer, TokenError};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;
use crate::oidc::access_token::expiry;
use crate::oidc::link::retry_after;
use crate::oidc::oauth_error::OAuthError;
use crate::oidc::settings::Settings;

/// The statuses with which a token endpoint refuses (RFC 6749 §5.2; 403 is seen in the field). An error member under
/// another status is somebody else's.
const REFUSALS: [StatusCode; 3] = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];

/// Sorts the answer to a request that was sent at `sent_at` and came at `now`.
pub(super) fn read(
    response: &Response<Bytes>,
    settings: &Settings,
    sent_at: Timestamp,
    now: Timestamp,
) -> Result<TokenAnswer, TokenError> {
    let status = response.status();
    let busy = || TokenError::Busy { retry_after: retry_after(response, now) };
    // Whatever the body says: a provider that is failing or fending off load has not judged the grant.
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(busy());
    }
    let members = serde_json::from_slice::<Map<String, Value>>(response.body());
    let error = members.as_ref().ok().and_then(|members| members.get("error")).and_then(Value::as_str);
    // Some providers answer 200 and say only here that it is none.
    let speaks_oauth = status.is_success() || REFUSALS.contains(&status);
    if let Some(code) = error.filter(|code| speaks_oauth && !code.is_empty()) {
        return Err(TokenError::Refused(OAuthError::from_code(code)));
    }
    if !status.is_success() {
        // A redirect, a proxy's page, a wrong path.
        return Err(busy());
    }
    accept(members.map_err(|_invalid| bad("not a JSON object", None))?, settings, sent_at)
}

fn accept(
    mut members: Map<String, Value>,
    settings: &Settings,
    sent_at: Timestamp,
) -> Result<TokenAnswer, TokenError> {
    let refresh_token = token(&mut members, "refresh_token").map_err(|fault| bad(fault.refresh(), None))?;
    // From here on a failure hands on the refresh token: the one it replaces is spent.
    let checked = check_rest(&mut members);
    let (access_token, id_token) = match checked {
        Ok(tokens) => tokens,
        Err(what) => return Err(bad(what, refresh_token)),
    };
    let access_expires_at = access_expiry(&members, &access_token, settings, sent_at);
    Ok(TokenAnswer {
        access_expires_at,
        sent_at,
        scope: members.get("scope").and_then(Value::as_str).map(str::to_owned),
        session_expires_in: SESSION_LIVES.iter().filter_map(|name| life(&members, name)).min(),
        access_token,
        refresh_token,
        id_token,
    })
}

type Tokens = (Secret<String>, Option<Secret<String>>);

fn check_rest(members: &mut Map<String, Value>) -> Result<Tokens, &'static str> {
    let access_token = token(members, "access_token").map_err(Fault::access)?.ok_or("no access_token")?;
    let id_token = token(members, "id_token").map_err(Fault::id)?;
    // RFC 6750 §2.1: it will stand in a header field.
    if !access_token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("access_token holds characters that no header can carry");
    }
    // RFC 6749 §5.1, §7.1: required, in any letter case, and not of a type that we cannot use (std:40).
    match members.get("token_type").and_then(Value::as_str) {
        Some(kind) if kind.eq_ignore_ascii_case("bearer") => Ok((access_token, id_token)),
        Some(_) => Err("token_type is not bearer"),
        None => Err("no token_type"),
    }
}

/// What is wrong with a token as a string.
enum Fault {
    NotText,
    TooLong,
}

impl Fault {
    const fn access(self) -> &'static str {
        match self {
            Self::NotText => "access_token is not a string",
            Self::TooLong => "access_token is longer than 16 KiB",
        }
    }

    const fn refresh(self) -> &'static str {
        match self {
            Self::NotText => "refresh_token is not a string",
            Self::TooLong => "refresh_token is longer than 16 KiB",
        }
    }

    const fn id(self) -> &'static str {
        match self {
            Self::NotText => "id_token is not a string",
            Self::TooLong => "id_token is longer than 16 KiB",
        }
    }
}

/// Takes a token out of the answer and into custody. Empty is absent.
fn token(members: &mut Map<String, Value>, name: &str) -> Result<Option<Secret<String>>, Fault> {
    match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let token = Secret::new(text);
            if token.expose().len() > LONGEST {
                return Err(Fault::TooLong);
            }
            Ok(Some(token).filter(|token| !token.expose().is_empty()))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(Fault::NotText),
    }
}

/// The earlier of `expires_in` and the token's own `exp`, else the configured life (std:41).
fn access_expiry(
    members: &Map<String, Value>,
    token: &Secret<String>,
    settings: &Settings,
    sent_at: Timestamp,
) -> Timestamp {
    let told = life(members, "expires_in").map(|life| sent_at.plus(life));
    let latest = sent_at.plus(LONGEST_LIFE);
    let own = expiry(token).map(|own| own.min(latest));
    let ends = [told, own].into_iter().flatten().min();
    ends.unwrap_or_else(|| sent_at.plus(settings.default_token_life)).minus(MARGIN)
}

/// A number of seconds, perhaps written as a string. Zero and less tell nothing: Keycloak writes zero for "no
/// limit". More than a year is a year.
fn life(members: &Map<String, Value>, name: &str) -> Option<Duration> {
    let seconds = match members.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let seconds = seconds.filter(|seconds| *seconds >= 1.0)?;
    Some(Duration::try_from_secs_f64(seconds.floor()).map_or(LONGEST_LIFE, |life| life.min(LONGEST_LIFE)))
}

const fn bad(what: &'static str, rotated: Option<Secret<String>>) -> TokenError {
    TokenError::BadAnswer { what, rotated }
}

/// `exp` is in whole seconds, and the answer took its way.
const MARGIN: Duration = Duration::from_secs(1);
/// Beyond this no number is meant.
const LONGEST_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// The cap of std:42. Larger ones fit into no request head of common servers.
const LONGEST: usize = 16 * 1024;
/// Names under which providers tell how long refreshing will work: Keycloak, Entra ID and GitHub, the
/// refresh-token-expiration draft.
const SESSION_LIVES: &[&str] =
    &["refresh_expires_in", "refresh_token_expires_in", "refresh_token_timeout", "authorization_expires_in"];

//! The authorization endpoint: code, PKCE with S256, and who somebody is.
//!
//! RFC 6749 §4.1.1, OIDC Core §3.1.2, RFC 7636, RFC 9207. No request object, no `form_post`, no consent: the
//! clients are the person's own. The user picker posts to the same address with the same query, so that
//! nothing has to be remembered between the page and the click.

use std::time::{Duration, SystemTime};

use http::header::SET_COOKIE;
use http::{Method, StatusCode};
use url::Url;

use crate::faults::CallbackFault;
use crate::http_io::{Call, Parameters, Reply};
use crate::pages;
use crate::settings::Client;
use crate::shared::Shared;
use crate::state::{Login, NewCode};

pub(crate) fn authorize(shared: &Shared, call: &Call) -> Reply {
    let query = call.query();
    let form = if call.method == Method::POST { call.form() } else { Parameters::default() };
    // OIDC Core §3.1.2.1 allows the whole request to be posted.
    let request = if form.one("client_id").is_some() { form.clone() } else { query };
    shared.seen.authorize(request.pairs());
    // Before the client and its redirect URI are known to be right, nothing is sent anywhere.
    let Some(client) = request.one("client_id").and_then(|id| shared.state().client(id).cloned()) else {
        return refusal("This client is not known here.");
    };
    let Some(redirect_uri) = request.one("redirect_uri").filter(|&uri| is_registered(&client, uri)) else {
        return refusal("This redirect_uri is not registered for the client.");
    };
    let Ok(redirect_uri) = Url::parse(redirect_uri) else {
        return refusal("This redirect_uri is not a URL.");
    };
    let back = Back { shared, redirect_uri, state: request.one("state") };
    if let Err((error, description)) = checked(&request) {
        return back.with_error(error, description);
    }
    let picked = form.one("user").or_else(|| request.one("login_hint"));
    match who(shared, call, &request, picked) {
        Who::Known(login) => back.with_code(&client, &request, &login),
        Who::LoggedIn(cookie, login) => {
            with_cookie(shared, back.with_code(&client, &request, &login), &cookie)
        }
        Who::Ask => {
            let action = format!("/authorize?{}", query_of(&request));
            Reply::page(StatusCode::OK, pages::picker(&client.id, &action, &shared.state().users()))
        }
        Who::Refused(error) => back.with_error(error, "nobody is logged in, and nobody may be asked"),
    }
}

fn refusal(text: &str) -> Reply {
    Reply::page(StatusCode::BAD_REQUEST, pages::notice("This request is refused", text))
}

// RFC 9700 §4.1.3: exact string comparison.
fn is_registered(client: &Client, uri: &str) -> bool {
    client.redirect_uris.iter().any(|registered| registered == uri)
}

fn checked(request: &Parameters) -> Result<(), (&'static str, &'static str)> {
    if request.has_duplicates() {
        return Err(("invalid_request", "a parameter is repeated"));
    }
    if request.one("request").is_some() {
        return Err(("request_not_supported", "there are no request objects here"));
    }
    if request.one("request_uri").is_some() {
        return Err(("request_uri_not_supported", "there are no request objects here"));
    }
    if request.one("response_type") != Some("code") {
        return Err(("unsupported_response_type", "response_type must be code"));
    }
    if request.one("response_mode").is_some_and(|mode| mode != "query") {
        return Err(("invalid_request", "response_mode must be query"));
    }
    if !request.one("scope").unwrap_or_default().split(' ').any(|scope| scope == "openid") {
        return Err(("invalid_scope", "scope must contain openid"));
    }
    // RFC 7636 §4.2: 43 characters are the base64url of a SHA-256 digest.
    let challenge = request.one("code_challenge").unwrap_or_default();
    if request.one("code_challenge_method") != Some("S256") || challenge.len() != 43 {
        return Err(("invalid_request", "PKCE with S256 is required"));
    }
    Ok(())
}

enum Who {
    /// By the cookie.
    Known(Login),
    /// Just now, with a new cookie.
    LoggedIn(String, Login),
    Ask,
    Refused(&'static str),
}

fn who(shared: &Shared, call: &Call, request: &Parameters, picked: Option<&str>) -> Who {
    let now = shared.now();
    let mut state = shared.state();
    let prompts =
        |wanted: &str| request.one("prompt").unwrap_or_default().split(' ').any(|prompt| prompt == wanted);
    let picked = picked.filter(|sub| state.user(sub).is_some()).map(str::to_owned);
    let known = call.cookie(&shared.cookie_name()).and_then(|cookie| state.login(cookie)).cloned();
    let clicked = call.method == Method::POST && picked.is_some();
    let usable = known.filter(|login| {
        let fits = picked.as_ref().is_none_or(|sub| *sub == login.sub);
        fits && !clicked && !prompts("login") && is_recent(login, request, now)
    });
    match (usable, picked) {
        (Some(login), _) => Who::Known(login),
        (None, _) if prompts("none") => Who::Refused("login_required"),
        (None, Some(sub)) => {
            let (cookie, login) = state.log_in(&sub, now);
            Who::LoggedIn(cookie, login)
        }
        (None, None) => Who::Ask,
    }
}

/// OIDC Core §3.1.2.1: `max_age`.
fn is_recent(login: &Login, request: &Parameters, now: SystemTime) -> bool {
    let Some(most) = request.one("max_age").and_then(|age| age.parse().ok()).map(Duration::from_secs) else {
        return true;
    };
    now.duration_since(login.auth_time).unwrap_or_default() <= most
}

fn query_of(request: &Parameters) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(request.pairs()).finish()
}

/// Two cookies with one value: other programs on this host never see them.
fn with_cookie(shared: &Shared, mut reply: Reply, value: &str) -> Reply {
    for path in COOKIE_PATHS {
        let name = shared.cookie_name();
        reply = reply.with(SET_COOKIE, &format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax"));
    }
    reply
}

/// The paths of the login cookie.
pub(super) const COOKIE_PATHS: [&str; 2] = ["/authorize", "/end-session"];

/// The way back to the client.
struct Back<'a> {
    shared: &'a Shared,
    redirect_uri: Url,
    state: Option<&'a str>,
}

impl Back<'_> {
    fn with_error(&self, error: &str, description: &str) -> Reply {
        let wanted = vec![("error", error), ("error_description", description)];
        self.with(wanted, None)
    }

    fn with_code(&self, client: &Client, request: &Parameters, login: &Login) -> Reply {
        let fault = self.shared.faults.callback.take();
        if let Some(CallbackFault::Error(error) | CallbackFault::ErrorWithWrongIss(error)) = fault {
            let description = "<script>alert(1)</script><b>no</b>";
            return self.with(vec![("error", error), ("error_description", description)], fault.as_ref());
        }
        let wanted = request.one("scope").unwrap_or_default().split_ascii_whitespace();
        let scope: Vec<&str> =
            wanted.filter(|&scope| scope != "offline_access" || client.allow_offline).collect();
        let new = NewCode {
            client_id: client.id.clone(),
            redirect_uri: request.one("redirect_uri").unwrap_or_default().to_owned(),
            challenge: request.one("code_challenge").unwrap_or_default().to_owned(),
            nonce: request.one("nonce").map(str::to_owned),
            scope: scope.join(" "),
            sub: login.sub.clone(),
            sid: login.sid.clone(),
            auth_time: login.auth_time,
        };
        let now = self.shared.now();
        let code = self.shared.state().issue_code(new, now + self.shared.settings.code_life);
        self.shared.seen.count(|counts| counts.logins += 1);
        self.shared.seen.event(now, "login", Some(&login.sub));
        self.with(vec![("code", &code)], fault.as_ref())
    }

    fn with<'s>(&'s self, mut pairs: Vec<(&'s str, &'s str)>, fault: Option<&CallbackFault>) -> Reply {
        if let Some(state) = self.state {
            pairs.push(("state", state));
        }
        if self.shared.settings.advertise_iss_parameter {
            pairs.push(("iss", &self.shared.issuer));
        }
        if let Some(fault) = fault {
            spoil(&mut pairs, fault);
        }
        let mut location = self.redirect_uri.clone();
        location.query_pairs_mut().extend_pairs(pairs);
        Reply::redirect(StatusCode::FOUND, location.as_str())
    }
}

fn spoil(pairs: &mut Vec<(&str, &str)>, fault: &CallbackFault) {
    let (name, value): (&'static str, Option<&'static str>) = match fault {
        CallbackFault::WrongIss | CallbackFault::ErrorWithWrongIss(_) => {
            ("iss", Some("http://wrong-issuer.example"))
        }
        CallbackFault::MissingIss => ("iss", None),
        CallbackFault::WrongState => ("state", Some("another-state")),
        CallbackFault::MissingState => ("state", None),
        CallbackFault::MissingCode => ("code", None),
        CallbackFault::DuplicateCode | CallbackFault::DuplicateState => {
            let name = if *fault == CallbackFault::DuplicateCode { "code" } else { "state" };
            let again = pairs.iter().find(|(key, _)| *key == name).copied();
            pairs.extend(again);
            return;
        }
        CallbackFault::TokensInFrontChannel => {
            pairs.extend([
                ("access_token", "front-channel"),
                ("id_token", "front.channel."),
                ("token_type", "Bearer"),
            ]);
            return;
        }
        CallbackFault::Error(_) => return,
    };
    pairs.retain(|(key, _)| *key != name);
    pairs.extend(value.map(|value| (name, value)));
}

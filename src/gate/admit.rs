//! The way of a request through the gate: route, policy, session, verdict.

use std::sync::Arc;

use http::header::{ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::{HeaderMap, HeaderValue, Method};

use super::denial::{CookieFate, Denial};
use super::forward::identity_headers;
use super::head::RequestHead;
use super::policy::csrf::{self, Origins};
use super::route::host::host_of;
use super::route::path;
use super::route::table::{Match, Table};
use super::settings::{Auth, RefreshOn, Route, UpstreamId};
use super::verdict::{AnswerKind, CookieEdit, Endpoint, EndpointCall, ForwardPlan, Refusal, Verdict};
use crate::session::cookie::jar::{Jar, Others};
use crate::session::refresh::record::{Ask, EndCause, Refused};
use crate::session::sessions::{Admitted, Sessions};
use crate::session::ticket::Ticket;

/// Decides about every request.
#[derive(Debug)]
pub struct Gate {
    table: Table,
    origins: Origins,
    sessions: Sessions,
}

impl Gate {
    /// A gate over a route table and the sessions.
    pub fn new(table: Table, origins: Origins, sessions: Sessions) -> Self {
        Self { table, origins, sessions }
    }

    /// The verdict about a request. Waits only where nothing but a refresh under way can help.
    pub async fn admit(&self, head: &RequestHead<'_>) -> Verdict {
        match self.route(head) {
            Ok(Match::Route(route)) => self.forward(Arc::clone(route), head).await,
            Ok(Match::Endpoint(endpoint)) => self.call(endpoint, head).await,
            Ok(Match::MethodNotAllowed(methods)) => deny(Denial::MethodNotAllowed(methods), head),
            Ok(Match::Nothing) => deny(Denial::NoRoute, head),
            Ok(Match::HostNotServed) => deny(Denial::HostNotServed, head),
            Ok(Match::Twin) => deny(Denial::AmbiguousPath(TWIN), head),
            Err(denial) => deny(denial, head),
        }
    }

    /// Where a request would go, were it admitted; `None` where no route serves it. Asks nothing of a session.
    pub fn destination(&self, head: &RequestHead<'_>) -> Option<UpstreamId> {
        match self.route(head) {
            Ok(Match::Route(route)) => Some(route.upstream),
            Ok(
                Match::Endpoint(_)
                | Match::MethodNotAllowed(_)
                | Match::Nothing
                | Match::HostNotServed
                | Match::Twin,
            )
            | Err(_) => None,
        }
    }

    /// The `Set-Cookie` values of a response, decided when its head is written (rule 4).
    pub fn response_cookies(&self, ticket: &Ticket) -> Vec<HeaderValue> {
        self.sessions.cookies_due(ticket)
    }

    /// Whether a cookie name is ours: an upstream must not set it (std:94).
    pub fn is_own_cookie(&self, name: &str) -> bool {
        self.sessions.names().is_ours(name.as_bytes())
    }

    fn route(&self, head: &RequestHead<'_>) -> Result<Match<'_>, Denial> {
        let target = path::judge(head.target)?;
        Ok(self.table.find(host_of(head.parts).as_deref(), target.path, &head.parts.method))
    }

    async fn forward(&self, route: Arc<Route>, head: &RequestHead<'_>) -> Verdict {
        let headers = &head.parts.headers;
        let jar = Jar::read(headers, self.sessions.names());
        let cookies = match jar.others(headers, self.sessions.names()) {
            Others::Untouched => CookieEdit::Keep,
            Others::Nothing => CookieEdit::Remove,
            Others::Joined(line) => CookieEdit::Replace(line),
        };
        if route.auth == Auth::None {
            return Verdict::Forward(ForwardPlan {
                set: identity_headers(&route, None),
                route,
                cookies,
                authorization: None,
                session: None,
            });
        }
        // Policy before any session work.
        if let Err(denial) = csrf::judge(&head.parts.method, headers, &self.origins) {
            return deny(denial, head);
        }
        // Rule 8: a refresh only where the response can carry the cookie.
        let ask =
            if route.refresh == RefreshOn::Never || is_preflight(head) { Ask::NoRefresh } else { Ask::Usual };
        match self.session(&jar, ask, head).await {
            Err(refusal) => Verdict::Deny(refusal),
            Ok(ticket) => Verdict::Forward(ForwardPlan {
                authorization: Some(ticket.session.tokens.bearer.clone()),
                set: identity_headers(&route, Some(&ticket.session)),
                route,
                cookies,
                session: Some(ticket),
            }),
        }
    }

    async fn call(&self, endpoint: Endpoint, head: &RequestHead<'_>) -> Verdict {
        if endpoint.is_guarded()
            && let Err(denial) = csrf::judge(&head.parts.method, &head.parts.headers, &self.origins)
        {
            return deny(denial, head);
        }
        let ask = match endpoint {
            Endpoint::Session | Endpoint::UserInfo => Ask::Usual,
            Endpoint::SessionRefresh => Ask::RefreshNow,
            Endpoint::Login | Endpoint::Callback | Endpoint::Logout | Endpoint::LoggedOut => {
                return Verdict::Endpoint(EndpointCall { endpoint, session: None });
            }
        };
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        match self.session(&jar, ask, head).await {
            Ok(ticket) => Verdict::Endpoint(EndpointCall { endpoint, session: Some(ticket) }),
            Err(mut refusal) => {
                // These endpoints speak JSON, whoever asks.
                refusal.answer = AnswerKind::Problem;
                Verdict::Deny(refusal)
            }
        }
    }

    async fn session(&self, jar: &Jar<'_>, ask: Ask, head: &RequestHead<'_>) -> Result<Ticket, Refusal> {
        let (refused, presented) = match self.sessions.admit(jar, ask).await {
            Admitted::Ticket(ticket) => {
                return Ok(Ticket { carries_cookie: ask != Ask::NoRefresh, ..ticket });
            }
            Admitted::Nobody => {
                return Err(Refusal {
                    denial: Denial::NoSession,
                    answer: answer_kind(head),
                    cookies: Vec::new(),
                });
            }
            Admitted::Refused { refused, presented } => (refused, presented),
        };
        let (denial, answer) = (denial_of(refused), answer_kind(head));
        let cookies = match denial.effects().cookie {
            _ if ask == Ask::NoRefresh => Vec::new(),
            // A script's answer may arrive after the next login has set its cookie, and would wipe it (rule 4). A
            // denied cookie does no harm until the user navigates.
            CookieFate::Delete if answer == AnswerKind::Problem => Vec::new(),
            CookieFate::Delete => self.sessions.deletion(presented.chunks),
            CookieFate::Keep => self.sessions.newest_cookies(&presented),
        };
        Err(Refusal { denial, answer, cookies })
    }
}

impl Endpoint {
    /// Whether another site must not cause a call. Login and callback are entered from other sites by design;
    /// they have `state` instead.
    const fn is_guarded(self) -> bool {
        match self {
            Self::Logout | Self::SessionRefresh | Self::Session | Self::UserInfo => true,
            Self::Login | Self::Callback | Self::LoggedOut => false,
        }
    }
}

fn denial_of(refused: Refused) -> Denial {
    match refused {
        Refused::Ended(EndCause::Lifetime | EndCause::Idle) => Denial::SessionExpired,
        Refused::Ended(EndCause::Replaced) => Denial::SessionReplaced,
        Refused::Ended(
            EndCause::Logout
            | EndCause::InvalidGrant
            | EndCause::Rollback
            | EndCause::IdTokenMismatch
            | EndCause::Operator,
        ) => Denial::SessionEnded,
        Refused::RolledBack => Denial::RolledBack,
        Refused::NoRefreshToken => Denial::NoRefreshToken,
        Refused::RefreshNotAllowed => Denial::RefreshNotAllowed,
        Refused::LoginRequired(code) => Denial::LoginRequired(code),
        Refused::RefreshUnknown => Denial::RefreshUnknown,
        Refused::StoreUnavailable(retry_after) => Denial::StoreUnavailable { retry_after },
        Refused::Unavailable(retry_after) => Denial::ProviderUnavailable { retry_after },
    }
}

fn deny(denial: Denial, head: &RequestHead<'_>) -> Verdict {
    Verdict::Deny(Refusal { denial, answer: answer_kind(head), cookies: Vec::new() })
}

/// What kind of answer the client can use: `Sec-Fetch-Mode` first, `Accept` where it is missing (DESIGN §7).
pub fn answer_kind(head: &RequestHead<'_>) -> AnswerKind {
    let headers = &head.parts.headers;
    let reads = matches!(head.parts.method, Method::GET | Method::HEAD);
    let navigates = match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => accepts_html(headers),
    };
    if reads && navigates && !csrf::is_websocket(headers) { AnswerKind::Page } else { AnswerKind::Problem }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            range.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
        })
}

const TWIN: &str = "it differs from a protected path in letter case, or in a slash at its end, alone";

fn is_preflight(head: &RequestHead<'_>) -> bool {
    let headers = &head.parts.headers;
    head.parts.method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

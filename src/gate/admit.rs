//! The way of a request through the gate: route, policy, session, verdict.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method};

use super::denial::{CookieFate, Denial};
use super::forward::identity_headers;
use super::head::RequestHead;
use super::policy::cors::{self, Cors, Grant};
use super::policy::csrf::{self, Origins};
use super::route::host::host_of;
use super::route::path;
use super::route::table::{Match, Reason, Table};
use super::settings::{Auth, RefreshOn, Route, UpstreamId};
use super::verdict::{
    AnswerKind, CookieEdit, Endpoint, EndpointCall, ForwardPlan, Preflight, Refusal, Verdict,
};
use crate::session::cookie::jar::{Jar, Others};
use crate::session::refresh::record::{Ask, EndCause, Refused};
use crate::session::sessions::{Admitted, Sessions};
use crate::session::ticket::Ticket;

/// Decides about every request.
#[derive(Debug)]
pub struct Gate {
    table: Table,
    origins: Origins,
    cors: Option<Arc<Cors>>,
    pub(super) sessions: Sessions,
}

/// Why a request is served as it is.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// What each route has to do with it, or why its path is refused.
    pub routes: Result<Vec<(&'a Arc<Route>, Reason)>, Denial>,
    /// Whether it may carry our cookie, for all that is known of the page that sent it.
    pub site: Result<(), Denial>,
}

impl<'a> Explanation<'a> {
    /// The route that serves it.
    pub fn serving(&self) -> Option<&'a Arc<Route>> {
        let mut routes = self.routes.iter().flatten();
        routes.find(|(_, reason)| *reason == Reason::Serves).map(|(route, _)| *route)
    }
}

/// What serves a request.
enum Served<'a> {
    Route(&'a Arc<Route>),
    Endpoint(Endpoint),
}

impl Gate {
    /// A gate over a route table and the sessions. `cors` is for our own endpoints; routes have their own.
    pub fn new(table: Table, origins: Origins, cors: Option<Arc<Cors>>, sessions: Sessions) -> Self {
        Self { table, origins, cors, sessions }
    }

    /// The verdict about a request. Waits only where nothing but a refresh under way can help.
    pub async fn admit(&self, head: &RequestHead<'_>) -> Verdict {
        if let Some(verdict) = self.preflight(head) {
            return verdict;
        }
        match self.served(head, &head.parts.method) {
            Ok(Served::Route(route)) => self.forward(Arc::clone(route), head).await,
            Ok(Served::Endpoint(endpoint)) => self.call(endpoint, head).await,
            Err(denial) => deny(denial, head, granted(self.cors.as_ref(), head)),
        }
    }

    /// Where a request would go, were it admitted; `None` where no route serves it. Asks nothing of a session.
    pub fn destination(&self, head: &RequestHead<'_>) -> Option<UpstreamId> {
        match self.served(head, &head.parts.method) {
            Ok(Served::Route(route)) => Some(route.upstream),
            Ok(Served::Endpoint(_)) | Err(_) => None,
        }
    }

    /// Why a request is served as it is, for people who ask: what each route has to do with it, and whether another site
    /// caused it. Nothing is decided here that [`Self::admit`] does not decide in the same way.
    pub fn explain(&self, head: &RequestHead<'_>) -> Explanation<'_> {
        let routes = path::judge(head.target).map(|target| {
            self.table.reasons(host_of(head.parts).as_deref(), target.path, &head.parts.method)
        });
        let mut explanation = Explanation { routes, site: Ok(()) };
        let cors = explanation.serving().map_or(self.cors.as_ref(), |route| route.cors.as_ref());
        explanation.site = self.judge(head, granted(cors, head).as_ref());
        explanation
    }

    /// The `Set-Cookie` values of a response, decided when its head is written (rule 4).
    pub fn response_cookies(&self, ticket: &Ticket) -> Vec<HeaderValue> {
        self.sessions.cookies_due(ticket)
    }

    /// Whether a cookie name is ours: an upstream must not set it (std:94).
    pub fn is_own_cookie(&self, name: &str) -> bool {
        self.sessions.names().is_ours(name.as_bytes())
    }

    fn served(&self, head: &RequestHead<'_>, method: &Method) -> Result<Served<'_>, Denial> {
        let target = path::judge(head.target)?;
        match self.table.find(host_of(head.parts).as_deref(), target.path, method) {
            Match::Route(route) => Ok(Served::Route(route)),
            Match::Endpoint(endpoint) => Ok(Served::Endpoint(endpoint)),
            Match::MethodNotAllowed(methods) => Err(Denial::MethodNotAllowed(methods)),
            Match::Nothing => Err(Denial::NoRoute),
            Match::HostNotServed => Err(Denial::HostNotServed),
            Match::Twin => Err(Denial::AmbiguousPath(TWIN)),
        }
    }

    /// The answer to a preflight, for which neither a session nor an upstream is asked (std:105). `None` where the
    /// request is none, or where the upstream speaks for itself.
    fn preflight(&self, head: &RequestHead<'_>) -> Option<Verdict> {
        let method = cors::preflight(&head.parts.method, &head.parts.headers)?;
        let (cors, methods) = match self.served(head, &method) {
            Ok(Served::Route(route)) if cors::speaks_for(route) => {
                (route.cors.as_ref(), route.methods.clone())
            }
            Ok(Served::Endpoint(endpoint)) if endpoint.is_guarded() => (self.cors.as_ref(), vec![method]),
            Ok(Served::Route(_) | Served::Endpoint(_)) | Err(_) => return None,
        };
        Some(match granted(cors, head) {
            Some(grant) => Verdict::Preflight(Preflight { grant, methods }),
            None => deny(Denial::PreflightRefused, head, None),
        })
    }

    async fn forward(&self, route: Arc<Route>, head: &RequestHead<'_>) -> Verdict {
        let headers = &head.parts.headers;
        let jar = Jar::read(headers, self.sessions.names());
        let cookies = match jar.others(headers, self.sessions.names()) {
            Others::Untouched => CookieEdit::Keep,
            Others::Nothing => CookieEdit::Remove,
            Others::Joined(line) => CookieEdit::Replace(line),
        };
        let cors = granted(route.cors.as_ref(), head);
        if route.auth == Auth::None {
            return Verdict::Forward(ForwardPlan {
                set: identity_headers(&route, None),
                route,
                cookies,
                authorization: None,
                session: None,
                cors,
            });
        }
        // Policy before any session work.
        if let Err(denial) = self.judge(head, cors.as_ref()) {
            return deny(denial, head, cors);
        }
        // Rule 8: a refresh only where the response can carry the cookie.
        let ask = match route.refresh {
            RefreshOn::Never => Ask::NoRefresh,
            RefreshOn::Requests => Ask::Usual,
        };
        match self.session(&jar, ask, head).await {
            Err(refusal) => Verdict::Deny(Refusal { cors, ..refusal }),
            Ok(ticket) => Verdict::Forward(ForwardPlan {
                authorization: Some(ticket.session.tokens.bearer.clone()),
                set: identity_headers(&route, Some(&ticket.session)),
                route,
                cookies,
                session: Some(ticket),
                cors,
            }),
        }
    }

    async fn call(&self, endpoint: Endpoint, head: &RequestHead<'_>) -> Verdict {
        let cors = granted(self.cors.as_ref(), head).filter(|_| endpoint.is_guarded());
        if endpoint.is_guarded()
            && let Err(denial) = self.judge(head, cors.as_ref())
        {
            return deny(denial, head, cors);
        }
        let ask = match endpoint {
            Endpoint::Session | Endpoint::UserInfo => Ask::Usual,
            Endpoint::SessionRefresh => Ask::RefreshNow,
            Endpoint::Login | Endpoint::Callback | Endpoint::Logout | Endpoint::LoggedOut => {
                return Verdict::Endpoint(EndpointCall { endpoint, session: None, cors });
            }
        };
        let jar = Jar::read(&head.parts.headers, self.sessions.names());
        match self.session(&jar, ask, head).await {
            Ok(ticket) => Verdict::Endpoint(EndpointCall { endpoint, session: Some(ticket), cors }),
            // These endpoints speak JSON, whoever asks.
            Err(refusal) => Verdict::Deny(Refusal { answer: AnswerKind::Problem, cors, ..refusal }),
        }
    }

    /// Whether another site caused a request. A page that may read the answers of its requests is one of ours.
    fn judge(&self, head: &RequestHead<'_>, cors: Option<&Grant>) -> Result<(), Denial> {
        if cors.is_some_and(Grant::includes_credentials) {
            return Ok(());
        }
        csrf::judge(&head.parts.method, &head.parts.headers, &self.origins)
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
                    cors: None,
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
        Err(Refusal { denial, answer, cookies, cors: None })
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

fn deny(denial: Denial, head: &RequestHead<'_>, cors: Option<Grant>) -> Verdict {
    Verdict::Deny(Refusal { denial, answer: answer_kind(head), cookies: Vec::new(), cors })
}

fn granted(cors: Option<&Arc<Cors>>, head: &RequestHead<'_>) -> Option<Grant> {
    cors?.grant(&head.parts.headers)
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

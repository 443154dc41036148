//! What the gate decided, in the words that `edge` and `bff` apply.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::denial::Denial;
use super::policy::cors::Grant;
use super::settings::Route;
use crate::session::ticket::Ticket;

/// The decision about one request.
#[derive(Debug)]
pub enum Verdict {
    /// Goes to an upstream.
    Forward(ForwardPlan),
    /// Is answered by an endpoint of ours.
    Endpoint(EndpointCall),
    /// Is a preflight, and answered by us (std:105).
    Preflight(Preflight),
    /// Is refused.
    Deny(Refusal),
}

/// Everything that forwarding needs to know; later phases read it and decide nothing.
#[derive(Debug)]
pub struct ForwardPlan {
    /// The route that matched.
    pub route: Arc<Route>,
    /// What becomes of the `Cookie` header fields.
    pub cookies: CookieEdit,
    /// The `Authorization` to send; `None` removes what the client sent, unless the route has no authentication.
    pub authorization: Option<HeaderValue>,
    /// Header fields to set after hop-by-hop fields were removed; `None` only drops what the client sent.
    pub set: Vec<(HeaderName, Option<HeaderValue>)>,
    /// The session behind the request: what the response head needs to decide `Set-Cookie`.
    pub session: Option<Ticket>,
    /// That a page of another origin may read the response.
    pub cors: Option<Grant>,
}

/// A preflight that is granted (Fetch §3.3.3).
#[derive(Debug)]
pub struct Preflight {
    /// What is granted.
    pub grant: Grant,
    /// The methods served; empty for all.
    pub methods: Vec<Method>,
}

impl ForwardPlan {
    /// A number that all requests of the session share; `None` where there is none. It is random already.
    pub fn affinity(&self) -> Option<u64> {
        let [a, b, c, d, e, f, g, h, ..] = *self.session.as_ref()?.session.sid.as_bytes();
        Some(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// What becomes of the request's `Cookie` header fields before the upstream sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CookieEdit {
    /// None of ours among them, and one line at most: leave them.
    Keep,
    /// Only ours: remove the field.
    Remove,
    /// The others, joined into one line.
    Replace(HeaderValue),
}

/// A call of one of our endpoints.
#[derive(Debug)]
pub struct EndpointCall {
    /// Which one.
    pub endpoint: Endpoint,
    /// The session, for endpoints that need one.
    pub session: Option<Ticket>,
    /// That a page of another origin may read the answer.
    pub cors: Option<Grant>,
}

/// The endpoints under the base path (`/oauth2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET login` (alias `start`)
    Login,
    /// `GET callback`
    Callback,
    /// `POST logout` (alias `sign_out`)
    Logout,
    /// `GET logout/callback`: where the provider sends the browser after its logout.
    LoggedOut,
    /// `GET session`
    Session,
    /// `POST session/refresh`
    SessionRefresh,
    /// `GET userinfo`
    UserInfo,
}

/// A refusal, and what is known of the request that decides the form of the answer.
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub denial: Denial,
    /// What kind of answer the client can use.
    pub answer: AnswerKind,
    /// Cookies to set or delete with the answer.
    pub cookies: Vec<HeaderValue>,
    /// That a page of another origin may read the answer.
    pub cors: Option<Grant>,
}

/// The kind of answer that a client can make use of (DESIGN §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// A top-level navigation: a redirect to login, or a page.
    Page,
    /// `fetch`, XHR, other programs: a problem document.
    Problem,
}

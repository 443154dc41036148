//! Every reason to refuse a request, and what each does to the world.
//!
//! [`Denial::effects`] is the only place that turns a reason into a status, a label and the fate of the cookie.

use std::time::Duration;

use http::{Method, StatusCode};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// No route serves this host and path (std:124).
    NoRoute,
    /// No route serves the host (std:116).
    HostNotServed,
    /// A route serves the path, but not with this method.
    MethodNotAllowed(Vec<Method>),
    /// The path can be read in two ways (std:122).
    AmbiguousPath(&'static str),
    /// The request could not be understood: framing, `Host`, header fields.
    BadRequest(&'static str),
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The cookies are larger or more than the limit.
    CookiesTooLarge,
    /// The request target is longer than the limit.
    UriTooLong,
    /// The body is larger than its route or an endpoint of ours takes.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The client expects something that nobody here can promise (RFC 9110 §10.1.1).
    ExpectationFailed,
    /// There is no session cookie, or none that opens.
    NoSession,
    /// The session was ended.
    SessionEnded,
    /// The session reached its lifetime or was idle for too long.
    SessionExpired,
    /// The browser logged in again meanwhile: it has a newer cookie, which must not be deleted.
    SessionReplaced,
    /// A superseded cookie came back after its grace; the policy keeps the session.
    RolledBack,
    /// The access token ran out and there is no refresh token.
    NoRefreshToken,
    /// The provider refused to refresh for a reason that a login can mend; the OAuth error code.
    LoginRequired(String),
    /// A refresh was sent and never answered, twice: only a login helps.
    RefreshUnknown,
    /// The access token ran out, and this request may not cause a refresh.
    RefreshNotAllowed,
    /// The provider cannot be reached or is unwell; the cookie stays.
    ProviderUnavailable {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// What replicas share cannot be reached, and going on without it might lose the session; the cookie stays.
    StoreUnavailable {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// A request that another site caused (std:100).
    CrossSite,
    /// A WebSocket handshake from an origin that is not allowed (std:165).
    OriginNotAllowed,
    /// A preflight from an origin that may not read the answers (std:105).
    PreflightRefused,
    /// The upstream could not be reached or broke the connection.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// Every endpoint of the upstream has as many requests as it may have.
    UpstreamBusy,
    /// No endpoint of the upstream is good, and none could be connected to.
    UpstreamDown {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// The request went through this gateway before (std:112).
    Loop,
    /// The request belongs on a connection that was made for its own host (std:116).
    Misdirected,
}

/// What a denial does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effects {
    /// The status of the answer.
    pub status: StatusCode,
    /// The reason code in logs, metrics and problem documents.
    pub label: &'static str,
    /// What becomes of the session cookie.
    pub cookie: CookieFate,
    /// What the user can do.
    pub remedy: Remedy,
}

/// What becomes of the session cookie. It is deleted only for a session that was ended (rule 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieFate {
    /// It stays.
    Keep,
    /// It is deleted.
    Delete,
}

/// What a user can do about a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Log in: a navigation is sent there at once.
    Login,
    /// Log in, after reading why: sent there at once, a refusal at the provider would become a loop.
    LoginByHand,
    /// Try again later.
    Retry,
    /// Nothing: the request itself is at fault.
    Nothing,
}

impl Denial {
    /// What this denial does. Exhaustive on purpose: a new reason must choose.
    pub const fn effects(&self) -> Effects {
        use CookieFate::{Delete, Keep};
        use Remedy::{Login, LoginByHand, Nothing, Retry};
        let (status, label, cookie, remedy) = match self {
            Self::NoRoute => (StatusCode::NOT_FOUND, "no_route", Keep, Nothing),
            // RFC 9110 §15.5.20
            Self::HostNotServed => (StatusCode::MISDIRECTED_REQUEST, "host_not_served", Keep, Nothing),
            Self::MethodNotAllowed(_) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", Keep, Nothing)
            }
            Self::AmbiguousPath(_) => (StatusCode::BAD_REQUEST, "ambiguous_path", Keep, Nothing),
            Self::BadRequest(_) => (StatusCode::BAD_REQUEST, "bad_request", Keep, Nothing),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", Keep, Nothing)
            }
            Self::CookiesTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "cookies_too_large", Keep, Nothing)
            }
            Self::UriTooLong => (StatusCode::URI_TOO_LONG, "uri_too_long", Keep, Nothing),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", Keep, Nothing),
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout", Keep, Retry),
            Self::ExpectationFailed => (StatusCode::EXPECTATION_FAILED, "expectation_failed", Keep, Nothing),
            Self::NoSession => (StatusCode::UNAUTHORIZED, "no_session", Keep, Login),
            Self::SessionEnded => (StatusCode::UNAUTHORIZED, "session_ended", Delete, Login),
            Self::SessionExpired => (StatusCode::UNAUTHORIZED, "session_expired", Delete, Login),
            Self::SessionReplaced => (StatusCode::UNAUTHORIZED, "session_replaced", Keep, Login),
            Self::RolledBack => (StatusCode::UNAUTHORIZED, "rolled_back", Keep, Login),
            Self::NoRefreshToken => (StatusCode::UNAUTHORIZED, "no_refresh_token", Keep, Login),
            Self::LoginRequired(_) => (StatusCode::UNAUTHORIZED, "login_required", Keep, LoginByHand),
            Self::RefreshUnknown => (StatusCode::UNAUTHORIZED, "refresh_unknown", Keep, Login),
            Self::RefreshNotAllowed => (StatusCode::UNAUTHORIZED, "refresh_not_allowed", Keep, Login),
            Self::ProviderUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable", Keep, Retry)
            }
            Self::StoreUnavailable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", Keep, Retry)
            }
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross_site", Keep, Nothing),
            Self::OriginNotAllowed => (StatusCode::FORBIDDEN, "origin_not_allowed", Keep, Nothing),
            Self::PreflightRefused => (StatusCode::FORBIDDEN, "preflight_refused", Keep, Nothing),
            Self::UpstreamUnreachable => (StatusCode::BAD_GATEWAY, "upstream_unreachable", Keep, Retry),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", Keep, Retry),
            Self::UpstreamDown { .. } => (StatusCode::SERVICE_UNAVAILABLE, "upstream_down", Keep, Retry),
            Self::UpstreamBusy => (StatusCode::SERVICE_UNAVAILABLE, "upstream_busy", Keep, Retry),
            Self::Loop => (StatusCode::LOOP_DETECTED, "loop", Keep, Nothing),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected", Keep, Nothing),
        };
        Effects { status, label, cookie, remedy }
    }
}

//! What one request carries through pingora's phases.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ALLOW, HOST, MAX_FORWARDS};
use http::{HeaderValue, Method, StatusCode};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use crate::edge::access::Record;
use crate::edge::live::Live;
use crate::edge::metrics::FORWARDED;
use crate::gate::admit::answer_kind;
use crate::gate::denial::Denial;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::verdict::{ForwardPlan, Refusal, Verdict};

/// One request.
pub(in crate::edge) struct Call {
    /// What it is served by, whatever a reload does meanwhile.
    pub(super) live: Arc<Live>,
    pub(super) id: RequestId,
    pub(super) started: Instant,
    /// The plan, where the request is forwarded.
    pub(super) plan: Option<ForwardPlan>,
    /// The status that was answered; 0 where nothing was.
    pub(super) status: u16,
    /// What became of it, for the record and the counters.
    pub(super) outcome: &'static str,
    /// Which of the upstream's addresses is tried first.
    pub(super) turn: Option<usize>,
    /// Attempts to connect that failed.
    pub(super) attempts: u8,
}

impl Call {
    pub(super) fn new(live: Arc<Live>, id: RequestId) -> Self {
        let started = Instant::now();
        Self { live, id, started, plan: None, status: 0, outcome: FORWARDED, turn: None, attempts: 0 }
    }

    pub(super) async fn ask(&self, session: &Session) -> Verdict {
        self.live.gate.admit(&head(session, self.id)).await
    }

    /// The answer to a request that the edge itself refuses. A session that was refreshed on the way keeps its new
    /// cookie: a fault of an upstream must not lose it.
    pub(super) fn refusal(&mut self, session: &Session, denial: Denial) -> http::Response<Bytes> {
        self.outcome = denial.effects().label;
        let ticket = self.plan.as_ref().and_then(|plan| plan.session.as_ref());
        let cookies = ticket.map(|ticket| self.live.gate.response_cookies(ticket)).unwrap_or_default();
        let head = head(session, self.id);
        let refusal = Refusal { denial, answer: answer_kind(&head), cookies };
        self.live.bff.refuse(&refusal, &head)
    }

    /// The scheme that the browser used: that of the public origin where the request is for it, since TLS may end
    /// before us; otherwise that of the connection. No header is asked (std:110).
    pub(super) fn scheme(&self, session: &Session) -> &'static str {
        let public = &self.live.public_url;
        let request = session.req_header();
        let authority = match request.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => request.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default(),
        };
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let for_public = authority.eq_ignore_ascii_case(public.authority().as_bytes());
        if tls || (for_public && public.scheme() == "https") { "https" } else { "http" }
    }

    /// Tells operators why a request could not be forwarded.
    pub(super) fn report(&mut self, error: &Error, denial: Option<&Denial>) {
        let upstream = self.plan.as_ref().map(|plan| self.live.upstreams.name(plan.route.upstream));
        if let Some(denial) = denial {
            self.outcome = denial.effects().label;
        } else {
            self.outcome = "client_gone";
        }
        if matches!(error.esource(), ErrorSource::Downstream) {
            tracing::debug!(request_id = %self.id, kind = error.etype().as_str(), "a client broke off");
        } else {
            tracing::warn!(
                request_id = %self.id,
                upstream,
                kind = error.root_etype().as_str(),
                outcome = self.outcome,
                "a request could not be forwarded"
            );
        }
    }

    pub(super) fn record<'a>(&'a self, session: &'a Session) -> Record<'a> {
        let request = session.req_header();
        let route = self.plan.as_ref().map(|plan| &plan.route);
        Record {
            method: &request.method,
            path: request.uri.path(),
            route: route.map_or("", |route| route.name.as_str()),
            upstream: route.map_or("", |route| self.live.upstreams.name(route.upstream)),
            status: self.status,
            outcome: self.outcome,
            request_id: self.id,
            started: self.started,
        }
    }
}

/// The head as the gate is told it.
pub(super) fn head(session: &Session, request_id: RequestId) -> RequestHead<'_> {
    let request = session.req_header();
    RequestHead { parts: request, target: request.raw_path(), peer: peer(session), request_id }
}

/// The other end of the connection.
pub(super) fn peer(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}

/// RFC 9110 §7.6.2, §9.3.7: `OPTIONS` about the server itself, or not to be forwarded any further. std:120
pub(super) fn is_for_us(request: &RequestHeader) -> bool {
    request.method == Method::OPTIONS
        && (request.raw_path() == b"*"
            || request.headers.get(MAX_FORWARDS).is_some_and(|left| left.as_bytes() == b"0"))
}

/// The answer to it.
pub(super) fn options() -> http::Response<Bytes> {
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

/// What a failure means to the client; `None` where there is no client left.
pub(super) fn denial_of(error: &Error) -> Option<Denial> {
    let timeout = matches!(
        error.root_etype(),
        ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout
    );
    match error.esource() {
        ErrorSource::Downstream if timeout => Some(Denial::BadRequest("the body did not arrive in time")),
        ErrorSource::Downstream
            if matches!(
                error.etype(),
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed
            ) =>
        {
            None
        }
        ErrorSource::Downstream => Some(Denial::BadRequest("the request cannot be forwarded")),
        ErrorSource::Upstream if timeout => Some(Denial::UpstreamTimeout),
        ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset => {
            Some(Denial::UpstreamUnreachable)
        }
    }
}

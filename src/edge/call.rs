//! What one request carries from its head to its record, whichever path it takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};

use super::access::{self, Record};
use super::hops::{self, From};
use super::live::Live;
use super::metrics::FORWARDED;
use super::upstream::{Attempts, Seat};
use crate::gate::admit::answer_kind;
use crate::gate::denial::Denial;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::verdict::{ForwardPlan, Preflight, Refusal};

/// One request.
pub(super) struct Call {
    /// What it is served by, whatever a reload does meanwhile.
    pub(super) live: Arc<Live>,
    pub(super) id: RequestId,
    /// Where it comes from.
    pub(super) from: From,
    started: Instant,
    /// The plan, where the request is forwarded.
    pub(super) plan: Option<ForwardPlan>,
    /// The status that was answered; 0 where nothing was.
    pub(super) status: u16,
    /// What became of it, for the record and the counters.
    pub(super) outcome: &'static str,
    /// Where it goes, attempt by attempt.
    attempts: Attempts,
}

/// What a client's connection is secured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    Plain,
    Tls,
}

/// Who failed a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    Client,
    Upstream,
}

impl Call {
    pub(super) fn new(live: Arc<Live>, id: RequestId) -> Self {
        let (from, started) = (From { address: None, scheme: None }, Instant::now());
        Self {
            live,
            id,
            from,
            started,
            plan: None,
            status: 0,
            outcome: FORWARDED,
            attempts: Attempts::default(),
        }
    }

    /// Finds out where it comes from, before anything else is asked of it.
    pub(super) fn meet(&mut self, peer: Option<IpAddr>, headers: &HeaderMap) {
        self.from = hops::find(peer, headers, &self.live.forwarding);
    }

    /// The answer to a request that the edge itself refuses. A session that was refreshed on the way keeps its new
    /// cookie: a fault of an upstream must not lose it.
    pub(super) fn refusal(&mut self, head: &RequestHead<'_>, denial: Denial) -> Response<Bytes> {
        self.outcome = denial.effects().label;
        let ticket = self.plan.as_ref().and_then(|plan| plan.session.as_ref());
        let cookies = ticket.map(|ticket| self.live.gate.response_cookies(ticket)).unwrap_or_default();
        let cors = self.plan.as_ref().and_then(|plan| plan.cors.clone());
        self.live.bff.refuse(&Refusal { denial, answer: answer_kind(head), cookies, cors }, head)
    }

    /// The answer to a request that the gate refused.
    pub(super) fn denied(&mut self, head: &RequestHead<'_>, refusal: &Refusal) -> Response<Bytes> {
        self.outcome = refusal.denial.effects().label;
        self.live.bff.refuse(refusal, head)
    }

    /// The answer to a preflight.
    pub(super) fn preflight(&mut self, preflight: &Preflight) -> Response<Bytes> {
        self.outcome = "preflight";
        self.live.bff.preflight(preflight)
    }

    /// The scheme that the browser used: what a trusted proxy said; else that of the public origin where the request
    /// is for it, since TLS may end before us; else that of the connection. Nobody else is asked (std:110).
    pub(super) fn scheme(&self, request: &Parts, link: Link) -> &'static str {
        if let Some(scheme) = self.from.scheme {
            return scheme;
        }
        let public = &self.live.public_url;
        let authority = match request.uri.authority() {
            Some(authority) => authority.as_str().as_bytes(),
            None => request.headers.get(HOST).map(HeaderValue::as_bytes).unwrap_or_default(),
        };
        let for_public = authority.eq_ignore_ascii_case(public.authority().as_bytes());
        if link == Link::Tls || (for_public && public.scheme() == "https") { "https" } else { "http" }
    }

    /// The seat at an endpoint that the attempt under way has, or a new one gets. `peer` is who asks.
    pub(super) fn seat(&mut self, peer: Option<IpAddr>) -> Option<&mut Seat> {
        let plan = self.plan.as_ref()?;
        let key = || plan.affinity().or(peer.map(number)).unwrap_or_default();
        self.live.upstreams.seat(plan.route.upstream, &mut self.attempts, key)
    }

    /// Counts an attempt to connect that failed, and says whether another may follow.
    pub(super) fn may_try_another(&mut self) -> bool {
        let Some(plan) = &self.plan else { return false };
        self.live.upstreams.may_try_another(plan.route.upstream, &mut self.attempts)
    }

    /// Tells operators why a request could not be forwarded.
    pub(super) fn report(&mut self, blame: Blame, kind: &str, denial: Option<&Denial>) {
        let upstream = self.plan.as_ref().map(|plan| self.live.upstreams.name(plan.route.upstream));
        self.outcome = denial.map_or("client_gone", |denial| denial.effects().label);
        match blame {
            Blame::Client => tracing::debug!(request_id = %self.id, kind, "a client broke off"),
            Blame::Upstream => tracing::warn!(
                request_id = %self.id,
                upstream,
                kind,
                outcome = self.outcome,
                "a request could not be forwarded"
            ),
        }
    }

    /// Counts the request and writes its record.
    pub(super) fn finish(&self, request: &Parts) {
        self.live.metrics.observe(self.status, self.outcome, self.started.elapsed());
        if access::enabled() {
            access::write(&self.record(request));
        }
    }

    fn record<'a>(&'a self, request: &'a Parts) -> Record<'a> {
        let route = self.plan.as_ref().map(|plan| &plan.route);
        Record {
            method: &request.method,
            path: request.uri.path(),
            client: self.from.address,
            route: route.map_or("", |route| route.name.as_str()),
            upstream: route.map_or("", |route| self.live.upstreams.name(route.upstream)),
            status: self.status,
            outcome: self.outcome,
            request_id: self.id,
            started: self.started,
        }
    }
}

/// A number that all connections of a client share: its network, where that has addresses to waste.
fn number(peer: IpAddr) -> u64 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        // RFC 8981: the other half changes from day to day.
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

//! What one request carries from its head to its record, whichever path it takes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use pingora::protocols::Digest;

use super::access::{self, Record};
use super::hops::{self, From};
use super::intake::Intake;
use super::live::Live;
use super::metrics::FORWARDED;
use super::streams::{Hold, Streams};
use super::upstream::{Attempts, NoSeat, Seat, Upstreams};
use super::websocket::Frames;
use crate::gate::admit::answer_kind;
use crate::gate::denial::Denial;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::stream::StreamEnd;
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
    /// What came of its body.
    pub(super) intake: Intake,
    /// Where pingora serves it: what may end it, and what its record then says.
    held: Option<(Hold, Line)>,
}

/// What a record says of a request that was cut, when nobody has its head any more.
struct Line {
    method: Method,
    uri: Uri,
    /// The status that was answered by then; 0 where nothing was.
    begun: u16,
    /// Where a WebSocket's frames are.
    frames: Option<Frames>,
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

/// The outcome of a request that its client gave up.
pub(super) const CLIENT_GONE: &str = "client_gone";

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
            held: None,
            intake: Intake::default(),
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

    /// The seat at an endpoint that the attempt under way has, or a new one gets.
    pub(super) async fn seat(&mut self) -> Result<&mut Seat, NoSeat> {
        let plan = self.plan.as_ref().ok_or(NoSeat::Nowhere)?;
        let key = || plan.affinity().or(self.from.address.map(number)).unwrap_or_default();
        self.live.upstreams.seat(plan.route.upstream, &mut self.attempts, key).await
    }

    /// Whether a connection is as safe as the endpoint's must be.
    pub(super) fn takes(&self, digest: Option<&Digest>) -> bool {
        self.attempts.seat().is_none_or(|seat| seat.takes(digest))
    }

    /// Counts an attempt whose connection died before a byte of the response, and says whether another may follow,
    /// where the request may be repeated at all.
    pub(super) fn may_repeat(&mut self) -> bool {
        let Some(plan) = &self.plan else { return false };
        self.live.upstreams.may_repeat(plan.route.upstream, &mut self.attempts)
    }

    /// What the endpoint of the attempt under way is told as `Host`; `None` for what the client sent.
    pub(super) fn host(&self) -> Option<&HeaderValue> {
        self.attempts.seat()?.host()
    }

    /// Counts an attempt to connect that failed, and says whether another may follow.
    pub(super) fn may_try_another(&mut self) -> bool {
        let Some(plan) = &self.plan else { return false };
        self.live.upstreams.may_try_another(plan.route.upstream, &mut self.attempts)
    }

    /// Notes that there is a connection to the endpoint.
    pub(super) fn connected(&mut self) {
        Upstreams::connected(&mut self.attempts);
    }

    /// Notes that the endpoint has answered.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(plan) = &self.plan {
            self.live.upstreams.answered(plan.route.upstream, &self.attempts, status);
        }
    }

    /// Notes that the connection to the endpoint broke, or that no answer came in time.
    pub(super) fn broke(&self) {
        if let Some(plan) = &self.plan {
            self.live.upstreams.broke(plan.route.upstream, &self.attempts);
        }
    }

    /// What an upstream's failure means: where nothing was sent, and no endpoint was known to be good, that is known
    /// for longer than this request.
    pub(super) fn known(&self, denial: Denial) -> Denial {
        let fault = matches!(denial, Denial::UpstreamUnreachable | Denial::UpstreamTimeout);
        let plan = self.plan.as_ref().filter(|_| fault);
        let out = plan.and_then(|plan| self.live.upstreams.out_for(plan.route.upstream, &self.attempts));
        out.map_or(denial, |retry_after| Denial::UpstreamDown { retry_after })
    }

    /// Tells operators why a request could not be forwarded.
    pub(super) fn report(&mut self, blame: Blame, kind: &str, denial: Option<&Denial>) {
        let upstream = self.plan.as_ref().map(|plan| self.live.upstreams.name(plan.route.upstream));
        self.outcome = denial.map_or(CLIENT_GONE, |denial| denial.effects().label);
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

    /// Has it looked at while it lasts, where its session may end before its response. Called inside
    /// [`streams::watch`].
    pub(super) fn hold(&mut self, streams: &Arc<Streams>, request: &Parts) {
        let Some(stream) = self.plan.as_ref().and_then(ForwardPlan::stream) else { return };
        let line = Line { method: request.method.clone(), uri: request.uri.clone(), begun: 0, frames: None };
        self.held = streams.hold(self.id, &self.live, stream, self.started).map(|hold| (hold, line));
    }

    /// A response has begun.
    pub(super) fn has_begun(&mut self, status: StatusCode) {
        let begins = !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS;
        if let Some((hold, line)) = self.held.as_mut().filter(|_| begins) {
            line.begun = status.as_u16();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                line.frames = Some(Frames::default());
                hold.wish_farewell();
            }
        }
    }

    /// Bytes of a response pass.
    pub(super) fn passes(&mut self, bytes: &[u8]) {
        if let Some((_, Line { frames: Some(frames), .. })) = &mut self.held {
            frames.pass(bytes);
        }
    }

    /// Whether the request was cut; then what its client is to be told, where it can be.
    pub(super) fn was_cut(&mut self) -> Option<Option<Bytes>> {
        let (hold, line) = self.held.as_ref()?;
        let end = hold.why()?;
        self.outcome = end.label();
        Some(line.frames.as_ref().and_then(|frames| frames.close(end)))
    }

    /// Why a response that goes on must end now, if it must.
    pub(super) async fn must_end(&self) -> Option<StreamEnd> {
        let stream = self.plan.as_ref()?.stream()?;
        self.live.gate.stream_end(&stream, self.started.elapsed()).await
    }

    /// Counts the request and writes its record.
    pub(super) fn finish(&mut self, request: &Parts) {
        self.held = None;
        self.record(&request.method, request.uri.path());
    }

    fn record(&self, method: &Method, path: &str) {
        self.live.metrics.observe(self.status, self.outcome, self.started.elapsed());
        if !access::enabled() {
            return;
        }
        let route = self.plan.as_ref().map(|plan| &plan.route);
        access::write(&Record {
            method,
            path,
            client: self.from.address,
            route: route.map_or("", |route| route.name.as_str()),
            upstream: route.map_or("", |route| self.live.upstreams.name(route.upstream)),
            status: self.status,
            outcome: self.outcome,
            request_id: self.id,
            started: self.started,
        });
    }
}

/// A request that is cut is dropped with all that served it: what is left to do is to tell of it.
impl Drop for Call {
    fn drop(&mut self) {
        let Some((hold, line)) = self.held.take() else { return };
        let Some(end) = hold.why() else { return };
        (self.outcome, self.status) = (end.label(), line.begun);
        self.record(&line.method, line.uri.path());
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

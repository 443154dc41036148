//! One request's way through pingora's phases.
//!
//! Decides nothing. The verdict is computed once, in `request_filter`; every later phase only reads it.

mod endpoint;
pub(super) mod told;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::EXPECT;
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::call::{Blame, CLIENT_GONE, Call};
use super::front::Front;
use super::http2::Ending;
use super::intake::Rules;
use super::request_edit::{self, Origin};
use super::secured::Secured;
use super::settings::{Limits, Settings};
use super::{http2, respond, response_edit};
use crate::gate::denial::Denial;
use crate::gate::policy::csrf;
use crate::gate::route::host::host_of;
use crate::gate::verdict::Verdict;

/// Bearward as pingora sees it.
pub(super) struct Proxy {
    front: Arc<Front>,
    limits: Limits,
}

impl Proxy {
    pub(super) fn new(front: Arc<Front>, settings: &Settings) -> Self {
        Self { front, limits: settings.limits.clone() }
    }

    /// What is refused whatever the gate would say.
    fn screen(&self, session: &Session) -> Option<Denial> {
        let head = session.req_header();
        if let Some(denial) = told::refused(head) {
            return Some(denial);
        }
        // HTTP/1 heads were looked at when they were read; of HTTP/2, the library knows only the total size.
        if head.version == Version::HTTP_2 {
            if !told::is_sound(head) {
                return Some(Denial::BadRequest("host, path or method"));
            }
            if head.raw_path().len() > self.limits.uri_bytes {
                return Some(Denial::UriTooLong);
            }
            if let Some(denial) = told::too_many(&head.headers, &self.limits) {
                return Some(denial);
            }
            if is_misdirected(session) {
                return Some(Denial::Misdirected);
            }
        }
        request_edit::is_loop(&head.headers, &self.front.pseudonym).then_some(Denial::Loop)
    }

    fn set_timeouts(&self, session: &mut Session) {
        // A client may be silent in the middle of a request for as long as between two.
        session.set_read_timeout(Some(self.limits.idle_timeout));
        session.set_write_timeout(Some(self.limits.idle_timeout));
        session.set_total_drain_timeout(Some(DRAIN));
    }

    /// RFC 9112 §9.6: says that the connection ends with this response.
    fn say_goodbye(&self, session: &mut Session) {
        if self.front.is_closing() {
            session.set_keepalive(None);
        }
    }

    /// What is taken of the body of a request that is forwarded.
    fn intake(&self, call: &Call) -> Rules {
        let of_route = call.plan.as_ref().and_then(|plan| plan.route.body_bytes);
        let Limits { body_bytes, body_rate, idle_timeout, .. } = self.limits;
        Rules { most: of_route.or(body_bytes), rate: body_rate, patience: idle_timeout }
    }

    async fn refuse(&self, session: &mut Session, call: &mut Call, denial: Denial) -> pingora::Result<()> {
        let head = session.req_header();
        // A client that waits for its 100 sends nothing more.
        let goes_on = denial == Denial::BodyTooLarge
            && head.version != Version::HTTP_2
            && !head.headers.contains_key(EXPECT);
        let response = call.refusal(&told::head(session, call.id), denial);
        self.say_goodbye(session);
        call.status = respond::write(session, response).await?;
        if goes_on {
            // A close with unread bytes resets the connection, and the reset would overtake the answer (RFC 9112 §9.6).
            // A client that goes on for longer than `DRAIN` may miss it.
            drop(session.drain_request_body().await);
        }
        Ok(())
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Call;

    fn new_ctx(&self) -> Call {
        self.front.begin(self.front.live())
    }

    // pingora adds a compression module otherwise; compressing secrets next to attacker-chosen text is not ours.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, call: &mut Call) -> pingora::Result<bool> {
        self.set_timeouts(session);
        call.meet(told::peer(session), &session.req_header().headers);
        if let Some(denial) = self.screen(session) {
            self.refuse(session, call, denial).await?;
            return Ok(true);
        }
        if told::is_for_us(session.req_header()) {
            self.say_goodbye(session);
            call.outcome = "options";
            call.status = respond::write(session, told::options()).await?;
            return Ok(true);
        }
        match call.live.gate.admit(&told::head(session, call.id)).await {
            Verdict::Forward(plan) => {
                if csrf::is_websocket(&session.req_header().headers) {
                    // Once it is open, both sides may be silent for ever.
                    session.set_read_timeout(None);
                    session.set_write_timeout(None);
                }
                call.plan = Some(plan);
                // Before anything goes upstream. std:183
                if told::length(session).is_some_and(|length| !self.intake(call).allow(length)) {
                    self.refuse(session, call, Denial::BodyTooLarge).await?;
                    return Ok(true);
                }
                call.hold(&self.front.streams, session.req_header());
                return Ok(false);
            }
            Verdict::Endpoint(wanted) => {
                self.say_goodbye(session);
                endpoint::serve(session, call, wanted, self.limits.head_timeout).await?;
            }
            Verdict::Preflight(preflight) => {
                let response = call.preflight(&preflight);
                self.say_goodbye(session);
                call.status = respond::write(session, response).await?;
            }
            Verdict::Deny(refusal) => {
                let response = call.denied(&told::head(session, call.id), &refusal);
                self.say_goodbye(session);
                call.status = respond::write(session, response).await?;
            }
        }
        Ok(true)
    }

    async fn upstream_peer(&self, session: &mut Session, call: &mut Call) -> pingora::Result<Box<HttpPeer>> {
        let seat = call.seat().await.map_err(told::no_seat)?;
        let mut peer = match seat.peer().await {
            Ok(peer) => peer,
            Err(mut error) => {
                error.set_retry(call.may_try_another());
                return Err(error);
            }
        };
        if csrf::is_websocket(&session.req_header().headers) {
            // Both sides of a WebSocket may be silent; only its own pings tell whether anyone is there.
            peer.options.read_timeout = peer.options.read_timeout.map(|silence| silence.max(UPGRADED));
        }
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        call: &mut Call,
    ) -> pingora::Result<()> {
        told::settle_expectation(session, request).await?;
        call.intake.begin(Instant::now());
        let Some(plan) = &call.plan else { return Ok(()) };
        let secured = told::tls(session);
        let origin = Origin {
            client: call.from.address,
            scheme: call.scheme(session.req_header(), told::link(session)),
            version: session.req_header().version,
            pseudonym: &self.front.pseudonym,
            id: call.id,
            told: call.live.forwarding.told,
            client_cert: secured.as_deref().and_then(Secured::of).and_then(Secured::client_cert),
            host: call.host(),
        };
        request_edit::apply(request, plan, &origin)?;
        told::name_host(request, &call.live.public_url)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        piece: &mut Option<Bytes>,
        _: bool,
        call: &mut Call,
    ) -> pingora::Result<()> {
        match piece {
            // What passes after an upgrade is no body.
            Some(piece) if !piece.is_empty() && !session.was_upgraded() => {
                let rules = told::intake(session, self.intake(call));
                call.intake.take(piece.len(), Instant::now(), &rules).map_err(told::error_of)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        call: &mut Call,
    ) -> pingora::Result<()> {
        if !told::is_framed_once(response) {
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, "an unknown transfer coding").into_up());
        }
        // RFC 9110 §15.2.2: of a protocol that nobody asked for, every byte would pass. std:119
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && !csrf::is_websocket(&session.req_header().headers)
        {
            return Err(
                Error::explain(ErrorType::InvalidHTTPHeader, "an upgrade that nobody asked for").into_up()
            );
        }
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
            call.answered(response.status);
        }
        self.say_goodbye(session);
        call.has_begun(response.status);
        match &call.plan {
            Some(plan) => response_edit::apply(response, plan, &call.live),
            None => Ok(()),
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        call: &mut Call,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(call.may_try_another());
        error
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        call: &mut Call,
    ) -> pingora::Result<Option<Duration>> {
        call.passes(body.as_deref().unwrap_or_default());
        Ok(None)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        call: &mut Call,
    ) -> pingora::Result<()> {
        // Nothing was sent yet.
        if !call.takes(digest) {
            let old =
                Error::explain(ErrorType::TLSHandshakeFailure, "an older version of TLS than is allowed");
            return Err(old.into_up());
        }
        call.connected();
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        call: &mut Call,
        reused: bool,
    ) -> Box<Error> {
        // RFC 9110 §9.2.2, RFC 9112 §9.3.1, RFC 9113 §8.7: an idle connection may have been closed just then, or its
        // end was announced. Nothing came back, and what has no body to send may be repeated where that does nothing
        // twice. pingora would send a body again, too. std:127
        error.retry.decide_reuse(reused);
        let repeatable = session.req_header().method.is_idempotent() && session.is_body_empty();
        let untouched = session.response_written().is_none() && told::nothing_came(&error);
        let again = error.retry() && repeatable && untouched && call.may_repeat();
        error.set_retry(again);
        // One that waits for a client's body is not to blame.
        let blame = told::blame_of(session, &error);
        if !again && blame == Blame::Upstream && told::is_the_endpoints(&error) {
            call.broke();
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, call: &mut Call) -> FailToProxy {
        if let Some(farewell) = call.was_cut() {
            if let Some(farewell) = farewell {
                told::farewell(session, farewell).await;
            }
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let (denial, blame) = (told::denial_of(session, error), told::blame_of(session, error));
        let denial = denial.map(|denial| call.known(denial));
        call.report(blame, error.root_etype().as_str(), denial.as_ref());
        // Part of a response went out already: all that is left is to end it short.
        let begun = session.response_written().is_some_and(|written| {
            !written.status.is_informational() || written.status == StatusCode::SWITCHING_PROTOCOLS
        });
        if begun && blame == Blame::Upstream {
            told::broken(session);
        }
        let denial = denial.filter(|_| !begun);
        if let Some(denial) = denial
            && self.refuse(session, call, denial).await.is_err()
        {
            call.status = 0;
        }
        FailToProxy { error_code: call.status, can_reuse_downstream: false }
    }

    // `report` has written it, without what the peer said.
    fn suppress_error_log(&self, _: &Session, _: &Call, _: &Error) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, call: &mut Call) {
        if let Some(written) = session.response_written() {
            call.status = written.status.as_u16();
        }
        http2::count(if call.outcome == CLIENT_GONE { Ending::Broken } else { Ending::Whole });
        call.finish(session.req_header());
    }
}

/// RFC 9113 §9.1.1: a client may send a request on a connection to another name, where it believes that the certificate
/// covers both. One that errs would be served under the terms of the wrong name. std:116
fn is_misdirected(session: &Session) -> bool {
    let tls = told::tls(session);
    let secured = tls.as_deref().and_then(Secured::of);
    secured.is_some_and(|secured| {
        host_of(session.req_header()).is_some_and(|host| secured.is_misdirected(&host))
    })
}

// How long the rest of a request's body is taken after its response, to keep the connection.
const DRAIN: Duration = Duration::from_secs(5);
const UPGRADED: Duration = Duration::from_secs(3600);

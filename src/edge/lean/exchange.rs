//! One ordinary request from its verdict to the last byte of its response.
//!
//! ```text
//! gate ─▶ forward ─▶ ask: connect, send, read the head ─▶ pass on: edit, head, body
//!   └──▶ answer of ours            └── died before a byte came: once more, on a fresh connection
//! ```
//!
//! Of an exchange under way nothing can be handed to pingora: a failure is answered here, or cuts the connection.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use tokio::time::{Duration, Instant, timeout};

use super::body::{Body, Step};
use super::client::{Client, Waited};
use super::failure::Failure;
use super::peer::{Age, Answer, Peer};
use super::response::{self, Framing, Persistence, ResponseHead};
use super::wire::Wire;
use super::{After, Origin, request, target, write};
use crate::edge::call::{Blame, Call};
use crate::edge::deadline::Wait;
use crate::edge::head_scan::{Ordinary, Wish};
use crate::edge::streams::LOOK;
use crate::edge::upstream::{NoSeat, Plain};
use crate::edge::worker::{Worker, phase};
use crate::edge::{buffers, request_edit, respond, response_edit};
use crate::gate::denial::Denial;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::settings::UpstreamId;
use crate::gate::verdict::Verdict;

/// A request and both its sides.
pub(super) struct Exchange<'a> {
    pub(super) worker: &'a Worker,
    pub(super) client: Client<'a>,
    pub(super) call: Call,
    pub(super) asked: Asked<'a>,
    /// When it was last seen to that the exchange may go on.
    pub(super) looked: Instant,
    /// When the head of the response must be there.
    pub(super) head_due: Option<Instant>,
}

/// What the client asked for.
pub(super) struct Asked<'a> {
    pub(super) head: Bytes,
    pub(super) shape: Ordinary,
    /// As they came, until the request is edited for its upstream.
    pub(super) parts: Parts,
    pub(super) from: &'a Origin,
}

impl Asked<'_> {
    /// The head as the gate is told it.
    fn told(&self, request_id: RequestId) -> RequestHead<'_> {
        let target = target(&self.head, &self.shape);
        RequestHead { parts: &self.parts, target, peer: self.from.peer, request_id }
    }
}

impl Exchange<'_> {
    pub(super) async fn serve(mut self) -> After {
        self.call.live.metrics.count_fast_path();
        let served = self.answer().await;
        let after = match served {
            Ok(()) => self.client.wish.into(),
            Err(failure) => self.fail(failure).await,
        };
        self.call.finish(&self.asked.parts);
        after
    }

    async fn answer(&mut self) -> Result<(), Failure> {
        if request_edit::is_loop(&self.asked.parts.headers, &self.worker.front.pseudonym) {
            let response = self.call.refusal(&self.asked.told(self.call.id), Denial::Loop);
            return self.respond(response).await;
        }
        let head = self.asked.told(self.call.id);
        let response = match self.call.live.gate.admit(&head).await {
            Verdict::Forward(plan) => {
                let upstream = plan.route.upstream;
                self.call.plan = Some(plan);
                return self.forward(upstream).await;
            }
            Verdict::Endpoint(wanted) => {
                self.call.outcome = "endpoint";
                phase(self.call.live.bff.serve(wanted, &head, Bytes::new())).await
            }
            Verdict::Preflight(preflight) => self.call.preflight(&preflight),
            Verdict::Deny(refusal) => self.call.denied(&head, &refusal),
        };
        self.respond(response).await
    }

    async fn forward(&mut self, upstream: UpstreamId) -> Result<(), Failure> {
        // `accept` has seen to it; a route of an upstream that is not there is refused like one that is down.
        let plain = self.call.live.upstreams.plain(upstream).ok_or(Failure::Unreachable)?;
        self.head_due = plain.head_timeout.map(|head| Instant::now() + head);
        self.edit()?;
        let (peer, response) = self.ask(&plain).await?;
        self.head_due = None;
        self.pass_on(peer, response, &plain).await
    }

    fn edit(&mut self) -> Result<(), Failure> {
        let Some(plan) = &self.call.plan else { return Ok(()) };
        let origin = request_edit::Origin {
            client: self.call.from.address,
            scheme: self.call.scheme(&self.asked.parts, self.asked.from.link),
            version: Version::HTTP_11,
            pseudonym: &self.worker.front.pseudonym,
            id: self.call.id,
            told: self.call.live.forwarding.told,
            client_cert: self.asked.from.client_cert.as_ref(),
            // Known once it is known where it goes.
            host: None,
        };
        // RFC 9110 §7.6.1. An ordinary request has no other field that concerns its connection. std:111
        self.asked.parts.headers.remove(CONNECTION);
        request_edit::edit(&mut self.asked.parts, plan, &origin).map_err(|_| Failure::Unwritable)
    }

    /// Sends the request until an upstream has answered it with a head.
    async fn ask(&mut self, plain: &Plain) -> Result<(Peer, ResponseHead), Failure> {
        let mut age = Age::Pooled;
        loop {
            let mut peer = self.connect(plain, age).await?;
            match self.exchange_heads(&mut peer, plain).await {
                Ok(response) => return Ok((peer, response)),
                // RFC 9110 §9.2.2, RFC 9112 §9.3.1: an idle connection may have been closed just then. Nothing came
                // back, and GET and HEAD may be repeated. std:127
                Err(Failure::Died) if peer.age == Age::Pooled && self.call.may_repeat() => age = Age::Fresh,
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn connect(&mut self, plain: &Plain, age: Age) -> Result<Peer, Failure> {
        loop {
            let failure = match self.try_connect(plain, age).await {
                Ok(peer) => return Ok(peer),
                Err(failure @ (Failure::Busy | Failure::ReadTimeout)) => return Err(failure),
                Err(failure) => failure,
            };
            if !self.call.may_try_another() {
                return Err(failure);
            }
        }
    }

    async fn try_connect(&mut self, plain: &Plain, age: Age) -> Result<Peer, Failure> {
        let patience = self.patience(plain.connect_timeout)?;
        let seat = self.call.seat().await.map_err(|why| match why {
            NoSeat::Full => Failure::Busy,
            NoSeat::Nowhere => Failure::Unreachable,
        })?;
        let address = seat.address().await.ok_or(Failure::Unresolved)?;
        let pooled = if age == Age::Pooled { self.worker.pool.take(address) } else { None };
        let peer = if let Some(wire) = pooled {
            Peer::new(wire, address.clone(), Age::Pooled)
        } else {
            let connecting = timeout(patience, Wire::connect(address));
            let connected = connecting.await.map_err(|_| Failure::ConnectTimeout)?;
            let wire = connected.map_err(|_| Failure::Unreachable)?;
            Peer::new(wire, address.clone(), Age::Fresh)
        };
        self.call.connected();
        Ok(peer)
    }

    /// How long one step may take: the head of the response must not be late for it.
    fn patience(&self, step: Duration) -> Result<Duration, Failure> {
        let Some(due) = self.head_due else { return Ok(step) };
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Failure::ReadTimeout) } else { Ok(left.min(step)) }
    }

    async fn exchange_heads(&mut self, peer: &mut Peer, plain: &Plain) -> Result<ResponseHead, Failure> {
        if let Some(host) = self.call.host() {
            self.asked.parts.headers.insert(HOST, host.clone());
        }
        let target = target(&self.asked.head, &self.asked.shape);
        let rewrite = self.call.plan.as_ref().and_then(|plan| plan.route.rewrite.as_ref());
        let target = match rewrite {
            Some(rewrite) => rewrite.apply(target).ok_or(Failure::Unwritable)?,
            None => [target, b"", b""],
        };
        let mut head = buffers::take();
        write::request(&mut head, &self.asked.parts, target);
        let sent = self.send(peer, &head, plain).await;
        buffers::give_back(head);
        sent?;
        for _ in 0..MOST_HEADS {
            let mut response = self.read_head(peer, plain).await?;
            match response.status {
                // Nobody asked for another protocol.
                StatusCode::SWITCHING_PROTOCOLS => break,
                status if status.is_informational() => {
                    if let Some(plan) = &self.call.plan {
                        response_edit::edit(status, &mut response.headers, plan, &self.call.live);
                    }
                    let mut out = Vec::new();
                    write::informational(&mut out, &response);
                    self.tell(&out).await?;
                }
                status => {
                    self.call.answered(status);
                    return Ok(response);
                }
            }
        }
        Err(Failure::BadResponse)
    }

    async fn send(&mut self, peer: &mut Peer, head: &[u8], plain: &Plain) -> Result<(), Failure> {
        let (mut sent, mut wait) = (0, Wait::new(self.patience(plain.write_timeout)?));
        poll_fn(|cx| match peer.poll_write_all(head, &mut sent, cx) {
            Poll::Ready(written) => Poll::Ready(written.map_err(|_| Failure::Died)),
            Poll::Pending => wait.poll(self.client.deadline, cx).map(|()| Err(Failure::WriteTimeout)),
        })
        .await
    }

    async fn read_head(&mut self, peer: &mut Peer, plain: &Plain) -> Result<ResponseHead, Failure> {
        loop {
            if !peer.rest().is_empty()
                && let Some(head) = response::read(peer.rest()).map_err(|_| Failure::BadResponse)?
            {
                peer.consume(head.length);
                return Ok(head);
            }
            if self.more(peer, plain).await? == 0 {
                return Err(peer.ended());
            }
        }
    }

    /// Reads on, for as long as the client is there and the upstream is not silent for too long; 0 at the end.
    async fn more(&mut self, peer: &mut Peer, plain: &Plain) -> Result<usize, Failure> {
        let mut left = self.patience(plain.read_timeout)?;
        loop {
            let patience = left.min(LOOK);
            let mut wait = Wait::new(patience);
            let read = poll_fn(|cx| {
                if let Poll::Ready(read) = peer.poll_read(cx) {
                    return Poll::Ready(read.map(Some).map_err(|_| peer.ended()));
                }
                if self.client.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(Failure::ClientGone));
                }
                wait.poll(self.client.deadline, cx).map(|()| Ok(None))
            });
            if let Some(amount) = read.await? {
                return Ok(amount);
            }
            left -= patience;
            if left.is_zero() {
                return Err(Failure::ReadTimeout);
            }
            self.look().await?;
        }
    }

    /// Sends the client all of `bytes`.
    async fn tell(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let (mut sent, mut left) = (0, self.client.patience);
        loop {
            let patience = left.min(LOOK);
            match self.client.write(bytes, &mut sent, patience).await? {
                Waited::Done => return Ok(()),
                Waited::InVain => left -= patience,
            }
            if left.is_zero() {
                return Err(Failure::ClientSlow);
            }
            self.look().await?;
        }
    }

    /// Whether a request that lasts may go on. std:165
    async fn look(&mut self) -> Result<(), Failure> {
        self.looked = Instant::now();
        match phase(self.call.must_end()).await {
            None => Ok(()),
            Some(end) => Err(Failure::MustEnd(end)),
        }
    }

    async fn pass_on(
        &mut self,
        mut peer: Peer,
        mut response: ResponseHead,
        plain: &Plain,
    ) -> Result<(), Failure> {
        if let Some(plan) = &self.call.plan {
            response_edit::edit(response.status, &mut response.headers, plan, &self.call.live);
        }
        if self.worker.front.is_closing() {
            self.client.wish = Wish::Close;
        }
        let framing = response.framing(&self.asked.parts.method);
        let mut out = buffers::take();
        write::response(&mut out, &response, &self.asked.parts.method, self.client.wish);
        let mut body = Body::of(framing);
        let mut step = body.pass(&mut peer, &mut out)?;
        // From here on nothing else can be answered.
        self.call.status = response.status.as_u16();
        let persistence = response.persistence;
        drop(response);
        loop {
            // Nothing is held back: an event must not wait for the next one.
            if !out.is_empty() {
                self.tell(&out).await?;
            }
            buffers::give_back(out);
            if step == Step::Done {
                break;
            }
            // One that never pauses is never waited for.
            if self.looked.elapsed() >= LOOK {
                self.look().await?;
            }
            let came = self.more(&mut peer, plain).await?;
            out = buffers::take();
            if came == 0 {
                body.close(&mut out)?;
                step = Step::Done;
            } else {
                step = body.pass(&mut peer, &mut out)?;
            }
        }
        // A connection is used again only where its response ended exactly: what is left over belongs to nobody.
        if persistence == Persistence::Persists && framing != Framing::UntilClose && peer.rest().is_empty() {
            let (address, wire) = peer.into_parts();
            self.worker.pool.put(address, wire, plain);
        }
        Ok(())
    }

    /// Writes an answer of ours.
    async fn respond(&mut self, response: Response<Bytes>) -> Result<(), Failure> {
        let (parts, body) = respond::whole(response);
        if self.worker.front.is_closing() {
            self.client.wish = Wish::Close;
        }
        let mut out = buffers::take();
        write::own(&mut out, parts.status, &parts.headers, self.client.wish);
        // RFC 9110 §9.3.2
        if self.asked.parts.method != Method::HEAD {
            out.extend_from_slice(&body);
        }
        self.tell(&out).await?;
        buffers::give_back(out);
        self.call.status = parts.status.as_u16();
        Ok(())
    }

    async fn fail(&mut self, failure: Failure) -> After {
        if let Failure::MustEnd(end) = failure {
            self.call.outcome = end.label();
            return After::Cut;
        }
        if failure.is_the_endpoints() {
            self.call.broke();
        }
        let denial = failure.denial().map(|denial| self.call.known(denial));
        self.call.report(failure.blame(), failure.kind(), denial.as_ref());
        // Part of a response may have gone out already, or nobody takes one: all that is left is to end it short.
        let may_answer = self.call.status == 0 && failure.blame() == Blame::Upstream;
        let Some(denial) = denial.filter(|_| may_answer) else { return After::Cut };
        // The answer depends on what the client asked for, not on what its upstream was told.
        if let Some(parts) = request::read(&self.asked.head, &self.asked.shape) {
            self.asked.parts = parts;
        }
        let head = self.asked.told(self.call.id);
        let response = self.call.refusal(&head, denial);
        match self.respond(response).await {
            Ok(()) => self.client.wish.into(),
            Err(_) => After::Cut,
        }
    }
}

impl Peer {
    /// What its end means before the end of a response.
    fn ended(&self) -> Failure {
        match self.answer {
            Answer::None => Failure::Died,
            Answer::Begun => Failure::Broken,
        }
    }
}

impl From<Wish> for After {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Keep => Self::Keep,
            Wish::Close => Self::Close,
        }
    }
}

// 100 and 103 may come before a response, but not for ever.
const MOST_HEADS: usize = 16;

//! What the edge would do with a request that nobody sent.
//!
//! The same scan, checks, verdict and edits as for one that came over a connection; only the connection is missing.
//! Endpoints are not called and upstreams not asked.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, Uri, Version};
use pingora::http::RequestHeader;

use super::call::{Call, Link};
use super::head_scan::{Fault, Scan};
use super::live::Live;
use super::proxy::told;
use super::request_edit::{self, Origin};
use super::settings::Limits;
use crate::gate::admit::Explanation;
use crate::gate::head::{RequestHead, RequestId};
use crate::gate::route::host::host_of;
use crate::gate::settings::{Auth, Piece, Route, Template};
use crate::gate::verdict::{CookieEdit, Endpoint, ForwardPlan, Verdict};

/// A request that nobody sent.
#[derive(Debug, Clone)]
pub struct Imagined {
    /// The method, as it is written.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// Header fields in their order, `Host` among them.
    pub fields: Vec<(String, String)>,
    /// Who would send it.
    pub peer: IpAddr,
    /// Whether over TLS.
    pub scheme: Scheme,
}

/// How the connection would be secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// TLS ends here.
    Https,
    /// It does not.
    Http,
}

/// What became of it.
#[derive(Debug)]
pub struct Preview<'a> {
    /// The host that it is for.
    pub host: Option<String>,
    /// The client's address, as upstreams would be told.
    pub client: Option<IpAddr>,
    /// Why; `None` where it was refused before the gate was asked.
    pub explanation: Option<Explanation<'a>>,
    /// What would come of it.
    pub outcome: Outcome,
    /// What an upstream would get from somebody with a session, where the route that serves it needs one.
    pub with_session: Option<Edited>,
}

/// What would come of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It would go to an upstream.
    Forward(Edited),
    /// An endpoint of ours would answer.
    Endpoint(Endpoint),
    /// It would be answered, and why: the reason code of logs.
    Answer(Response<Bytes>, &'static str),
}

/// Header fields of a request as it would reach an upstream.
#[derive(Debug)]
pub struct Edited {
    /// The target, where the route rewrites it.
    pub target: Option<String>,
    /// Fields that are new or have another value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are gone.
    pub dropped: Vec<HeaderName>,
}

/// Finds out what would become of `asked`.
pub async fn preview<'a>(live: &'a Arc<Live>, limits: &Limits, asked: &Imagined) -> Preview<'a> {
    let nothing =
        |outcome| Preview { host: None, client: None, explanation: None, outcome, with_session: None };
    let parts = match scan(asked, limits).and_then(|()| parts_of(asked)) {
        Ok(parts) => parts,
        Err(fault) => return nothing(answer_to(fault)),
    };
    let mut call = Call::new(Arc::clone(live), RequestId(0));
    call.meet(Some(asked.peer), &parts.headers);
    let request = RequestHeader::from(parts.clone());
    let target = asked.target.as_bytes();
    let head = RequestHead { parts: &request, target, peer: Some(asked.peer), request_id: RequestId(0) };
    let host = host_of(&request).map(std::borrow::Cow::into_owned);
    let client = call.from.address;
    if let Some(denial) = told::refused(&request) {
        let label = denial.effects().label;
        let outcome = Outcome::Answer(call.refusal(&head, denial), label);
        return Preview { host, client, ..nothing(outcome) };
    }
    if told::is_for_us(&request) {
        return Preview { host, client, ..nothing(Outcome::Answer(told::options(), "options")) };
    }
    let explanation = live.gate.explain(&head);
    let outcome = match live.gate.admit(&head).await {
        Verdict::Forward(plan) => edited(&call, parts.clone(), &plan, asked)
            .map_or_else(|| answer_to(Fault::Bad("a header field cannot be written")), Outcome::Forward),
        Verdict::Endpoint(wanted) => Outcome::Endpoint(wanted.endpoint),
        Verdict::Preflight(preflight) => Outcome::Answer(call.preflight(&preflight), call.outcome),
        Verdict::Deny(refusal) => {
            let response = call.denied(&head, &refusal);
            Outcome::Answer(response, call.outcome)
        }
    };
    let serving = explanation.serving().filter(|route| route.auth == Auth::Session);
    let with_session = serving.and_then(|route| edited(&call, parts, &stand_in(route), asked));
    Preview { host, client, explanation: Some(explanation), outcome, with_session }
}

/// As it would be read from a connection.
fn scan(asked: &Imagined, limits: &Limits) -> Result<(), Fault> {
    let mut text = format!("{} {} HTTP/1.1\r\n", asked.method, asked.target);
    for (name, value) in &asked.fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    Scan::default().advance(text.as_bytes(), limits).map(drop)
}

fn parts_of(asked: &Imagined) -> Result<Parts, Fault> {
    let mut parts = http::Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(asked.method.as_bytes()).map_err(|_| Fault::Bad("no method"))?;
    parts.uri = Uri::try_from(&asked.target).map_err(|_| Fault::Bad("no URI"))?;
    for (name, value) in &asked.fields {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Fault::Bad("no field name"))?;
        let value = HeaderValue::from_str(value).map_err(|_| Fault::Bad("no field value"))?;
        parts.headers.append(name, value);
    }
    Ok(parts)
}

fn answer_to(fault: Fault) -> Outcome {
    let mut response = Response::new(Bytes::from_static(fault.detail().as_bytes()));
    *response.status_mut() = fault.status();
    Outcome::Answer(response, fault.label())
}

fn edited(call: &Call, before: Parts, plan: &ForwardPlan, asked: &Imagined) -> Option<Edited> {
    let link = match asked.scheme {
        Scheme::Https => Link::Tls,
        Scheme::Http => Link::Plain,
    };
    let origin = Origin {
        client: call.from.address,
        scheme: call.scheme(&before, link),
        version: Version::HTTP_11,
        pseudonym: "bearward-{process}",
        id: call.id,
        told: call.live.forwarding.told,
        client_cert: None,
        host: None,
    };
    let mut after = before.clone();
    request_edit::edit(&mut after, plan, &origin).ok()?;
    // Which endpoint would serve it is not known; they are alike.
    if let Some(host) = call.live.upstreams.host(plan.route.upstream) {
        after.headers.insert(HOST, host.clone());
    }
    let values = |parts: &Parts, name: &HeaderName| -> Vec<HeaderValue> {
        parts.headers.get_all(name).iter().cloned().collect()
    };
    let changed = after.headers.keys().filter(|name| values(&before, name) != values(&after, name));
    let set = changed.flat_map(|name| values(&after, name).into_iter().map(|value| (name.clone(), value)));
    let gone = before.headers.keys().filter(|name| !after.headers.contains_key(*name));
    let rewritten = match &plan.route.rewrite {
        Some(rewrite) => Some(rewrite.apply(asked.target.as_bytes())?.concat()),
        None => None,
    };
    let target = rewritten.map(|target| String::from_utf8_lossy(&target).into_owned());
    Some(Edited { target, set: set.collect(), dropped: gone.cloned().collect() })
}

/// The plan for somebody with a session, told in words where a session would tell.
fn stand_in(route: &Arc<Route>) -> ForwardPlan {
    let worded = |Template(pieces): &Template| {
        let text = pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Claim(name) => format!("{{{name}}}"),
        });
        HeaderValue::from_str(&text.collect::<String>()).ok().filter(|value| !value.is_empty())
    };
    ForwardPlan {
        cookies: CookieEdit::Keep,
        authorization: Some(HeaderValue::from_static("Bearer {access token}")),
        set: route.set_headers.iter().map(|(name, template)| (name.clone(), worded(template))).collect(),
        route: Arc::clone(route),
        session: None,
        cors: None,
    }
}

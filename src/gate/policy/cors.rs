//! Which pages of other origins may read what is answered (Fetch §3.3).
//!
//! Origins are compared whole with a list; nothing is reflected that is not on it, and there is no `*` (std:104).
//! Where the gateway speaks for a route, an upstream's own `Access-Control-*` is dropped, so that one mistake behind
//! us opens nothing.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use crate::gate::settings::{Auth, Route};

/// What a configuration says about other origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Serialized origins (RFC 6454 §6.2) whose pages may read.
    pub origins: Vec<String>,
    /// Methods that they may use; empty for those that the route serves.
    pub methods: Vec<Method>,
    /// Request fields that they may set beyond those that are always allowed.
    pub headers: Vec<HeaderName>,
    /// Response fields that they may read beyond those that are always readable.
    pub expose: Vec<HeaderName>,
    /// Whether their requests may carry cookies.
    pub credentials: Credentials,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
}

/// Whether requests of other origins may carry cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// They may, and count as sent by a page of ours.
    Include,
    /// They may not.
    Omit,
}

/// Rules, with the values of their header fields made once.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    methods: Vec<Method>,
    allow_headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: Credentials,
    max_age: HeaderValue,
}

impl Cors {
    /// Prepares rules; `None` where they name no origin, and so say nothing.
    pub fn new(rules: &Rules) -> Option<Arc<Self>> {
        let origins: Vec<_> =
            rules.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect();
        (!origins.is_empty()).then(|| {
            Arc::new(Self {
                origins,
                methods: rules.methods.clone(),
                allow_headers: list(rules.headers.iter().map(HeaderName::as_str)),
                expose: list(rules.expose.iter().map(HeaderName::as_str)),
                credentials: rules.credentials,
                max_age: HeaderValue::from(rules.max_age.as_secs()),
            })
        })
    }

    /// What the page that sent a request is granted.
    pub fn grant(self: &Arc<Self>, headers: &HeaderMap) -> Option<Grant> {
        let mut named = headers.get_all(ORIGIN).iter();
        let origin = named.next()?;
        // Of two origins, none can be believed.
        let alone = named.next().is_none();
        (alone && self.origins.contains(origin))
            .then(|| Grant { origin: origin.clone(), cors: Arc::clone(self) })
    }
}

/// That one origin may read an answer.
#[derive(Debug, Clone)]
pub struct Grant {
    origin: HeaderValue,
    cors: Arc<Cors>,
}

impl Grant {
    /// Whether its requests count as sent by a page of ours.
    pub fn includes_credentials(&self) -> bool {
        self.cors.credentials == Credentials::Include
    }

    /// Lets the origin read a response of ours.
    pub fn write(&self, headers: &mut HeaderMap) {
        self.allow(headers);
        if let Some(expose) = &self.cors.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }

    fn allow(&self, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.origin.clone());
        if self.includes_credentials() {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Answers a preflight for a route that serves `methods`, all where there are none.
    pub fn write_preflight(&self, methods: &[Method], headers: &mut HeaderMap) {
        self.allow(headers);
        let served = if methods.is_empty() { &USUAL } else { methods };
        let allowed = if self.cors.methods.is_empty() { served } else { self.cors.methods.as_slice() };
        let methods = list(allowed.iter().map(Method::as_str));
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_METHODS, methods),
            (ACCESS_CONTROL_ALLOW_HEADERS, self.cors.allow_headers.clone()),
            (ACCESS_CONTROL_MAX_AGE, Some(self.cors.max_age.clone())),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        headers.append(VARY, HeaderValue::from_static(PREFLIGHT_VARY));
    }
}

/// Edits an upstream's response, where the gateway speaks for its route: where it has rules, and where a session is
/// behind the request. Elsewhere the upstream speaks for itself.
pub fn edit(headers: &mut HeaderMap, route: &Route, grant: Option<&Grant>) {
    if !speaks_for(route) {
        return;
    }
    let foreign: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in &foreign {
        headers.remove(name);
    }
    match grant {
        Some(grant) => grant.write(headers),
        // Whoever stores this must not give it to a page that would be granted more.
        None if route.cors.is_some() => drop(headers.append(VARY, HeaderValue::from_static("Origin"))),
        None => {}
    }
}

/// Whether what is said about other origins is the gateway's to say.
pub fn speaks_for(route: &Route) -> bool {
    route.cors.is_some() || route.auth != Auth::None
}

/// The method that a preflight asks for (Fetch §3.3.1); `None` where the request is none.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    (*method == Method::OPTIONS && headers.contains_key(ORIGIN))
        .then(|| Method::from_bytes(asked.as_bytes()).ok())
        .flatten()
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let joined = items.collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&joined).ok().filter(|value| !value.is_empty())
}

const USUAL: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";

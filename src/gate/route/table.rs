//! What serves a host, a path and a method.
//!
//! Endpoints of ours always win. Among routes, those of the request's host come before those of every host, and
//! the longest path pattern decides. The pattern that decides also answers for the method: a request never falls
//! through to a shorter pattern because its method is not among those of the longer one, or `POST /api/x` would
//! reach the unauthenticated `/*`. What nothing serves is refused (std:124).
//!
//! Letter case decides, as RFC 3986 §6.2.2.1 has it. Many servers do not care for it, nor for a slash at the end:
//! see [`Match::Twin`].

mod patterns;
mod reasons;
mod twins;

use std::sync::Arc;

use http::Method;

use self::patterns::Patterns;
pub use self::reasons::Reason;
use self::twins::Twins;
use super::path::JudgedPath;
use crate::gate::settings::{Auth, PathPattern, Route};
use crate::gate::verdict::Endpoint;

/// Routes and endpoints, ready to be looked up.
#[derive(Debug)]
pub struct Table {
    base_path: String,
    public_host: String,
    /// The places of the routes of each pattern, which differ in methods.
    patterns: Patterns<Vec<usize>>,
    routes: Vec<Arc<Route>>,
    twins: Twins,
}

/// What serves a request.
#[derive(Debug)]
pub enum Match<'a> {
    /// A route.
    Route(&'a Arc<Route>),
    /// An endpoint of ours.
    Endpoint(Endpoint),
    /// Something serves the path, with these methods only.
    MethodNotAllowed(Vec<Method>),
    /// Nothing serves it.
    Nothing,
    /// No route serves the host, and it is not ours (RFC 9110 §7.4).
    HostNotServed,
    /// An open route would serve it, but a server that ignores letter case, or a slash at the end, would take it for
    /// what another route guards.
    Twin,
}

/// Why a table could not be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Two routes serve the same host and path with a method in common. Both by their place in the file.
    #[error("routes {first} and {second} serve the same host, path and method")]
    Conflict {
        /// The earlier one.
        first: usize,
        /// The later one.
        second: usize,
    },
    /// A route lies under the base path, where only endpoints of ours are served.
    #[error("route {0} lies under the base path of our own endpoints and can never be reached")]
    UnderBasePath(usize),
}

impl Table {
    /// Builds the table. Endpoints of ours live under `base_path` of every host that is served, and always of
    /// `public_host`.
    ///
    /// # Errors
    /// Where a request could match two routes, or a route nothing.
    pub fn new(public_host: &str, base_path: &str, routes: Vec<Arc<Route>>) -> Result<Self, TableError> {
        let mut table = Self {
            base_path: base_path.trim_end_matches('/').to_owned(),
            public_host: public_host.to_ascii_lowercase(),
            patterns: Patterns::default(),
            routes: Vec::new(),
            twins: Twins::of(&routes),
        };
        for (index, route) in routes.iter().enumerate() {
            let (PathPattern::Exact(path) | PathPattern::Below(path)) = &route.path;
            if table.under_base(path).is_some() {
                return Err(TableError::UnderBasePath(index));
            }
            let same = table.patterns.entry(route.host.as_deref(), &route.path, path.clone());
            let clash =
                same.iter().find(|&&other| routes.get(other).is_some_and(|other| overlap(route, other)));
            if let Some(&first) = clash {
                return Err(TableError::Conflict { first, second: index });
            }
            same.push(index);
        }
        table.routes = routes;
        Ok(table)
    }

    /// What serves `method` on `path` of `host`.
    pub fn find(&self, host: Option<&str>, path: JudgedPath<'_>, method: &Method) -> Match<'_> {
        let path = path.as_str();
        if !self.serves(host) {
            return Match::HostNotServed;
        }
        if let Some(rest) = self.under_base(path) {
            return endpoint(rest, method);
        }
        let Some(candidates) = self.decisive(host, path) else { return Match::Nothing };
        match self.choose(candidates, method) {
            Ok(route) if self.is_twin(host, path, route) => Match::Twin,
            Ok(route) => Match::Route(route),
            Err(methods) => Match::MethodNotAllowed(methods),
        }
    }

    /// Whether a path that an open route serves looks like a guarded one to some servers.
    fn is_twin(&self, host: Option<&str>, path: &str, chosen: &Route) -> bool {
        chosen.auth == Auth::None && self.twins.guard(host, path, chosen)
    }

    /// The routes of the pattern that decides.
    fn decisive(&self, host: Option<&str>, path: &str) -> Option<&[usize]> {
        self.patterns.find(host, path).map(|(_, candidates)| candidates.as_slice())
    }

    /// Whether requests for a host are for us. Where one names no host, only routes can tell.
    fn serves(&self, host: Option<&str>) -> bool {
        self.patterns.serve_every_host()
            || host.is_none_or(|host| host == self.public_host || self.patterns.name(host))
    }

    /// What follows the base path, where `path` lies under it.
    fn under_base<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.base_path.as_str())
            .filter(|rest| !self.base_path.is_empty() && (rest.is_empty() || rest.starts_with('/')))
    }

    /// The route among those of a pattern, or the methods that they serve.
    fn choose(&self, candidates: &[usize], method: &Method) -> Result<&Arc<Route>, Vec<Method>> {
        let of = |wanted: fn(&Route, &Method) -> bool| {
            candidates.iter().filter_map(|&at| self.routes.get(at)).find(|route| wanted(route, method))
        };
        let named = |route: &Route, method: &Method| route.methods.contains(method);
        // RFC 9110 §9.3.2: whoever serves GET serves HEAD.
        let head =
            |route: &Route, method: &Method| method == Method::HEAD && route.methods.contains(&Method::GET);
        let all = |route: &Route, _: &Method| route.methods.is_empty();
        of(named).or_else(|| of(head)).or_else(|| of(all)).ok_or_else(|| {
            let routes = candidates.iter().filter_map(|&at| self.routes.get(at));
            routes.flat_map(|route| route.methods.iter().cloned()).collect()
        })
    }
}

fn overlap(a: &Route, b: &Route) -> bool {
    match (a.methods.is_empty(), b.methods.is_empty()) {
        (true, true) => true,
        // A route for named methods and one for all the others live side by side.
        (true, false) | (false, true) => false,
        (false, false) => a.methods.iter().any(|method| b.methods.contains(method)),
    }
}

fn endpoint(rest: &str, method: &Method) -> Match<'static> {
    let (endpoint, allowed) = match rest {
        "/login" | "/start" => (Endpoint::Login, Method::GET),
        "/callback" => (Endpoint::Callback, Method::GET),
        "/logout" | "/sign_out" => (Endpoint::Logout, Method::POST),
        "/logout/callback" => (Endpoint::LoggedOut, Method::GET),
        "/session" => (Endpoint::Session, Method::GET),
        "/session/refresh" => (Endpoint::SessionRefresh, Method::POST),
        "/userinfo" => (Endpoint::UserInfo, Method::GET),
        _ => return Match::Nothing,
    };
    if *method == allowed { Match::Endpoint(endpoint) } else { Match::MethodNotAllowed(vec![allowed]) }
}

#[cfg(test)]
mod tests;

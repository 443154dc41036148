//! What serves a host, a path and a method.
//!
//! Endpoints of ours always win. Among routes, those of the request's host come before those of every host, and
//! the longest path pattern decides. The pattern that decides also answers for the method: a request never falls
//! through to a shorter pattern because its method is not among those of the longer one, or `POST /api/x` would
//! reach the unauthenticated `/*`. What nothing serves is refused (std:124).

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::path::JudgedPath;
use crate::gate::settings::{PathPattern, Route};
use crate::gate::verdict::Endpoint;

/// Routes and endpoints, ready to be looked up.
#[derive(Debug)]
pub struct Table {
    base_path: String,
    by_host: HashMap<String, Patterns>,
    any_host: Patterns,
    routes: Vec<Arc<Route>>,
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

/// The routes of one host, by pattern. Each list holds the routes of one pattern, which differ in methods.
#[derive(Debug, Default)]
struct Patterns {
    exact: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
}

impl Table {
    /// Builds the table.
    ///
    /// # Errors
    /// Where a request could match two routes, or a route nothing.
    pub fn new(base_path: &str, routes: Vec<Arc<Route>>) -> Result<Self, TableError> {
        let mut table = Self {
            base_path: base_path.trim_end_matches('/').to_owned(),
            by_host: HashMap::new(),
            any_host: Patterns::default(),
            routes: Vec::new(),
        };
        for (index, route) in routes.iter().enumerate() {
            let (PathPattern::Exact(path) | PathPattern::Below(path)) = &route.path;
            if table.under_base(path).is_some() {
                return Err(TableError::UnderBasePath(index));
            }
            let patterns = match &route.host {
                Some(host) => table.by_host.entry(host.to_ascii_lowercase()).or_default(),
                None => &mut table.any_host,
            };
            let same = match &route.path {
                PathPattern::Exact(path) => patterns.exact.entry(path.clone()).or_default(),
                PathPattern::Below(path) => patterns.below.entry(path.clone()).or_default(),
            };
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
        if let Some(rest) = self.under_base(path) {
            return endpoint(rest, method);
        }
        let of_host = host.and_then(|host| self.by_host.get(host)).and_then(|patterns| patterns.find(path));
        match of_host.or_else(|| self.any_host.find(path)) {
            Some(candidates) => self.choose(candidates, method),
            None => Match::Nothing,
        }
    }

    /// What follows the base path, where `path` lies under it.
    fn under_base<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.base_path.as_str())
            .filter(|rest| !self.base_path.is_empty() && (rest.is_empty() || rest.starts_with('/')))
    }

    fn choose(&self, candidates: &[usize], method: &Method) -> Match<'_> {
        let of = |wanted: fn(&Route, &Method) -> bool| {
            candidates.iter().filter_map(|&at| self.routes.get(at)).find(|route| wanted(route, method))
        };
        let named = |route: &Route, method: &Method| route.methods.contains(method);
        // RFC 9110 §9.3.2: whoever serves GET serves HEAD.
        let head =
            |route: &Route, method: &Method| method == Method::HEAD && route.methods.contains(&Method::GET);
        let all = |route: &Route, _: &Method| route.methods.is_empty();
        match of(named).or_else(|| of(head)).or_else(|| of(all)) {
            Some(route) => Match::Route(route),
            None => Match::MethodNotAllowed(
                candidates
                    .iter()
                    .filter_map(|&at| self.routes.get(at))
                    .flat_map(|route| route.methods.iter().cloned())
                    .collect(),
            ),
        }
    }
}

impl Patterns {
    fn find(&self, path: &str) -> Option<&[usize]> {
        if let Some(found) = self.exact.get(path) {
            return Some(found);
        }
        let mut prefix = path;
        loop {
            if let Some(found) = self.below.get(prefix) {
                return Some(found);
            }
            prefix = prefix.get(..prefix.rfind('/')?)?;
        }
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

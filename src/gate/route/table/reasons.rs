//! Why each route does or does not serve a request, for people who ask.

use std::sync::Arc;

use http::Method;

use super::Table;
use crate::gate::route::path::JudgedPath;
use crate::gate::settings::{PathPattern, Route};

/// What a route has to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It serves it.
    Serves,
    /// Its pattern decides, and it has other methods.
    OtherMethod,
    /// It would serve it, did the path not look guarded to some servers; see [`Match::Twin`](super::Match::Twin).
    Twin,
    /// It would serve it, were there no longer pattern, or none of the request's own host.
    LessSpecific,
    /// It has another path.
    OtherPath,
    /// It has another host.
    OtherHost,
}

impl Table {
    /// What every route has to do with a request, in the order of the file. What decides is looked up as for a request
    /// that is served.
    pub fn reasons(
        &self,
        host: Option<&str>,
        path: JudgedPath<'_>,
        method: &Method,
    ) -> Vec<(&Arc<Route>, Reason)> {
        let candidates = self.decisive(host, path.as_str()).unwrap_or_default();
        let chosen = self.choose(candidates, method).ok();
        let reason = |(place, route): (usize, &Arc<Route>)| {
            if route.host.as_deref().is_some_and(|wanted| host != Some(wanted)) || !self.serves(host) {
                Reason::OtherHost
            } else if !matches(&route.path, path.as_str()) {
                Reason::OtherPath
            } else if !candidates.contains(&place) {
                Reason::LessSpecific
            } else if chosen.is_some_and(|chosen| Arc::ptr_eq(chosen, route)) {
                if self.is_twin(host, path.as_str(), route) { Reason::Twin } else { Reason::Serves }
            } else {
                Reason::OtherMethod
            }
        };
        let reason = |(place, route)| (route, reason((place, route)));
        self.routes.iter().enumerate().map(reason).collect()
    }
}

fn matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => path == exact,
        PathPattern::Below(folder) => {
            path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

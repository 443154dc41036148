//! Paths that some servers take for a guarded one.
//!
//! `/Admin` and `/admin/` are other paths than `/admin` (RFC 3986 §6.2.2.1). Express and others serve all three by one
//! handler. Where `/admin` needs a session and `/*` does not, the other two would reach it without one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::gate::settings::{Auth, PathPattern, Route};

/// The patterns of all routes as a server sees them that ignores letter case and a slash at the end. Empty where no
/// route is open or none is guarded: then there is nothing to slip past.
#[derive(Debug, Default)]
pub(super) struct Twins {
    by_host: HashMap<String, Folded>,
    any_host: Folded,
    patterns: Letters,
}

/// Whether patterns have capital letters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Letters {
    #[default]
    Small,
    Mixed,
}

#[derive(Debug, Default)]
struct Folded {
    exact: HashMap<String, Guard>,
    below: HashMap<String, Guard>,
}

/// Whether one of the routes of a folded pattern asks for more than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    Open,
    Guarded,
}

/// The folded pattern that a path meets.
enum Found<'p> {
    Exact(&'p str),
    Below(&'p str),
}

impl Twins {
    pub(super) fn of(routes: &[Arc<Route>]) -> Self {
        let mut twins = Self::default();
        let open = routes.iter().filter(|route| route.auth == Auth::None).count();
        if open == 0 || open == routes.len() {
            return twins;
        }
        for route in routes {
            let folded = match &route.host {
                Some(host) => twins.by_host.entry(host.to_ascii_lowercase()).or_default(),
                None => &mut twins.any_host,
            };
            let (patterns, path) = match &route.path {
                PathPattern::Exact(path) => (&mut folded.exact, path),
                PathPattern::Below(path) => (&mut folded.below, path),
            };
            let guard = patterns.entry(fold(path).into_owned()).or_insert(Guard::Open);
            if route.auth != Auth::None {
                *guard = Guard::Guarded;
            }
            if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
                twins.patterns = Letters::Mixed;
            }
        }
        twins
    }

    /// Whether such a server would take `path`, which the open route `chosen` serves, for that of a guarded route.
    /// Not where the two differ in nothing else: whoever wrote both meant both.
    pub(super) fn guard(&self, host: Option<&str>, path: &str, chosen: &Route) -> bool {
        let folded = fold(path);
        if self.any_host.is_empty() && self.by_host.is_empty()
            // What needs no folding was found as it stands.
            || self.patterns == Letters::Small && folded == path
        {
            return false;
        }
        let of_host = host.and_then(|host| self.by_host.get(host)).and_then(|names| names.find(&folded));
        let Some((found, guard)) = of_host.or_else(|| self.any_host.find(&folded)) else { return false };
        let meant = match (found, &chosen.path) {
            (Found::Exact(found), PathPattern::Exact(own))
            | (Found::Below(found), PathPattern::Below(own)) => found == fold(own),
            (Found::Exact(_), PathPattern::Below(_)) | (Found::Below(_), PathPattern::Exact(_)) => false,
        };
        guard == Guard::Guarded && !meant
    }
}

impl Folded {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    fn find<'p>(&self, path: &'p str) -> Option<(Found<'p>, Guard)> {
        if let Some(guard) = self.exact.get(path) {
            return Some((Found::Exact(path), *guard));
        }
        let mut prefix = path;
        loop {
            if let Some(guard) = self.below.get(prefix) {
                return Some((Found::Below(prefix), *guard));
            }
            prefix = prefix.get(..prefix.rfind('/')?)?;
        }
    }
}

fn fold(path: &str) -> Cow<'_, str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(path.to_ascii_lowercase())
    } else {
        Cow::Borrowed(path)
    }
}

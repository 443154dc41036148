//! Paths that some servers take for a guarded one.
//!
//! `/Admin` and `/admin/` are other paths than `/admin` (RFC 3986 §6.2.2.1). Express and others serve all three by one
//! handler. Where `/admin` needs a session and `/*` does not, the other two would reach it without one.

use std::borrow::Cow;
use std::sync::Arc;

use super::patterns::{Met, Patterns};
use crate::gate::settings::{Auth, PathPattern, Route};

/// The patterns of all routes as a server sees them that ignores letter case and a slash at the end. Empty where no
/// route is open or none is guarded: then there is nothing to slip past.
#[derive(Debug, Default)]
pub(super) struct Twins {
    patterns: Patterns<Guard>,
    letters: Letters,
}

/// Whether patterns have capital letters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Letters {
    #[default]
    Small,
    Mixed,
}

/// Whether one of the routes of a folded pattern asks for more than nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Guard {
    #[default]
    Open,
    Guarded,
}

impl Twins {
    pub(super) fn of(routes: &[Arc<Route>]) -> Self {
        let mut twins = Self::default();
        let open = routes.iter().filter(|route| route.auth == Auth::None).count();
        if open == 0 || open == routes.len() {
            return twins;
        }
        for route in routes {
            let (PathPattern::Exact(path) | PathPattern::Below(path)) = &route.path;
            let guard = twins.patterns.entry(route.host.as_deref(), &route.path, fold(path).into_owned());
            if route.auth != Auth::None {
                *guard = Guard::Guarded;
            }
            if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
                twins.letters = Letters::Mixed;
            }
        }
        twins
    }

    /// Whether such a server would take `path`, which the open route `chosen` serves, for that of a guarded route.
    /// Not where the two differ in nothing else: whoever wrote both meant both.
    pub(super) fn guard(&self, host: Option<&str>, path: &str, chosen: &Route) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let folded = fold(path);
        // What needs no folding was found as it stands.
        if self.letters == Letters::Small && folded == path {
            return false;
        }
        let Some((met, guard)) = self.patterns.find(host, &folded) else { return false };
        let meant = match (met, &chosen.path) {
            (Met::Exact(met), PathPattern::Exact(own)) | (Met::Below(met), PathPattern::Below(own)) => {
                met == fold(own)
            }
            (Met::Exact(_), PathPattern::Below(_)) | (Met::Below(_), PathPattern::Exact(_)) => false,
        };
        *guard == Guard::Guarded && !meant
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

//! What is kept for the patterns of each host, and which one decides about a path.
//!
//! Patterns of the request's host come before those of every host; an exact one before all others, then the longest.

use std::collections::HashMap;

use crate::gate::settings::PathPattern;

/// One `T` for each pattern of each host.
#[derive(Debug)]
pub(super) struct Patterns<T> {
    by_host: HashMap<String, OfHost<T>>,
    any_host: OfHost<T>,
}

#[derive(Debug)]
struct OfHost<T> {
    exact: HashMap<String, T>,
    below: HashMap<String, T>,
}

/// The pattern that decided: as it is kept, a slice of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met<'p> {
    /// This path and nothing else.
    Exact(&'p str),
    /// This path and everything below it.
    Below(&'p str),
}

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self { by_host: HashMap::new(), any_host: OfHost::default() }
    }
}

impl<T> Default for OfHost<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), below: HashMap::new() }
    }
}

impl<T: Default> Patterns<T> {
    /// What is kept for a pattern of a host (every host where it is `None`), whose path is called `path` here.
    pub(super) fn entry(&mut self, host: Option<&str>, pattern: &PathPattern, path: String) -> &mut T {
        let of_host = match host {
            Some(host) => self.by_host.entry(host.to_ascii_lowercase()).or_default(),
            None => &mut self.any_host,
        };
        let kept = match pattern {
            PathPattern::Exact(_) => &mut of_host.exact,
            PathPattern::Below(_) => &mut of_host.below,
        };
        kept.entry(path).or_default()
    }
}

impl<T> Patterns<T> {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_host.is_empty() && self.any_host.is_empty()
    }

    /// Whether some belong to every host.
    pub(super) fn serve_every_host(&self) -> bool {
        !self.any_host.is_empty()
    }

    /// Whether some belong to this host.
    pub(super) fn name(&self, host: &str) -> bool {
        self.by_host.contains_key(host)
    }

    /// The pattern that decides, and what is kept for it.
    pub(super) fn find<'p>(&self, host: Option<&str>, path: &'p str) -> Option<(Met<'p>, &T)> {
        let of_host = host.and_then(|host| self.by_host.get(host)).and_then(|patterns| patterns.find(path));
        of_host.or_else(|| self.any_host.find(path))
    }
}

impl<T> OfHost<T> {
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    fn find<'p>(&self, path: &'p str) -> Option<(Met<'p>, &T)> {
        if let Some(kept) = self.exact.get(path) {
            return Some((Met::Exact(path), kept));
        }
        let mut prefix = path;
        loop {
            if let Some(kept) = self.below.get(prefix) {
                return Some((Met::Below(prefix), kept));
            }
            prefix = prefix.get(..prefix.rfind('/')?)?;
        }
    }
}

//! What the configuration says about the store.

use std::time::Duration;

/// What happens while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// What the requests of sessions get while nobody can tell which sessions were ended elsewhere.
    pub denials: Denials,
    /// What becomes of refreshes.
    pub refresh: RefreshAlone,
    /// How long the store must have been away before a replica refreshes by itself.
    pub after: Duration,
}

/// What the requests of sessions get while the log of denials cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denials {
    /// They are served.
    Open,
    /// 503.
    Closed,
}

/// What becomes of refreshes while the store is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshAlone {
    /// Each replica refreshes by itself: two of them may spend one token.
    Local,
    /// Sessions whose access token ran out wait: 503.
    Wait,
}

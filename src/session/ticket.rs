//! What a request with a good session cookie carries until its response head.

use std::sync::Arc;

use super::model::{Generation, Session, SessionId};

/// A session as one request sees it.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The generation that the request was served with.
    pub session: Arc<Session>,
    /// What the browser has shown to have.
    pub presented: Presented,
    /// Whether the response may carry the cookie (rule 8).
    pub carries_cookie: bool,
}

/// The cookie that a browser presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presented {
    /// Whose it is.
    pub sid: SessionId,
    /// Its generation.
    pub generation: Generation,
    /// Into how many cookies it was split.
    pub chunks: usize,
}

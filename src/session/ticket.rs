//! What a request that presented a good session cookie carries with it until its response head.

/// A session as one request sees it.
#[derive(Debug, Clone)]
pub struct Ticket {
    _private: (),
}

//! What the gate is told of a request: its head and where it came from.

use std::net::IpAddr;

use http::request::Parts;

/// A request head as it arrived, before anything was changed.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// Method, target, version and header fields.
    pub parts: &'a Parts,
    /// Path and query exactly as received, in origin form.
    pub target: &'a [u8],
    /// The peer of the connection; no header can change it.
    pub peer: Option<IpAddr>,
    /// Names this request in logs and on error pages.
    pub request_id: RequestId,
}

/// Names one request. Random, so that it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

//! Which route or endpoint serves a request.
//!
//! [`path`] judges the target once, [`host`] reads the authority, [`table`] finds what serves the two. Only path,
//! host and method decide; no query, fragment or forwarded header does (std:110, std:123).

pub mod host;
pub mod path;
pub mod table;

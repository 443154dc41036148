//! Which route or endpoint serves a request.

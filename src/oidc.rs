//! OpenID Connect and OAuth 2.0, one file per request to the provider.
//!
//! Speaks to the provider and judges its answers; knows nothing of cookies, sessions or browsers.

pub mod settings;

//! What every room stands on: time, secrets, tasks, TLS, HTTP to the provider.
//!
//! Knows nothing of OpenID Connect, sessions or proxying.

pub mod http_client;
pub mod secret;
pub mod tasks;
pub mod time;
pub mod tls;

//! What the tests share: upstreams, gateways on port 0, exact clients.

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod clock;
pub(crate) mod frames;
pub(crate) mod gateway;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod recorder;
pub(crate) mod scripted;
pub(crate) mod session;
pub(crate) mod tls;
pub(crate) mod tls_server;
pub(crate) mod upstream;
pub(crate) mod world;

//! What the tests share: upstreams that record, gateways on port 0, clients that send exact bytes.

pub(crate) mod gateway;
pub(crate) mod raw;
pub(crate) mod upstream;

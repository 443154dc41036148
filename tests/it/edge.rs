//! The edge over real sockets: forwarding, limits, faults, the drain.

mod bodies;
mod certificates;
mod conformance;
mod cves;
mod drain;
mod fast_path;
mod faults;
mod floods;
mod forward;
mod forwarded;
mod headers;
mod http2;
mod limits;
mod protocols;
mod smuggling;
mod streams;
mod tls_upstream;
mod upstreams;
mod websocket;

//! The gateway as a whole, over real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod cors;
mod edge;
mod explain;
mod faults;
mod flow;
mod handover;
mod logout;
mod operator;
mod process;
mod refresh;
mod reload;
mod restart;
mod security;
mod streams;
mod support;

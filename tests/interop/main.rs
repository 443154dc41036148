//! The gateway against providers that others wrote: real processes and sockets.
//!
//! Each test starts npm `oidc-provider` (strict rotation), the `bearward` binary and an upstream that refuses
//! expired bearers. What cannot be had here (no Node, no `npm ci` in `node/`) is said loudly and skipped; with
//! `CI=true` it fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a failing test support fails the test"
)]
#![expect(clippy::disallowed_methods, reason = "tests have a clock and an environment of their own")]

mod faults;
mod fleet;
mod grpc;
mod load;
mod login;
mod logout;
mod paths;
mod rolling;
mod rotation;
mod storm;
mod strictness;
mod support;

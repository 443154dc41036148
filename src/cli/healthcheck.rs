//! `bearward healthcheck`: whether a running gateway is ready.
//!
//! For container health checks in images without curl.

use std::process::ExitCode;

use super::admin_call::{Answer, call};
use super::{HealthcheckArgs, failed, print};

/// Asks `/readyz` of the admin listener.
pub(super) fn run(args: &HealthcheckArgs) -> ExitCode {
    match call(args.address, "GET", "/readyz", "") {
        Ok(Answer { status: 200, .. }) => print("ready\n"),
        Ok(Answer { body, .. }) => failed(&format!("not ready: {body}")),
        Err(error) => failed(&format!("nobody answers on {}: {}", args.address, error.kind())),
    }
}

//! `bearward schema`: the JSON Schema of the configuration, for editors.

use std::process::ExitCode;

use super::print;
use crate::config::schema;

/// Prints it.
pub(super) fn run() -> ExitCode {
    print(&format!("{:#}\n", schema()))
}

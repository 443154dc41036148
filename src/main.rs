//! The `bearward` binary.
fn main() {}

//! The only wiring: settings in, a running gateway out, and back to rest.

mod build;

pub use build::{App, StartError};

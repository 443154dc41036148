//! The only wiring: settings in, a running gateway out, and back to rest.

mod build;
mod fleet;
mod preview;
mod reload;
pub mod service;
mod serving;
mod watch;

pub use build::{App, Signal, Signals, StartError};
pub use preview::Imaginary;
pub use reload::{ReloadError, Reloaded};
pub use serving::ServingError;
pub use watch::Watch;

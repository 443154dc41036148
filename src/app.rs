//! The only wiring: settings in, a running gateway out, and back to rest.

mod build;
mod fleet;
mod reload;
mod serving;

pub use build::{App, Signal, Signals, StartError};
pub use reload::ReloadError;
pub use serving::ServingError;

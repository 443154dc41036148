//! What operators see: logs, metrics, audit events.
//!
//! Nothing here takes a token, a code or a cookie. Sessions appear as [`audit::SessionTag`], labels are closed
//! sets of words, and no text from outside can break a line or make a new series (std:180, std:181).

pub mod audit;
pub mod logs;
pub mod metrics;
pub mod settings;

//! What operators see: logs, metrics, audit events.

pub mod settings;

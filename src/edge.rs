//! All of pingora.

pub mod settings;

//! Commands.

pub mod dev;

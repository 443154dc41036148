//! Sessions: the sealed cookie, what this replica remembers, and the refresh protocol.

pub mod settings;
pub mod ticket;

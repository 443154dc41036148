//! Sessions: the sealed cookie, the registry, the refresh protocol.
//!
//! A session is one login of one browser, named by its `sid`. Its tokens live in a sealed cookie; the registry
//! remembers which generation of it is the newest and which ones browsers have shown to have. What may happen to
//! a session is decided in `refresh` without I/O, clock or runtime; [`sessions::Sessions`] does the rest.

pub mod claims;
pub mod codec;
pub mod cookie;
pub(crate) mod denied;
pub mod fleet;
pub mod model;
mod mutation;
pub mod refresh;
pub mod registry;
pub mod sessions;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod ticket;

//! The refresh protocol, decided without I/O, clock or runtime.
//!
//! `decide` judges tokens by the time, `record` a session by its generations, `health` the provider by its last
//! answers; `flight` is the one shell here, which makes the token request and reports back.

pub mod decide;
pub mod flight;
pub mod health;
pub mod record;

//! The refresh protocol, decided without I/O, clock or runtime.
//!
//! `decide` judges tokens by the time, `record` a session by its generations, `health` the provider by its last
//! answers, `stored` what the store knows of a session. `flight` and `lease` are the shells here: the one makes the
//! token request and reports back, the other gets the right to make it where there is a store.

pub mod decide;
pub mod flight;
pub mod health;
pub(crate) mod lease;
pub mod record;
pub(crate) mod stored;

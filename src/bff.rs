//! Endpoints of our own: login, callback, logout, session, userinfo, pages.
//!
//! Answers browsers and talks to the provider on their behalf. Picks no upstream and decides about no request:
//! that was the gate's.

pub mod callback;
pub mod endpoints;
pub mod login;
pub mod logout;
pub mod operator;
pub mod pages;
pub mod pending_login;
pub mod return_to;
pub mod session_info;
pub mod settings;

pub use endpoints::Bff;

//! Endpoints of our own: login, callback, logout, session, userinfo, and the pages for errors.

pub mod pages;
pub mod settings;

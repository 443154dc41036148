//! The session cookie's form: sealed, split, written, read from a jar.
//!
//! Knows bytes and names; what is inside a sealed value is `codec`'s business.

pub mod attributes;
pub mod chunk;
pub mod jar;
pub mod seal;

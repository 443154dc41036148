//! The decision: one request head in, one verdict out.
//!
//! The verdict is computed once and then only applied. `gate` writes no response and opens no connection.

pub mod admit;
pub mod denial;
pub mod forward;
pub mod head;
pub mod policy;
pub mod route;
pub mod settings;
pub mod stream;
pub mod verdict;

pub use admit::Gate;

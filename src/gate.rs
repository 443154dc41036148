//! The decision: one request head in, one verdict out.
//!
//! The verdict is computed once and then only applied. `gate` writes no response and opens no connection.

pub mod denial;
pub mod head;
pub mod route;
pub mod settings;
pub mod verdict;

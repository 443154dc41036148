//! Rules about requests that need no session.
//!
//! Whether another site caused them, and who may read the answer.

pub mod cors;
pub mod csrf;

//! Rules about requests that need no session: whether another site caused them.

pub mod csrf;

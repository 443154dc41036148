//! What loads, what does not, and what is said about it.

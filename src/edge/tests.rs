//! Tests of what only this room sees.

//! Bearward: a reverse-proxy token gateway.

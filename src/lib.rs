//! Bearward: a reverse-proxy token gateway.
//!
//! A browser logs in by OpenID Connect and holds one sealed cookie; APIs behind the gateway receive a fresh
//! `Authorization: Bearer`. The library exists for the binary and its tests; it is not a stable API.
//!
//! The modules stand in reading order: each imports only those above it (`tests/tidy.rs` holds that).
//! `ARCHITECTURE.md` tells what lives where.

pub mod base;

pub mod telemetry;

pub mod store;

pub mod jwt;

pub mod oidc;

pub mod session;

pub mod gate;

pub mod bff;

pub mod edge;

pub mod config;

pub mod app;

pub mod cli;

//! `bearward dev`: a provider, a demo and the gateway before them, without a file.

pub mod demo;

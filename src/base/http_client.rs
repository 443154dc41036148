//! HTTP to the provider.

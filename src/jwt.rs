//! JSON Web Tokens: what a header may say, which key fits, whether claims hold.
//!
//! Judges tokens and nothing else: no I/O, no clock (callers give `now`), no knowledge of who asks. Signatures
//! only; an encrypted token is refused. RFC 7515, RFC 7517, RFC 7518, RFC 7519, RFC 8037, RFC 8725.
//!
//! Not supported, and refused: ES512, ES256K, Ed448, HS384, HS512.

pub mod algorithm;
pub mod claims;
#[cfg(test)]
pub(crate) mod forge;
pub mod header;
pub mod json;
pub mod key;
pub mod rejection;
pub mod verify;

pub use algorithm::Algorithm;
pub use claims::{Claim, Claims};
pub use header::{Jws, unverified_claims};
pub use key::{KeySet, KeySetError};
pub use rejection::Rejection;

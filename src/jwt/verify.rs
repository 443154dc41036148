//! Signatures: the one file that calls the verifying library.
//!
//! RFC 7515 §5.2. The algorithm is that of the header after the allow-list, the key that of the provider's set or
//! the client's secret; the library holds a second time that key and algorithm are of one family. Claims are not
//! judged here.

use jsonwebtoken::DecodingKey;

use super::algorithm::{Algorithm, Family};
use super::header::Jws;
use super::key::KeySet;
use super::rejection::Rejection;

/// Holds where some fitting key of `keys` made the signature.
///
/// # Errors
/// `UnknownKey` where none fits, `Signature` where none of those that fit did.
pub fn with_keys(token: &Jws<'_>, keys: &KeySet) -> Result<(), Rejection> {
    let mut outcome = Err(Rejection::UnknownKey);
    for key in keys.candidates(token.algorithm(), token.key_id()) {
        outcome = check(token, key.decoding());
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Holds where the octets of `secret` made the signature (OIDC Core §10.1; std:51).
///
/// # Errors
/// `Algorithm` where the token is not signed with a shared secret, `Signature` where another one made it.
pub fn with_secret(token: &Jws<'_>, secret: &[u8]) -> Result<(), Rejection> {
    if token.algorithm().family() != Family::Secret {
        return Err(Rejection::Algorithm);
    }
    check(token, &DecodingKey::from_secret(secret))
}

fn check(token: &Jws<'_>, key: &DecodingKey) -> Result<(), Rejection> {
    let algorithm = library_name(token.algorithm());
    match jsonwebtoken::crypto::verify(token.signature(), token.signed().as_bytes(), key, algorithm) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Rejection::Signature),
    }
}

const fn library_name(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

#[cfg(test)]
mod tests;

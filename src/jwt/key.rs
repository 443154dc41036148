//! JWK sets: which keys may verify, and which of them fits a token.
//!
//! RFC 7517, RFC 7518 §6, RFC 8037 §2. What cannot or must not verify is skipped, never an error (std:152): a
//! provider may publish a new kind of key at any time. Shared secrets are never taken from a set.

use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Family};

/// The keys of one provider that may verify signatures.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    /// What the provider says it is used for; nothing else then (RFC 8725 §3.1).
    algorithm: Option<Algorithm>,
    family: Family,
    decoding: DecodingKey,
}

/// Why bytes are no JWK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a JWK set")]
pub struct KeySetError;

impl KeySet {
    /// Reads a set and keeps what may verify.
    ///
    /// # Errors
    /// Where the bytes are not an object with a list `keys` (RFC 7517 §5).
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        let set: Map<String, Value> = serde_json::from_slice(bytes).map_err(|_invalid| KeySetError)?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(KeySetError)?;
        let keys = entries.iter().filter_map(Value::as_object).filter_map(Key::parse).collect();
        Ok(Self { keys })
    }

    /// How many keys may verify.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key may verify.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys to try: all of that id, or without one all that fit, never more than [`TRIES`] (std:59, std:60).
    pub(super) fn candidates(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.keys
            .iter()
            .filter(move |key| key.family == algorithm.family())
            .filter(move |key| key.algorithm.is_none_or(|only| only == algorithm))
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
            .take(TRIES)
    }
}

impl Key {
    /// The key, unless it is unfit to verify.
    fn parse(jwk: &Map<String, Value>) -> Option<Self> {
        let id = optional(jwk, "kid")?.map(str::to_owned);
        if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") || !may_verify(jwk) {
            return None;
        }
        // A private key that was published vouches for nothing.
        if jwk.contains_key("d") {
            return None;
        }
        let algorithm = match optional(jwk, "alg")? {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let (family, decoding) = match jwk.get("kty")?.as_str()? {
            "RSA" => (Family::Rsa, rsa(jwk)?),
            "EC" => elliptic(jwk)?,
            "OKP" if jwk.get("crv")?.as_str()? == "Ed25519" => {
                (Family::Ed25519, DecodingKey::from_ed_der(&coordinate(jwk, "x", 32)?))
            }
            _ => return None,
        };
        if algorithm.is_some_and(|only| only.family() != family) {
            return None;
        }
        Some(Self { id, algorithm, family, decoding })
    }

    pub(super) const fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}

/// A string member: `None` where it is something else, `Some(None)` where it is absent.
fn optional<'a>(jwk: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match jwk.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    }
}

/// RFC 7517 §4.3: `key_ops`, where present, must name the operation.
fn may_verify(jwk: &Map<String, Value>) -> bool {
    match jwk.get("key_ops") {
        None => true,
        Some(operations) => operations
            .as_array()
            .is_some_and(|all| all.iter().any(|operation| operation.as_str() == Some("verify"))),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(jwk.get(name)?.as_str()?).ok()
}

fn coordinate(jwk: &Map<String, Value>, name: &str, length: usize) -> Option<Vec<u8>> {
    bytes(jwk, name).filter(|bytes| bytes.len() == length)
}

fn rsa(jwk: &Map<String, Value>) -> Option<DecodingKey> {
    let mut modulus = bytes(jwk, "n")?;
    // Some providers write the sign byte of a DER integer before it.
    modulus.drain(..modulus.iter().take_while(|byte| **byte == 0).count());
    let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    if !RSA_BITS.contains(&bits) {
        return None;
    }
    Some(DecodingKey::from_rsa_raw_components(&modulus, &bytes(jwk, "e")?))
}

fn elliptic(jwk: &Map<String, Value>) -> Option<(Family, DecodingKey)> {
    let (family, length) = match jwk.get("crv")?.as_str()? {
        "P-256" => (Family::P256, 32),
        "P-384" => (Family::P384, 48),
        _ => return None,
    };
    // SEC 1 §2.3.3: an uncompressed point.
    let mut point = vec![4];
    point.extend(coordinate(jwk, "x", length)?);
    point.extend(coordinate(jwk, "y", length)?);
    Some((family, DecodingKey::from_ec_der(&point)))
}

/// Below, keys are weak (RFC 7518 §3.3); above, verifying costs an attacker nothing and us much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Keys tried for one token: a rotation has two or three in the air.
pub const TRIES: usize = 4;

#[cfg(test)]
mod tests;

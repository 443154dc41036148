//! A compact JWS taken apart, before any key is touched.
//!
//! RFC 7515 §4, §5.2, §7.1. Strict where leniency would let two readers differ: base64url without padding or
//! stray bits, no repeated members. `jku`, `jwk`, `x5u` and `x5c` are never read (std:57): keys come from the
//! issuer's own key set or nowhere.

use serde_json::{Map, Value};

use super::algorithm::Algorithm;
use super::claims::Claims;
use super::json::{JsonError, parse_object};
use super::rejection::Rejection;

/// A token that was taken apart. Its claims are what somebody wrote, until a signature is verified.
#[derive(Debug)]
pub struct Jws<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    kind: Option<String>,
    claims: Claims,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Jws<'a> {
    /// Takes `token` apart. Nothing but an algorithm of `allowed` is accepted (std:50).
    ///
    /// # Errors
    /// The first rule that the form of the token breaks.
    pub fn parse(token: &'a str, allowed: &[Algorithm]) -> Result<Self, Rejection> {
        let (signed, header, payload, signature) = split(token)?;
        let header = object(header)?;
        // RFC 7515 §4.1.11: an extension that is not understood must be refused; we understand none.
        if header.contains_key("crit") {
            return Err(Rejection::Critical);
        }
        let algorithm = text(&header, "alg")?.ok_or(Rejection::Header)?;
        let algorithm = Algorithm::from_name(algorithm).filter(|found| allowed.contains(found));
        let algorithm = algorithm.ok_or(Rejection::Algorithm)?;
        let key_id = text(&header, "kid")?.map(str::to_owned);
        let kind = text(&header, "typ")?.map(str::to_ascii_lowercase);
        check_encoding(signature)?;
        let claims = Claims::new(object(payload)?);
        Ok(Self { algorithm, key_id, kind, claims, signed, signature })
    }

    /// `alg`
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `typ` in lower case, without the prefix `application/` that may be left out (RFC 7515 §4.1.9).
    pub fn kind(&self) -> Option<&str> {
        let kind = self.kind.as_deref()?;
        Some(kind.strip_prefix("application/").unwrap_or(kind))
    }

    /// What the token claims, verified or not.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What the token claims, verified or not.
    pub fn into_claims(self) -> Claims {
        self.claims
    }

    /// The bytes under the signature.
    pub(super) const fn signed(&self) -> &str {
        self.signed
    }

    /// The signature as base64url.
    pub(super) const fn signature(&self) -> &str {
        self.signature
    }
}

/// The payload of `token`, if it has the form of a JWS. Nobody has vouched for it but who handed it over.
pub fn unverified_claims(token: &str) -> Option<Map<String, Value>> {
    let (_, header, payload, _) = split(token).ok()?;
    object(header).ok()?;
    object(payload).ok()
}

/// What is signed, header, payload, signature.
fn split(token: &str) -> Result<(&str, &str, &str, &str), Rejection> {
    if token.len() > LONGEST {
        return Err(Rejection::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Rejection::NotCompact)?;
    let (header, payload) = signed.split_once('.').ok_or(Rejection::NotCompact)?;
    if payload.contains('.') || header.is_empty() || payload.is_empty() {
        return Err(Rejection::NotCompact);
    }
    Ok((signed, header, payload, signature))
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part).map_err(|_invalid| Rejection::Encoding)
}

fn check_encoding(part: &str) -> Result<(), Rejection> {
    base64_simd::URL_SAFE_NO_PAD.check(part.as_bytes()).map_err(|_invalid| Rejection::Encoding)
}

fn object(part: &str) -> Result<Map<String, Value>, Rejection> {
    parse_object(&decode(part)?).map_err(|error| match error {
        JsonError::NotAnObject => Rejection::NotJson,
        JsonError::Duplicate => Rejection::DuplicateMember,
    })
}

fn text<'a>(header: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Rejection> {
    header.get(name).map(|value| value.as_str().ok_or(Rejection::Header)).transpose()
}

/// Twice what the largest access tokens of common providers (with group lists) measure.
pub const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests;

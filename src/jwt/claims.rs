//! Claims, read strictly by type, and the rules about time and audience.
//!
//! RFC 7519 §4.1, OIDC Core §2. A claim of the wrong type is a broken token, never an absent claim: treating it
//! as absent skipped the rule about it in other libraries (CVE-2026-25537). What a kind of token requires is
//! said by its own file in `oidc`.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::rejection::Rejection;
use crate::base::time::Timestamp;

/// A claim that rules of ours read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// `iss`
    Issuer,
    /// `sub`
    Subject,
    /// `aud`
    Audience,
    /// `exp`
    Expiry,
    /// `nbf`
    NotBefore,
    /// `iat`
    IssuedAt,
    /// `nonce`
    Nonce,
    /// `azp`
    AuthorizedParty,
    /// `at_hash`
    AccessTokenHash,
    /// `auth_time`
    AuthTime,
    /// `sid`
    Sid,
    /// `events`
    Events,
}

impl Claim {
    /// The member's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Subject => "sub",
            Self::Audience => "aud",
            Self::Expiry => "exp",
            Self::NotBefore => "nbf",
            Self::IssuedAt => "iat",
            Self::Nonce => "nonce",
            Self::AuthorizedParty => "azp",
            Self::AccessTokenHash => "at_hash",
            Self::AuthTime => "auth_time",
            Self::Sid => "sid",
            Self::Events => "events",
        }
    }
}

/// The claims of a token. `Debug` tells how many, not which: they are about a person.
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Claims from the payload they were read from.
    pub const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// The members as they came.
    pub fn into_members(self) -> Map<String, Value> {
        self.0
    }

    /// Whether the claim is there, whatever its type.
    pub fn has(&self, claim: Claim) -> bool {
        self.0.contains_key(claim.name())
    }

    /// A claim that is a string, if it is there.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn text(&self, claim: Claim) -> Result<Option<&str>, Rejection> {
        let value = self.0.get(claim.name());
        value.map(|value| value.as_str().ok_or(Rejection::WrongType(claim))).transpose()
    }

    /// A claim that must be a string.
    ///
    /// # Errors
    /// Where it is absent or something else.
    pub fn required_text(&self, claim: Claim) -> Result<&str, Rejection> {
        self.text(claim)?.ok_or(Rejection::Missing(claim))
    }

    /// A claim that is a `NumericDate`, if it is there, in whole seconds rounded down.
    ///
    /// # Errors
    /// Where it is something else.
    pub fn date(&self, claim: Claim) -> Result<Option<i64>, Rejection> {
        let Some(value) = self.0.get(claim.name()) else { return Ok(None) };
        seconds(value).map(Some).ok_or(Rejection::WrongType(claim))
    }

    /// A claim that must be a `NumericDate`.
    ///
    /// # Errors
    /// Where it is absent or something else.
    pub fn required_date(&self, claim: Claim) -> Result<i64, Rejection> {
        self.date(claim)?.ok_or(Rejection::Missing(claim))
    }

    /// `aud`, which must be a string or a list of strings (RFC 7519 §4.1.3).
    ///
    /// # Errors
    /// Where it is absent or something else.
    pub fn audiences(&self) -> Result<Vec<&str>, Rejection> {
        let wrong = Rejection::WrongType(Claim::Audience);
        match self.0.get(Claim::Audience.name()) {
            None => Err(Rejection::Missing(Claim::Audience)),
            Some(Value::String(one)) => Ok(vec![one]),
            Some(Value::Array(many)) => many.iter().map(|item| item.as_str().ok_or(wrong)).collect(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(wrong),
        }
    }

    /// Holds where `exp` has not passed and `nbf`, if there, has (std:52).
    ///
    /// # Errors
    /// Where `exp` is absent or passed, `nbf` lies ahead, or either is no number.
    pub fn check_validity(&self, now: Timestamp, leeway: Duration) -> Result<(), Rejection> {
        let expiry = Timestamp::from_secs(self.required_date(Claim::Expiry)?);
        if now >= expiry.plus(leeway) {
            return Err(Rejection::Expired);
        }
        match self.date(Claim::NotBefore)? {
            Some(start) if Timestamp::from_secs(start) > now.plus(leeway) => Err(Rejection::NotYetValid),
            Some(_) | None => Ok(()),
        }
    }

    /// Holds where `iat` is neither ahead nor further back than `oldest` (std:53).
    ///
    /// # Errors
    /// Where it is absent, no number, or outside.
    pub fn check_issued(&self, now: Timestamp, leeway: Duration, oldest: Duration) -> Result<(), Rejection> {
        let issued = Timestamp::from_secs(self.required_date(Claim::IssuedAt)?);
        if issued > now.plus(leeway) {
            return Err(Rejection::IssuedAhead);
        }
        if issued < now.minus(leeway).minus(oldest) {
            return Err(Rejection::IssuedLongAgo);
        }
        Ok(())
    }

    /// Holds where `aud` names `us` and nobody else who is not in `trusted` (std:47).
    ///
    /// # Errors
    /// Where it is absent, of the wrong type, or names somebody else.
    pub fn check_audience(&self, us: &str, trusted: &[String]) -> Result<(), Rejection> {
        let audiences = self.audiences()?;
        if !audiences.contains(&us) {
            return Err(Rejection::Audience);
        }
        if audiences.iter().any(|named| *named != us && !trusted.iter().any(|known| known == named)) {
            return Err(Rejection::UntrustedAudience);
        }
        Ok(())
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({})", self.0.len())
    }
}

/// A `NumericDate` (RFC 7519 §2) in whole seconds; it may be written with a fraction.
pub fn seconds(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    let fraction = value.as_f64().filter(|number| number.abs() <= FARTHEST)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded by `FARTHEST`, and the fraction is to be cut"
    )]
    Some(fraction.floor() as i64)
}

/// The largest number up to which a double tells every integer.
const FARTHEST: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests;

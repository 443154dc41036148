//! ID tokens: the rules, and the proof that they held.
//!
//! OIDC Core §2, §3.1.3.7, §3.1.3.8, §12.2. Claims are judged before keys are asked for, so that a token that can
//! never pass costs the provider nothing, and an outage of the key set is told apart from a bad token. The rules
//! about keys and fetching are `provider`'s.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::settings::{ClientAuth, Settings};
use super::token::TokenAnswer;
use crate::base::secret::constant_time_eq;
use crate::base::time::Timestamp;
use crate::jwt::algorithm::Family;
use crate::jwt::{Algorithm, Claim, Jws, Rejection, verify};

/// An ID token whose signature and every rule held. Only this room can make one.
pub struct VerifiedIdToken {
    /// All claims.
    pub claims: Map<String, Value>,
    /// `iss`
    pub iss: String,
    /// `sub`
    pub sub: String,
    /// `aud`
    pub aud: Vec<String>,
    /// `sid`: the provider's session (Back-Channel Logout §2.1).
    pub sid: Option<String>,
    /// `auth_time`
    pub auth_time: Option<i64>,
    /// `nonce`
    pub nonce: Option<String>,
    proof: Proof,
}

/// What keeps others from writing down a [`VerifiedIdToken`].
#[derive(Clone, Copy)]
struct Proof;

impl VerifiedIdToken {
    /// What a later ID token of this session must repeat.
    pub fn login_identity(&self) -> LoginIdentity {
        LoginIdentity {
            iss: self.iss.clone(),
            sub: self.sub.clone(),
            aud: self.aud.clone(),
            auth_time: self.auth_time,
            nonce: self.nonce.clone(),
        }
    }
}

#[cfg(test)]
impl VerifiedIdToken {
    /// A login of `subject` whose token nobody looked at, for simulations.
    pub(crate) fn believed(issuer: &str, subject: &str) -> Self {
        let (iss, sub) = (issuer.to_owned(), subject.to_owned());
        let (claims, aud) = (Map::new(), Vec::new());
        Self { claims, iss, sub, aud, sid: None, auth_time: None, nonce: None, proof: Proof }
    }
}

impl fmt::Debug for VerifiedIdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Proof = self.proof;
        write!(f, "VerifiedIdToken({} claims)", self.claims.len())
    }
}

/// Who logged in: what an ID token of a refresh must agree with (OIDC Core §12.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginIdentity {
    /// `iss`
    pub iss: String,
    /// `sub`
    pub sub: String,
    /// `aud`, compared as a set; empty where it was not kept, and then only the general rules apply.
    pub aud: Vec<String>,
    /// `auth_time`, where the login's token had it.
    pub auth_time: Option<i64>,
    /// `nonce`, where it was kept.
    pub nonce: Option<String>,
}

/// Why there is no verified ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// The keys cannot be fetched now; every rule about claims held.
    #[error("the provider's keys are not known")]
    KeysUnavailable,
    /// None came.
    #[error("no ID token came")]
    Missing,
    /// A rule is broken.
    #[error("the ID token was rejected: {0}")]
    Rejected(#[from] Rejection),
}

impl IdTokenError {
    /// A short name for logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::KeysUnavailable => "keys_unavailable",
            Self::Missing => "missing",
            Self::Rejected(rejection) => rejection.label(),
        }
    }
}

/// A token whose claims hold and whose signature is still to be verified.
pub(super) struct Judged<'a> {
    token: Jws<'a>,
}

/// Judges the claims of an ID token that came with a code (§3.1.3.7).
pub(super) fn judge_login<'a>(
    answer: &'a TokenAnswer,
    settings: &Settings,
    nonce: &str,
    now: Timestamp,
) -> Result<Judged<'a>, IdTokenError> {
    let text = answer.id_token.as_ref().ok_or(IdTokenError::Missing)?;
    let judged = judge(text.expose(), answer, settings, now)?;
    let claims = judged.token.claims();
    claims.check_issued(now, settings.clock_leeway, OLDEST)?;
    // std:54, std:178
    if !constant_time_eq(claims.required_text(Claim::Nonce)?.as_bytes(), nonce.as_bytes()) {
        return Err(Rejection::Nonce.into());
    }
    Ok(judged)
}

/// Judges the claims of an ID token that came with a refresh (§12.2; std:67). `None` where none came (std:68).
pub(super) fn judge_refreshed<'a>(
    answer: &'a TokenAnswer,
    settings: &Settings,
    login: &LoginIdentity,
    now: Timestamp,
) -> Result<Option<Judged<'a>>, IdTokenError> {
    let Some(text) = answer.id_token.as_ref() else { return Ok(None) };
    let judged = judge(text.expose(), answer, settings, now)?;
    let claims = judged.token.claims();
    // How old `iat` may be is not limited here: some providers hand out the login's ID token again.
    claims.check_issued(now, settings.clock_leeway, Duration::MAX)?;
    if claims.required_text(Claim::Issuer)? != login.iss {
        return Err(Rejection::Issuer.into());
    }
    if claims.required_text(Claim::Subject)? != login.sub {
        return Err(Rejection::Subject.into());
    }
    let named: BTreeSet<&str> = claims.audiences()?.into_iter().collect();
    if !login.aud.is_empty() && named != login.aud.iter().map(String::as_str).collect() {
        return Err(Rejection::Audience.into());
    }
    let times = (claims.date(Claim::AuthTime)?, login.auth_time);
    if matches!(times, (Some(now), Some(then)) if now != then) {
        return Err(Rejection::AuthTime.into());
    }
    let nonces = (claims.text(Claim::Nonce)?, login.nonce.as_deref());
    if matches!(nonces, (Some(now), Some(then)) if !constant_time_eq(now.as_bytes(), then.as_bytes())) {
        return Err(Rejection::Nonce.into());
    }
    Ok(Some(judged))
}

/// The rules that hold for every ID token.
fn judge<'a>(
    text: &'a str,
    answer: &TokenAnswer,
    settings: &Settings,
    now: Timestamp,
) -> Result<Judged<'a>, Rejection> {
    let token = Jws::parse(text, &allowed(settings))?;
    // std:58: access tokens, logout tokens and the like name their kind; an ID token does not or says `JWT`.
    if token.kind().is_some_and(|kind| kind != "jwt") || token.claims().has(Claim::Events) {
        return Err(Rejection::Kind);
    }
    let claims = token.claims();
    if claims.required_text(Claim::Issuer)? != settings.issuer {
        return Err(Rejection::Issuer);
    }
    // OIDC Core §2: at most 255 characters.
    let subject = claims.required_text(Claim::Subject)?;
    if subject.is_empty() || subject.len() > 255 {
        return Err(Rejection::WrongType(Claim::Subject));
    }
    claims.check_audience(&settings.client_id, &settings.trusted_audiences)?;
    // std:48
    if claims.text(Claim::AuthorizedParty)?.is_some_and(|party| party != settings.client_id) {
        return Err(Rejection::AuthorizedParty);
    }
    claims.check_validity(now, settings.clock_leeway)?;
    // std:55
    if let Some(hash) = claims.text(Claim::AccessTokenHash)? {
        let expected = token.algorithm().half_hash(answer.access_token.expose().as_bytes());
        if !constant_time_eq(hash.as_bytes(), expected.as_bytes()) {
            return Err(Rejection::AccessTokenHash);
        }
    }
    claims.text(Claim::Sid)?;
    claims.date(Claim::AuthTime)?;
    claims.text(Claim::Nonce)?;
    Ok(Judged { token })
}

/// The allow-list. Names that are no algorithms of ours allow nothing.
fn allowed(settings: &Settings) -> Vec<Algorithm> {
    settings.id_token_algorithms.iter().filter_map(|name| Algorithm::from_name(name)).collect()
}

impl Judged<'_> {
    /// The token, for the verification of its signature with the provider's keys.
    pub(super) const fn token(&self) -> &Jws<'_> {
        &self.token
    }

    /// Verifies a signature made with our own secret; `None` where it was made with a key of the provider.
    pub(super) fn verify_with_secret(&self, auth: &ClientAuth) -> Option<Result<(), Rejection>> {
        if self.token.algorithm().family() != Family::Secret {
            return None;
        }
        let (ClientAuth::Basic(secret) | ClientAuth::Post(secret)) = auth;
        Some(verify::with_secret(&self.token, secret.expose().as_bytes()))
    }

    /// The proof. To be called once the signature was verified, and not before.
    pub(super) fn verified(self) -> Result<VerifiedIdToken, Rejection> {
        let claims = self.token.into_claims();
        Ok(VerifiedIdToken {
            iss: claims.required_text(Claim::Issuer)?.to_owned(),
            sub: claims.required_text(Claim::Subject)?.to_owned(),
            aud: claims.audiences()?.into_iter().map(str::to_owned).collect(),
            sid: claims.text(Claim::Sid)?.map(str::to_owned),
            auth_time: claims.date(Claim::AuthTime)?,
            nonce: claims.text(Claim::Nonce)?.map(str::to_owned),
            claims: claims.into_members(),
            proof: Proof,
        })
    }
}

/// A token from the token endpoint is seconds old; Entra ID dates it back by five minutes. An hour is absurd.
const OLDEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests;

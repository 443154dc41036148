//! A session as bytes: what is sealed into the cookie.
//!
//! Compact, and read without a copy.
//!
//! The first byte is the version of the layout. A reader refuses a version it does not know, softly: the cookie of
//! a newer replica is no session here, and is not deleted. Golden bytes of each version are in `tests/data`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::model::{Claims, Identity, NotABearer, Session, SessionId, Tokens, bearer};
use crate::base::secret::Secret;
use crate::base::time::Timestamp;

const VERSION: u8 = 1;

/// The bytes are no session that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer release wrote them.
    #[error("a session of an unknown version")]
    UnknownVersion,
    /// They are of this version, and not as it writes them.
    #[error("not a session that this version can read")]
    Malformed,
}

impl Unreadable {
    /// The word for it in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::UnknownVersion => "unknown_version",
            Self::Malformed => "unreadable",
        }
    }
}

impl From<NotABearer> for Unreadable {
    fn from(_: NotABearer) -> Self {
        Self::Malformed
    }
}

/// A session as it lies in an opened cookie.
#[derive(Serialize, Deserialize)]
pub struct Wire<'a> {
    sid: SessionId,
    generation: u64,
    #[serde(borrow)]
    issuer: &'a str,
    subject: &'a str,
    provider_sid: Option<&'a str>,
    auth_time: Option<i64>,
    nonce: &'a str,
    login_at: Timestamp,
    refreshed_at: Timestamp,
    seen_at: Timestamp,
    expires_at: Timestamp,
    access: &'a str,
    access_expires_at: Timestamp,
    refresh: Option<&'a str>,
    id_token: Option<&'a str>,
    scope: &'a str,
    claims: Cow<'a, str>,
}

/// The beginning of a [`Wire`], as far as it is asked of a session that is known: most requests need no more, and
/// what is longest in it comes after.
#[derive(Debug, Deserialize)]
pub struct Start<'a> {
    /// See [`Session`].
    pub sid: SessionId,
    /// See [`Session`].
    pub generation: u64,
    // Texts that nobody looks at need not be UTF-8.
    _issuer: &'a [u8],
    _subject: &'a [u8],
    _provider_sid: Option<&'a [u8]>,
    _auth_time: Option<i64>,
    _nonce: &'a [u8],
    _login_at: Timestamp,
    _refreshed_at: Timestamp,
    /// See [`Session`].
    pub seen_at: Timestamp,
}

impl std::fmt::Debug for Wire<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("sid", &self.sid)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The bytes of `session`; the caller seals and thereby wipes them.
///
/// # Errors
/// Never for a session that was made here; the codec's own error otherwise.
pub fn encode(session: &Session) -> Result<Vec<u8>, Unreadable> {
    let mut claims = serde_json::to_string(&session.claims).map_err(|_| Unreadable::Malformed)?;
    let wire = Wire {
        sid: session.sid,
        generation: session.generation,
        issuer: &session.identity.issuer,
        subject: &session.identity.subject,
        provider_sid: session.identity.provider_sid.as_deref(),
        auth_time: session.identity.auth_time,
        nonce: &session.identity.nonce,
        login_at: session.login_at,
        refreshed_at: session.refreshed_at,
        seen_at: session.seen_at,
        expires_at: session.expires_at,
        access: session.tokens.access(),
        access_expires_at: session.tokens.access_expires_at,
        refresh: session.tokens.refresh.as_ref().map(|token| token.expose().as_str()),
        id_token: session.tokens.id_token.as_ref().map(|token| token.expose().as_str()),
        scope: &session.tokens.scope,
        claims: Cow::Borrowed(&claims),
    };
    let bytes = postcard::to_extend(&wire, vec![VERSION]).map_err(|_| Unreadable::Malformed);
    drop(wire);
    claims.zeroize();
    bytes
}

/// Reads `bytes` without copying what is in them.
///
/// # Errors
/// Where they are no session of a known version.
pub fn decode(bytes: &[u8]) -> Result<Wire<'_>, Unreadable> {
    postcard::from_bytes(layout(bytes)?).map_err(|_| Unreadable::Malformed)
}

/// The session in `bytes`, with everything copied out.
///
/// # Errors
/// Where they are no session of a known version.
pub fn session(bytes: &[u8]) -> Result<Session, Unreadable> {
    decode(bytes)?.to_session()
}

/// Reads the beginning of `bytes`.
///
/// # Errors
/// Where they do not begin like a session of a known version.
pub fn decode_start(bytes: &[u8]) -> Result<Start<'_>, Unreadable> {
    let (start, _) = postcard::take_from_bytes(layout(bytes)?).map_err(|_| Unreadable::Malformed)?;
    Ok(start)
}

fn layout(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match bytes.split_first() {
        Some((&VERSION, layout)) => Ok(layout),
        Some(_) => Err(Unreadable::UnknownVersion),
        None => Err(Unreadable::Malformed),
    }
}

impl Wire<'_> {
    /// The session with everything copied out.
    ///
    /// # Errors
    /// Where the claims or the access token are not what was sealed by this version.
    pub fn to_session(&self) -> Result<Session, Unreadable> {
        let claims: Claims = serde_json::from_str(&self.claims).map_err(|_| Unreadable::Malformed)?;
        let secret = |token: &str| Secret::new(token.to_owned());
        Ok(Session {
            sid: self.sid,
            generation: self.generation,
            identity: Identity {
                issuer: self.issuer.to_owned(),
                subject: self.subject.to_owned(),
                provider_sid: self.provider_sid.map(str::to_owned),
                auth_time: self.auth_time,
                nonce: self.nonce.to_owned(),
            },
            login_at: self.login_at,
            refreshed_at: self.refreshed_at,
            seen_at: self.seen_at,
            expires_at: self.expires_at,
            tokens: Tokens {
                bearer: bearer(self.access)?,
                access_expires_at: self.access_expires_at,
                refresh: self.refresh.map(secret),
                id_token: self.id_token.map(secret),
                scope: self.scope.to_owned(),
            },
            claims,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::refresh::record::tests::session;

    #[test]
    fn a_session_survives_the_journey() {
        let mut session = session(7);
        session.claims.insert("name".into(), "Ælice \"the\" 1st".into());
        session.identity.provider_sid = Some("op-sid".into());
        session.identity.auth_time = Some(12);
        let bytes = encode(&session).unwrap();
        let start = decode_start(&bytes).unwrap();
        assert_eq!((start.sid, start.generation, start.seen_at), (session.sid, 7, session.seen_at));
        let back = decode(&bytes).unwrap().to_session().unwrap();
        assert_eq!(format!("{session:?}"), format!("{back:?}"));
        assert_eq!(back.tokens.access(), session.tokens.access());
        assert_eq!(back.tokens.refresh.unwrap().expose(), session.tokens.refresh.unwrap().expose());
    }

    #[test]
    fn the_layout_of_version_1_is_fixed() {
        let bytes = encode(&session(7)).unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = include_str!("../../tests/data/session-v1.hex").trim_end();
        assert_eq!(hex, golden, "a change of the layout needs a new version, or a deploy logs users out");
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut bytes = encode(&session(7)).unwrap();
        bytes[0] = 2;
        assert!(matches!(decode(&bytes), Err(Unreadable::UnknownVersion)));
        assert!(matches!(decode_start(&bytes), Err(Unreadable::UnknownVersion)));
        assert!(matches!(decode(&[]), Err(Unreadable::Malformed)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(wire) = decode(&bytes) {
                prop_assert!(decode_start(&bytes).is_ok());
                drop(wire.to_session());
            }
        }
    }
}

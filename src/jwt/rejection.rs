//! Why a token is not believed: one variant per rule.
//!
//! What a rejection does to a login or a request is decided by whoever asked.

use super::claims::Claim;

/// The rule that a token broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Longer than any token we take.
    #[error("the token is longer than 16 KiB")]
    TooLong,
    /// Not three parts joined by dots: JSON serialization, an encrypted token, something else.
    #[error("the token is not a compact JWS")]
    NotCompact,
    /// A part is not base64url without padding.
    #[error("a part of the token is not base64url")]
    Encoding,
    /// Header or payload is not a JSON object.
    #[error("header or payload is not a JSON object")]
    NotJson,
    /// A member of header or payload occurs twice.
    #[error("a member of header or payload occurs twice")]
    DuplicateMember,
    /// A header member we read has the wrong JSON type, or `alg` is absent.
    #[error("the header is malformed")]
    Header,
    /// The header lists extensions that must be understood; we understand none.
    #[error("the header has `crit`")]
    Critical,
    /// `alg` is not in the allow-list.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// `typ`, or a claim, says that this is another kind of token.
    #[error("the token is of another kind")]
    Kind,
    /// No key of the set fits.
    #[error("no known key fits the token")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    Signature,
    /// A claim that must be there is not.
    #[error("the claim `{}` is missing", .0.name())]
    Missing(Claim),
    /// A claim has the wrong JSON type, or a value that its type cannot hold.
    #[error("the claim `{}` has the wrong type", .0.name())]
    WrongType(Claim),
    /// `iss` is not the issuer.
    #[error("the issuer is another")]
    Issuer,
    /// `sub` is not the user of the login.
    #[error("the subject is another")]
    Subject,
    /// `aud` does not name us, or is not that of the login.
    #[error("the audience is another")]
    Audience,
    /// `aud` names somebody who is not configured as trusted.
    #[error("the audience names an untrusted party")]
    UntrustedAudience,
    /// `azp` is not our client.
    #[error("the authorized party is another")]
    AuthorizedParty,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` lies ahead.
    #[error("the token was issued in the future")]
    IssuedAhead,
    /// `iat` lies absurdly far back.
    #[error("the token was issued too long ago")]
    IssuedLongAgo,
    /// `nonce` is not the one that was sent.
    #[error("the nonce is another")]
    Nonce,
    /// `at_hash` is not the access token's.
    #[error("the token does not belong to the access token")]
    AccessTokenHash,
    /// `auth_time` is not that of the login.
    #[error("the authentication time is another")]
    AuthTime,
}

impl Rejection {
    /// A short name for logs and metrics; it never changes.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotCompact => "not_compact",
            Self::Encoding => "bad_encoding",
            Self::NotJson => "not_json",
            Self::DuplicateMember => "duplicate_member",
            Self::Header => "bad_header",
            Self::Critical => "critical_header",
            Self::Algorithm => "algorithm_not_allowed",
            Self::Kind => "wrong_kind",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "bad_signature",
            Self::Missing(_) => "missing_claim",
            Self::WrongType(_) => "claim_type",
            Self::Issuer => "wrong_issuer",
            Self::Subject => "wrong_subject",
            Self::Audience => "wrong_audience",
            Self::UntrustedAudience => "untrusted_audience",
            Self::AuthorizedParty => "wrong_authorized_party",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedAhead => "issued_ahead",
            Self::IssuedLongAgo => "issued_long_ago",
            Self::Nonce => "wrong_nonce",
            Self::AccessTokenHash => "wrong_at_hash",
            Self::AuthTime => "wrong_auth_time",
        }
    }
}

//! Error codes of OAuth and OpenID Connect.
//!
//! RFC 6749 §4.1.2.1 and §5.2, OIDC Core §3.1.2.6. `error_description` is never read: it is the peer's text.

/// A code by which the provider refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OAuthError {
    /// `invalid_grant`: code or refresh token is spent, expired, revoked or another client's.
    InvalidGrant,
    /// `invalid_client`: our credentials are wrong. Never a reason to end a session.
    InvalidClient,
    /// `unauthorized_client`
    UnauthorizedClient,
    /// `invalid_request`
    InvalidRequest,
    /// `invalid_scope`
    InvalidScope,
    /// `unsupported_grant_type`
    UnsupportedGrantType,
    /// `access_denied`
    AccessDenied,
    /// `login_required`
    LoginRequired,
    /// `interaction_required`
    InteractionRequired,
    /// `consent_required`
    ConsentRequired,
    /// `temporarily_unavailable`
    TemporarilyUnavailable,
    /// Any other code: at most 64 letters, digits, `_`, `-`, `.`; `malformed` where it is something else.
    Other(String),
}

impl OAuthError {
    /// The value of a member or parameter `error`.
    pub fn from_code(code: &str) -> Self {
        match code {
            "invalid_grant" => Self::InvalidGrant,
            "invalid_client" => Self::InvalidClient,
            "unauthorized_client" => Self::UnauthorizedClient,
            "invalid_request" => Self::InvalidRequest,
            "invalid_scope" => Self::InvalidScope,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "access_denied" => Self::AccessDenied,
            "login_required" => Self::LoginRequired,
            "interaction_required" => Self::InteractionRequired,
            "consent_required" => Self::ConsentRequired,
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            other if is_presentable(other) => Self::Other(other.to_owned()),
            _ => Self::Other(String::from("malformed")),
        }
    }

    /// The code as it may be logged. As a metric's label take [`Self::label`].
    pub fn code(&self) -> &str {
        if let Self::Other(code) = self { code } else { self.label() }
    }

    /// The code, or `other`: a closed set.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::InvalidGrant => "invalid_grant",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::ConsentRequired => "consent_required",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::Other(_) => "other",
        }
    }
}

fn is_presentable(code: &str) -> bool {
    (1..=LONGEST).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// Twice the longest registered code.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_known_or_presentable_or_malformed() {
        let cases = [
            ("invalid_grant", "invalid_grant"),
            ("consent_required", "consent_required"),
            ("Invalid_Grant", "Invalid_Grant"),
            ("slow_down", "slow_down"),
            ("", "malformed"),
            ("a b", "malformed"),
            ("<script>", "malformed"),
            ("x\r\ny", "malformed"),
        ];
        for (code, expected) in cases {
            assert_eq!(OAuthError::from_code(code).code(), expected);
        }
        assert_eq!(OAuthError::from_code(&"a".repeat(65)).code(), "malformed");
        assert_eq!(OAuthError::from_code("slow_down").label(), "other");
    }
}

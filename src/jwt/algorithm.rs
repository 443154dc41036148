//! Signature algorithms we verify, by their registered names.
//!
//! RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2. `none` has no value here and so can never be allowed.

use aws_lc_rs::digest;

/// A signature algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512
    Rs512,
    /// RSASSA-PSS with SHA-256
    Ps256,
    /// RSASSA-PSS with SHA-384
    Ps384,
    /// RSASSA-PSS with SHA-512
    Ps512,
    /// ECDSA on P-256 with SHA-256
    Es256,
    /// ECDSA on P-384 with SHA-384
    Es384,
    /// Ed25519, named `EdDSA` or `Ed25519`
    EdDsa,
}

/// The kind of key an algorithm needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A shared secret
    Secret,
    /// RSA
    Rsa,
    /// The curve P-256
    P256,
    /// The curve P-384
    P384,
    /// Ed25519
    Ed25519,
}

impl Algorithm {
    /// The algorithm of this name; names are case-sensitive (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "HS256" => Self::Hs256,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The kind of key it needs. One family never verifies with a key of another (RFC 8725 §2.1).
    pub const fn family(self) -> Family {
        match self {
            Self::Hs256 => Family::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Family::Rsa,
            Self::Es256 => Family::P256,
            Self::Es384 => Family::P384,
            Self::EdDsa => Family::Ed25519,
        }
    }

    /// The left half of `data`'s hash as base64url: the form of `at_hash` (OIDC Core §3.1.3.6).
    pub fn half_hash(self, data: &[u8]) -> String {
        let hash = match self {
            Self::Hs256 | Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &digest::SHA384,
            // Ed25519 hashes with SHA-512 (RFC 8032 §5.1).
            Self::Rs512 | Self::Ps512 | Self::EdDsa => &digest::SHA512,
        };
        let whole = digest::digest(hash, data);
        let half = whole.as_ref().split_at(whole.as_ref().len() / 2).0;
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_hash_is_that_of_the_specification() {
        // OIDC Core A.3: the `c_hash`-like example, access token and its `at_hash`.
        assert_eq!(
            Algorithm::Rs256.half_hash(b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
        assert_eq!(Algorithm::Es384.half_hash(b"x").len(), 32);
        assert_eq!(Algorithm::EdDsa.half_hash(b"x").len(), 43);
    }

    #[test]
    fn none_is_no_algorithm_however_it_is_written() {
        for name in ["none", "None", "NONE", "nOnE", "", "rs256", "HS384", "ES512", "ES256K", "Ed448"] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}

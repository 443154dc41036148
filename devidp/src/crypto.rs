//! Random strings, hashes and comparisons.

use aws_lc_rs::{constant_time, digest, rand};
use base64_simd::URL_SAFE_NO_PAD;

/// 192 random bits in base64url: for codes, tokens, cookies and ids.
pub(crate) fn random_string() -> String {
    let mut bytes = [0; 24];
    fill(&mut bytes);
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

/// A number below `bound`, or 0 if there is none. The bias of the remainder does not matter for delays.
pub(crate) fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_be_bytes(bytes).checked_rem(bound).unwrap_or_default()
}

/// base64url of the SHA-256 digest, as PKCE's S256 wants it.
pub(crate) fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode_to_string(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// base64url of the left half of the SHA-256 digest, as `at_hash` wants it.
pub(crate) fn half_sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let half = digest.as_ref().get(..16).unwrap_or_default();
    URL_SAFE_NO_PAD.encode_to_string(half)
}

/// Whether two secrets are the same, in time that says nothing about them but their lengths.
pub(crate) fn same(left: &str, right: &str) -> bool {
    constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[expect(clippy::expect_used, reason = "without random numbers there is no provider, and nothing left to do")]
fn fill(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the system's random numbers");
}

//! Secrets that cannot be printed by accident.
//!
//! Randomness, hashing and constant-time comparison too.
//!
//! Randomness is not injectable: a generator that a test can replace is one that a mistake can replace.

use std::fmt;

use aws_lc_rs::{digest, rand};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// A value that is wiped when dropped and prints as `[secret]`.
///
/// It has no `Clone`, `Display`, `Deref` or `Serialize`: the one way out is [`Secret::expose`].
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes `value` into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for the place that must send, seal or verify it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// A second custody of the same text.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// Where the system has no randomness to give; going on without it would be worse.
#[expect(clippy::expect_used, reason = "without randomness no session may be made")]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random generator answers");
    bytes
}

/// `N` random bytes as base64url without padding.
pub fn random_text<const N: usize>() -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(random::<N>())
}

/// SHA-256.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

/// Compares without telling by time where the difference is. Lengths are not secret. std:178
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn random_values_differ() {
        assert_ne!(random::<16>(), random::<16>());
        assert_eq!(random_text::<32>().len(), 43);
    }
}

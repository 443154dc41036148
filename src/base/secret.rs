//! Secrets that cannot be printed by accident.
//!
//! Randomness, hashing and constant-time comparison too.
//!
//! Randomness is not injectable: a generator that a test can replace is one that a mistake can replace. The one
//! exception exists in this crate's own unit tests only, where simulations must repeat themselves.

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

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether both are the same. Takes as long for a near miss as for any other.
    pub fn is_same(&self, other: &Self) -> bool {
        constant_time_eq(self.0.as_ref(), other.0.as_ref())
    }
}

impl<T: Zeroize + Clone> Secret<T> {
    /// A second custody of the same value.
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
    #[cfg(test)]
    if seeded::fill(&mut bytes) {
        return bytes;
    }
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

/// Randomness from a seed, for simulations: not there outside of unit tests.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::Cell;

    thread_local! {
        static STREAM: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on this thread's randomness comes from `stream`, or from the system; returns what it came from.
    pub(crate) fn replace(stream: Option<u64>) -> Option<u64> {
        STREAM.replace(stream)
    }

    /// The next number of `state` (SplitMix64).
    pub(crate) fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut state) = STREAM.get() else { return false };
        for piece in bytes.chunks_mut(8) {
            let number = next(&mut state).to_le_bytes();
            piece.copy_from_slice(&number[..piece.len()]);
        }
        STREAM.set(Some(state));
        true
    }
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

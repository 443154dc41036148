//! Seals values under a ring of keys: XAES-256-GCM, bound to purpose and name.
//!
//! A sealed value reads `1.<key id>.<base64url(nonce ‖ ciphertext ‖ tag)>`. Version, key id, purpose and the name
//! of what carries it are additional data, so that a value moved elsewhere does not open (std:87). The 192-bit
//! nonce is random: one nonce never meets one key twice at any scale (std:175). Each purpose has a sub-key of its
//! own (std:177). Every failure to open looks the same from outside (std:86).
//!
//! XAES-256-GCM: <https://c2sp.org/XAES-256-GCM>.

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{self, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::hkdf;
use zeroize::Zeroize;

use crate::base::secret::random;
use crate::session::settings::Key;

const NONCE: usize = 24;
const TAG: usize = 16;

/// What sealed values are for. Values of one purpose never open as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The session cookie.
    Session,
    /// The `state` of a login under way.
    Login,
    /// What replicas share in a store.
    Store,
}

impl Purpose {
    const fn label(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Login => "login",
            Self::Store => "store",
        }
    }
}

/// Why a value did not open. For metrics; clients get one answer for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It does not look like a sealed value.
    #[error("not a sealed value")]
    Malformed,
    /// It was sealed by a version this one does not know: an older replica beside a newer one.
    #[error("sealed by an unknown version")]
    UnknownVersion,
    /// Its key is not in the ring.
    #[error("sealed with a key that is not in the ring")]
    UnknownKey,
    /// Its bits, purpose or name are not those that were sealed.
    #[error("not authentic")]
    Forged,
}

/// A key could not be used: cryptography refused it. Does not happen with keys of 256 bits.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the session key cannot be used")]
pub struct KeyRefused;

/// Seals with the first key of a ring and opens with any.
pub struct Sealer {
    keys: ArcSwap<Vec<RingKey>>,
    purpose: Purpose,
    name: String,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("purpose", &self.purpose)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Sealer {
    /// A sealer of `purpose` for values that travel under `name`.
    ///
    /// # Errors
    /// Where the ring is empty or a key is refused.
    pub fn new(keys: &[Key], purpose: Purpose, name: &str) -> Result<Self, KeyRefused> {
        let keys = ArcSwap::from_pointee(ring(keys, purpose, name)?);
        Ok(Self { keys, purpose, name: name.to_owned() })
    }

    /// Goes on with another ring.
    ///
    /// # Errors
    /// Where it is empty or a key is refused; nothing is changed then.
    pub fn replace(&self, keys: &[Key]) -> Result<(), KeyRefused> {
        self.keys.store(ring(keys, self.purpose, &self.name)?.into());
        Ok(())
    }

    /// Seals `plain`, which is wiped.
    ///
    /// # Errors
    /// Where the value is longer than the cipher takes; a cookie never is.
    pub fn seal(&self, plain: Vec<u8>) -> Result<String, KeyRefused> {
        self.seal_with_nonce(plain, random::<NONCE>())
    }

    fn seal_with_nonce(&self, mut plain: Vec<u8>, nonce: [u8; NONCE]) -> Result<String, KeyRefused> {
        let keys = self.keys.load();
        let key = keys.first().ok_or(KeyRefused)?;
        let (message_key, message_nonce) = key.message_key(nonce)?;
        let tag = message_key
            .seal_in_place_separate_tag(message_nonce, Aad::from(&key.aad), &mut plain)
            .map_err(|_| KeyRefused)?;
        let mut bytes = Vec::with_capacity(NONCE + plain.len() + TAG);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&plain);
        bytes.extend_from_slice(tag.as_ref());
        let mut out = String::with_capacity(key.prefix.len() + bytes.len() * 4 / 3 + 3);
        out.push_str(&key.prefix);
        base64_simd::URL_SAFE_NO_PAD.encode_append(&bytes, &mut out);
        Ok(out)
    }

    /// Opens `sealed` in `buffer`, which is overwritten, and returns the plain bytes in it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open<'b>(&self, sealed: &[u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8], OpenError> {
        let keys = self.keys.load();
        let (key, encoded) = find_key(&keys, sealed)?;
        buffer.clear();
        base64_simd::URL_SAFE_NO_PAD.decode_append(encoded, buffer).map_err(|_| OpenError::Malformed)?;
        let (nonce, body) = buffer.split_first_chunk_mut::<NONCE>().ok_or(OpenError::Malformed)?;
        let (message_key, message_nonce) = key.message_key(*nonce).map_err(|_| OpenError::Malformed)?;
        let plain = message_key
            .open_in_place(message_nonce, Aad::from(&key.aad), body)
            .map_err(|_| OpenError::Forged)?;
        Ok(plain)
    }
}

fn ring(keys: &[Key], purpose: Purpose, name: &str) -> Result<Vec<RingKey>, KeyRefused> {
    let keys = keys.iter().map(|key| RingKey::derive(key, purpose, name)).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(KeyRefused) } else { Ok(keys) }
}

fn find_key<'k, 's>(keys: &'k [RingKey], sealed: &'s [u8]) -> Result<(&'k RingKey, &'s [u8]), OpenError> {
    for key in keys {
        if let Some(encoded) = sealed.strip_prefix(key.prefix.as_bytes()) {
            return Ok((key, encoded));
        }
    }
    let mut parts = sealed.splitn(3, |&b| b == b'.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(b"1"), Some(_), Some(_)) => Err(OpenError::UnknownKey),
        (Some(version), Some(_), Some(_)) if version.len() <= 3 && version.iter().all(u8::is_ascii_digit) => {
            Err(OpenError::UnknownVersion)
        }
        _ => Err(OpenError::Malformed),
    }
}

struct RingKey {
    /// `1.<key id>.`
    prefix: String,
    /// Version, key id, purpose and name, each with its length before it.
    aad: Vec<u8>,
    block: EncryptingKey,
    /// K1 of CMAC (NIST SP 800-38B), which XAES' key derivation masks its input with.
    k1: [u8; 16],
}

impl RingKey {
    fn derive(key: &Key, purpose: Purpose, name: &str) -> Result<Self, KeyRefused> {
        let info = [b"bearward/1/", purpose.label().as_bytes()];
        let mut sub_key = [0; 32];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"bearward session keys")
            .extract(key.bytes.expose())
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut sub_key))
            .map_err(|_| KeyRefused)?;
        let mut aad = Vec::new();
        for part in ["1", &key.id, purpose.label(), name] {
            aad.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        let made = Self::new(&sub_key, format!("1.{}.", key.id), aad);
        sub_key.zeroize();
        made
    }

    fn new(key: &[u8; 32], prefix: String, aad: Vec<u8>) -> Result<Self, KeyRefused> {
        let block = UnboundCipherKey::new(&cipher::AES_256, key)
            .and_then(EncryptingKey::ecb)
            .map_err(|_| KeyRefused)?;
        let mut l = [0; 16];
        block.encrypt(&mut l).map_err(|_| KeyRefused)?;
        Ok(Self { prefix, aad, block, k1: double(l) })
    }

    /// XAES-256-GCM's derivation: an AES-256-GCM key and a 96-bit nonce from a 192-bit nonce.
    fn message_key(&self, nonce: [u8; NONCE]) -> Result<(LessSafeKey, Nonce), KeyRefused> {
        let (selector, rest) = nonce.split_at(12);
        let mut derived = [0; 32];
        for (block, counter) in derived.chunks_exact_mut(16).zip([1, 2]) {
            let mut input = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            if let Some((_, free)) = input.split_first_chunk_mut::<4>() {
                free.copy_from_slice(selector);
            }
            let masked = u128::from_ne_bytes(input) ^ u128::from_ne_bytes(self.k1);
            block.copy_from_slice(&masked.to_ne_bytes());
        }
        self.block.encrypt(&mut derived).map_err(|_| KeyRefused)?;
        let key = UnboundKey::new(&AES_256_GCM, &derived).map_err(|_| KeyRefused)?;
        derived.zeroize();
        let nonce = Nonce::try_assume_unique_for_key(rest).map_err(|_| KeyRefused)?;
        Ok((LessSafeKey::new(key), nonce))
    }
}

/// Doubling in GF(2^128), the step from L to K1 in CMAC.
fn double(l: [u8; 16]) -> [u8; 16] {
    let value = u128::from_be_bytes(l);
    let carry = if value >> 127 == 1 { 0x87 } else { 0 };
    ((value << 1) ^ carry).to_be_bytes()
}

#[cfg(test)]
mod tests;

//! Session keys and client secrets: 256 bits, and nothing that everybody knows.

use std::collections::HashSet;

use crate::base::secret::{Secret, sha256};

/// Reads a session key as base64url, base64 or hex; the error says what is wrong with it, never what it is.
pub(super) fn decode(text: &str) -> Result<Secret<[u8; 32]>, &'static str> {
    let text = text.trim();
    if is_placeholder(text) || EXAMPLE_KEYS.contains(&text) {
        return Err("a placeholder, not a key");
    }
    let bytes = decode_bytes(text).ok_or("not a key in base64url, base64 or hex")?;
    let bytes = Secret::new(bytes);
    let key: [u8; 32] = bytes.expose().as_slice().try_into().map_err(|_| {
        if bytes.expose().len() < 32 { "shorter than 256 bits" } else { "longer than 256 bits" }
    })?;
    let key = Secret::new(key);
    if is_guessable(key.expose()) { Err("not a random key") } else { Ok(key) }
}

/// A key's id where none is given: the same in every replica, whatever its place in the list.
pub(super) fn derived_id(key: &[u8; 32]) -> String {
    let mut named = b"bearward session key id\0".to_vec();
    named.extend_from_slice(key);
    let digest = sha256(&named);
    zeroize::Zeroize::zeroize(&mut named);
    let mut id = base64_simd::URL_SAFE_NO_PAD.encode_to_string(digest);
    id.truncate(8);
    id
}

/// Whether a key's id is in the form that the cookie can carry.
pub(super) fn is_id(id: &str) -> bool {
    (1..=16).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// Whether a secret is what templates and tutorials put where a secret belongs.
pub(super) fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let letters: String = text.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let bracketed = text.starts_with(['<', '[', '{']) && text.ends_with(['>', ']', '}']);
    let repeated = text.len() > 1 && text.chars().collect::<HashSet<_>>().len() == 1;
    letters.is_empty()
        || bracketed
        || repeated
        || PLACEHOLDERS.contains(&letters.as_str())
        || PLACEHOLDER_BEGINNINGS.iter().any(|beginning| letters.starts_with(beginning))
}

fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, _) = text.as_bytes().as_chunks::<2>();
        return pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    }
    let text = text.trim_end_matches('=');
    let alphabet =
        if text.contains(['+', '/']) { base64_simd::STANDARD_NO_PAD } else { base64_simd::URL_SAFE_NO_PAD };
    alphabet.decode_to_vec(text).ok()
}

/// Whether a key was made by hand. 32 random bytes look like this less than once in 2⁴⁰ keys.
fn is_guessable(key: &[u8; 32]) -> bool {
    let few = key.iter().collect::<HashSet<_>>().len() < 16;
    let periodic = (1..=16).any(|period| key.iter().zip(key.iter().skip(period)).all(|(a, b)| a == b));
    let steps: HashSet<u8> = key.iter().zip(key.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a)).collect();
    let typed = key.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    few || periodic || steps.len() == 1 || typed
}

/// Keys that our own documentation shows.
const EXAMPLE_KEYS: &[&str] = &["kR0mZp3yXb6vQ1tWc9uJ4sLh7fNd2gAe8iToUxYqMzE"];
const PLACEHOLDERS: &[&str] = &[
    "secret",
    "clientsecret",
    "mysecret",
    "topsecret",
    "supersecret",
    "password",
    "passw0rd",
    "hunter2",
    "test",
    "todo",
    "tbd",
    "fixme",
    "none",
    "null",
    "default",
    "dummy",
    "foobar",
    "foo",
    "bar",
    "xxx",
    "redacted",
    "sessionkey",
    "key",
    "secretkey",
    "123456",
    "12345678",
];
const PLACEHOLDER_BEGINNINGS: &[&str] =
    &["changeme", "changethis", "replaceme", "replacethis", "replacewith", "placeholder", "example", "your"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::random;

    #[track_caller]
    fn check(text: &str, expected: Result<(), &str>) {
        assert_eq!(decode(text).map(drop), expected, "{text}");
    }

    #[test]
    fn three_forms_of_one_key() {
        let key = random::<32>();
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        for text in [
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(key),
            base64_simd::URL_SAFE.encode_to_string(key),
            base64_simd::STANDARD.encode_to_string(key),
            hex.to_uppercase(),
            format!(" {hex}\n"),
        ] {
            assert_eq!(decode(&text).map(|key| *key.expose()), Ok(key));
        }
    }

    #[test]
    fn what_is_no_key() {
        let encode = |bytes: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes);
        let counted: Vec<u8> = (0..32).collect();
        check("changeme", Err("a placeholder, not a key"));
        check("secret", Err("a placeholder, not a key"));
        check("<session key>", Err("a placeholder, not a key"));
        check("", Err("a placeholder, not a key"));
        for example in EXAMPLE_KEYS {
            check(example, Err("a placeholder, not a key"));
        }
        check("not a key at all!", Err("not a key in base64url, base64 or hex"));
        check(&encode(&random::<31>()), Err("shorter than 256 bits"));
        check(&encode(&random::<16>()), Err("shorter than 256 bits"));
        check("0123456789abcdef0123456789abcdef", Err("shorter than 256 bits"));
        check(&encode(&random::<33>()), Err("longer than 256 bits"));
        check(&"0".repeat(64), Err("a placeholder, not a key"));
        check(&encode(&[7; 32]), Err("not a random key"));
        check(&encode(&counted), Err("not a random key"));
        check(&encode(b"correct horse battery staple!!!!"), Err("not a random key"));
    }

    #[test]
    fn random_keys_pass() {
        for _ in 0..1000 {
            assert!(!is_guessable(&random::<32>()));
        }
    }

    #[test]
    fn ids() {
        let key = random::<32>();
        assert_eq!(derived_id(&key), derived_id(&key));
        assert_ne!(derived_id(&key), derived_id(&random::<32>()));
        for (id, expected) in [("2026-11", true), ("", false), ("a.b", false), ("aaaaaaaaaaaaaaaaa", false)] {
            assert_eq!(is_id(id), expected, "{id}");
        }
        assert!(is_id(&derived_id(&key)));
    }
}

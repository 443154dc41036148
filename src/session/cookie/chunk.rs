//! Splits a sealed value that is too long for one cookie, and joins it again.
//!
//! A browser keeps at most 4,096 bytes of name and value (6265bis §5.6). A longer value becomes two or three
//! cookies, `name`, `name.1`, `name.2`, each beginning with `<generation>-<index>-<count>.`: all or nothing, of one
//! generation (std:90). The count is bounded by a constant, never by what a client says (CVE-2024-24814).

/// The most cookies a session is split into.
pub const MAX_CHUNKS: usize = 3;

/// What a browser keeps of name and value together.
const COOKIE_BYTES: usize = 4096;

/// The longest name of a chunk: `.1` after the cookie's name, `=` after that.
const NAME_EXTRA: usize = 3;

/// `18446744073709551615-2-3.`
const HEADER_BYTES: usize = 25;

/// The value does not fit into [`MAX_CHUNKS`] cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session needs {bytes} bytes of cookie, more than a browser keeps in {MAX_CHUNKS} cookies")]
pub struct TooLong {
    /// The length of the sealed value.
    pub bytes: usize,
}

/// The values of the cookies that carry `sealed`, in order.
///
/// # Errors
/// Where it does not fit (std:89).
pub fn split(sealed: &str, name: &str, generation: u64) -> Result<Vec<String>, TooLong> {
    let room = COOKIE_BYTES.saturating_sub(name.len() + NAME_EXTRA);
    if sealed.len() <= room {
        return Ok(vec![sealed.to_owned()]);
    }
    let piece = room - HEADER_BYTES;
    let count = sealed.len().div_ceil(piece);
    if count > MAX_CHUNKS {
        return Err(TooLong { bytes: sealed.len() });
    }
    // A sealed value is ASCII, so any cut is a character boundary.
    let pieces = sealed.as_bytes().chunks(piece).enumerate();
    Ok(pieces
        .map(|(index, piece)| format!("{generation}-{index}-{count}.{}", String::from_utf8_lossy(piece)))
        .collect())
}

/// Joins the values of `name`, `name.1`, `name.2` into `joined`. `None`: chunks are missing or of mixed generations.
pub fn join<'a>(values: &[Option<&'a [u8]>; MAX_CHUNKS], joined: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let [first, rest @ ..] = values;
    let first = (*first)?;
    let Some((generation, 0, count, piece)) = header(first) else {
        return Some(first);
    };
    if !(2..=MAX_CHUNKS).contains(&count) {
        return None;
    }
    joined.clear();
    joined.extend_from_slice(piece);
    for (index, value) in rest.iter().enumerate().take(count - 1) {
        let (its_generation, its_index, its_count, piece) = header((*value)?)?;
        if (its_generation, its_index, its_count) != (generation, index + 1, count) {
            return None;
        }
        joined.extend_from_slice(piece);
    }
    Some(joined)
}

/// Generation, index, count and piece of a chunk; `None` where the value is not a chunk.
fn header(value: &[u8]) -> Option<(u64, usize, usize, &[u8])> {
    let dot = value.iter().take(HEADER_BYTES).position(|&byte| byte == b'.')?;
    let (header, piece) = value.split_at_checked(dot)?;
    let mut numbers = std::str::from_utf8(header).ok()?.split('-');
    let generation = numbers.next()?.parse().ok()?;
    let index = numbers.next()?.parse().ok()?;
    let count = numbers.next()?.parse().ok()?;
    if numbers.next().is_some() {
        return None;
    }
    Some((generation, index, count, piece.get(1..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(values: &[&str]) -> Option<String> {
        let mut slots = [None; MAX_CHUNKS];
        for (slot, value) in slots.iter_mut().zip(values) {
            *slot = (!value.is_empty()).then_some(value.as_bytes());
        }
        let mut buffer = Vec::new();
        join(&slots, &mut buffer).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_value_that_fits_stays_whole() {
        let sealed = format!("1.k.{}", "a".repeat(4000));
        assert_eq!(split(&sealed, "__Host-bearward", 7).unwrap(), std::slice::from_ref(&sealed));
        assert_eq!(joined(&[&sealed]).unwrap(), sealed);
    }

    #[test]
    fn no_cookie_is_longer_than_a_browser_keeps() {
        // std:89
        let sealed = format!("1.k.{}", "a".repeat(11_000));
        for (index, value) in split(&sealed, "__Host-bearward", u64::MAX).unwrap().iter().enumerate() {
            assert!(format!("__Host-bearward.{index}={value}").len() <= 4096 + 1);
        }
        let too_long = "a".repeat(12_300);
        assert_eq!(split(&too_long, "__Host-bearward", 7), Err(TooLong { bytes: 12_300 }));
    }

    #[test]
    fn chunks_join_all_or_nothing_and_of_one_generation() {
        // std:90
        let value = |generation, index, count| format!("{generation}-{index}-{count}.xyz");
        let (a, b, c) = (value(5, 0, 3), value(5, 1, 3), value(5, 2, 3));
        assert_eq!(joined(&[&a, &b, &c]).unwrap(), "xyzxyzxyz");
        for wrong in [
            [a.as_str(), &b, ""],
            [&a, "", &c],
            ["", &b, &c],
            [&a, &c, &b],
            [&a, &value(6, 1, 3), &c],
            [&a, &value(5, 1, 2), &c],
            [&value(5, 0, 1), "", ""],
            [&value(5, 0, 4), &value(5, 1, 4), &value(5, 2, 4)],
            [&a, "1.k.xyz", &c],
        ] {
            assert_eq!(joined(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_count_from_a_client_drives_no_loop() {
        // CVE-2024-24814: mod_auth_openidc trusted `session_chunks`.
        let huge = format!("5-0-{}.xyz", usize::MAX);
        assert_eq!(joined(&[&huge]), None);
        assert_eq!(joined(&["5-0-4000000.xyz"]), None);
    }

    proptest! {
        #[test]
        fn what_was_split_joins(length in 1_usize..12_000, generation: u64) {
            let sealed: String = (0..length).map(|i| char::from(b'a' + u8::try_from(i % 26).unwrap())).collect();
            let sealed = format!("1.k.{sealed}");
            let values = split(&sealed, "__Host-bearward", generation).unwrap();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            prop_assert_eq!(joined(&values).unwrap(), sealed);
        }
    }
}

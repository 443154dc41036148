//! Paths that can be read in one way only.
//!
//! A gateway that judges one reading of a path and forwards another lets requests past its rules. Nothing is
//! normalised here: a path that a server behind us could read differently is refused (std:122), so the bytes
//! judged are the bytes forwarded. A wrong yes is a way around every route; a wrong no is a 400.
//!
//! Percent-encoded unreserved characters (`%61` for `a`) are refused too: RFC 3986 §6.2.2.2 calls them equal to
//! the plain letter, and whether the server behind us agrees cannot be known.

use crate::gate::denial::Denial;

/// A path that has one reading. Only [`judge`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedPath<'a>(&'a str);

impl<'a> JudgedPath<'a> {
    /// The path, byte for byte as received.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A request target whose path has one reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Everything before the first `?`.
    pub path: JudgedPath<'a>,
    /// Everything after it.
    pub query: Option<&'a str>,
}

/// Judges a request target: origin form, or absolute form of which path and query are taken.
///
/// # Errors
/// [`Denial::AmbiguousPath`] with the first thing that could be read in two ways.
pub fn judge(target: &[u8]) -> Result<Target<'_>, Denial> {
    let target = origin_form(target)?;
    let text = std::str::from_utf8(target).map_err(|_| Denial::AmbiguousPath("not ASCII"))?;
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    check(path.as_bytes()).map_err(Denial::AmbiguousPath)?;
    if query.is_some_and(|query| query.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b'#')) {
        return Err(Denial::BadRequest("the query holds a character that must be encoded"));
    }
    Ok(Target { path: JudgedPath(path), query })
}

/// Cuts scheme and authority off an absolute-form target (RFC 9112 §3.2.2).
fn origin_form(target: &[u8]) -> Result<&[u8], Denial> {
    if target.first() == Some(&b'/') {
        return Ok(target);
    }
    let rest = strip_scheme(target).ok_or(Denial::AmbiguousPath("does not start with a slash"))?;
    let start = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    match rest.get(start..) {
        Some([]) | None => Ok(b"/"),
        Some(path) if path.first() == Some(&b'/') => Ok(path),
        // `http://host?q` has an empty path; writing the slash would forward other bytes than were judged.
        Some(_) => Err(Denial::AmbiguousPath("does not start with a slash")),
    }
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = target.split_at_checked(memchr::memchr(b':', target)?)?;
    let known = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    rest.strip_prefix(b"://").filter(|_| known)
}

fn check(path: &[u8]) -> Result<(), &'static str> {
    let mut segment = 0;
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        match byte {
            b'/' => {
                check_segment(path.get(segment + 1..at).unwrap_or_default(), Last::No)?;
                segment = at;
            }
            b'%' => {
                check_encoded(path.get(at + 1..at + 3), path.get(at + 3..at + 5))?;
                at += 2;
            }
            b'\\' => return Err("backslash"),
            b';' => return Err("semicolon"),
            b'#' => return Err("fragment"),
            0x21..=0x7e => {}
            0x80.. => return Err("not ASCII"),
            _ => return Err("control character"),
        }
        at += 1;
    }
    check_segment(path.get(segment + 1..).unwrap_or_default(), Last::Yes)
}

#[derive(PartialEq)]
enum Last {
    Yes,
    No,
}

fn check_segment(segment: &[u8], last: Last) -> Result<(), &'static str> {
    match segment {
        b"" if last == Last::No => Err("empty segment"),
        // Encoded dots never come here: they are refused as encoded unreserved characters.
        b"." | b".." => Err("dot segment"),
        _ => Ok(()),
    }
}

fn check_encoded(digits: Option<&[u8]>, next: Option<&[u8]>) -> Result<(), &'static str> {
    let byte = digits.and_then(hex).ok_or("bad percent-encoding")?;
    match byte {
        0..=0x1f | 0x7f => Err("encoded control character"),
        b'/' | b'\\' => Err("encoded slash"),
        b';' => Err("encoded semicolon"),
        b'%' if next.and_then(hex).is_some() => Err("double encoding"),
        b'-' | b'.' | b'_' | b'~' => Err("encoded unreserved character"),
        _ if byte.is_ascii_alphanumeric() => Err("encoded unreserved character"),
        _ => Ok(()),
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let high = char::from(*high).to_digit(16)?;
    let low = char::from(*low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path_of(target: &str) -> Result<String, Denial> {
        judge(target.as_bytes()).map(|target| target.path.as_str().to_owned())
    }

    #[rustfmt::skip]
    const AMBIGUOUS: &[&str] = &[
        "/a/../b", "/a/./b", "/..", "/.", "/a/..", "/a/.", "/../", "//", "//a", "/a//b", "/a//", "/a\\b",
        "/\\..\\a", "/%2e%2e/a", "/%2E/a", "/a/%2e%2e", "/.%2e/a", "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb",
        "/a;b", "/a;x=1/b", "/a%3bb", "/%00", "/a%00.png", "/a%0d%0ab", "/a%1fb", "/a%7f", "/a\u{7f}",
        "/a\tb", "/a b", "/a#b", "/a%", "/a%2", "/a%zz", "/a%2zb", "/%252e%252e/", "/a%252fb",
        "/a%25%32%66", "/%61pi", "/%41", "/a%2Db", "/a%5fb", "/a%7Eb", "/é", "", "a", "api/x", "*", "?a",
        "http:/a", "http:a", "ftp://h/a", "http://h/../a", "http://h//a", "http://h?a", "http://h#a",
        "/%c0%ae%c0%ae/%2e",
    ];

    // std:122, std:123, threat T17
    #[test]
    fn a_path_with_two_readings_is_refused() {
        for target in AMBIGUOUS {
            assert!(path_of(target).is_err(), "{target:?} was let through");
        }
        assert!(judge(b"/\xff").is_err());
        assert!(judge(b"/a\0b").is_err());
    }

    #[test]
    fn a_path_with_one_reading_passes_byte_for_byte() {
        let corpus = [
            "/",
            "/a",
            "/a/",
            "/a/b.c/..d/e..",
            "/...",
            "/.well-known/x",
            "/a%20b",
            "/%C3%A9",
            "/a%25",
            "/a%25z",
            "/a:b@c!$&'()*+,=",
            "/a|b[c]",
            "/a%3Ab",
            "/100%25/x",
        ];
        for target in corpus {
            assert_eq!(path_of(target).as_deref(), Ok(target));
        }
    }

    #[test]
    fn the_query_is_split_off_at_the_first_question_mark_and_does_not_decide() {
        let target = judge(b"/a?b=/../c?d&e=%2f//").unwrap();
        assert_eq!((target.path.as_str(), target.query), ("/a", Some("b=/../c?d&e=%2f//")));
        assert_eq!(path_of("/a?"), Ok("/a".to_owned()));
        assert!(path_of("/a?b c").is_err());
        assert!(path_of("/a?b#c").is_err());
    }

    #[test]
    fn of_an_absolute_form_target_path_and_query_are_taken() {
        let target = judge(b"http://app.example:80/a?b").unwrap();
        assert_eq!((target.path.as_str(), target.query), ("/a", Some("b")));
        assert_eq!(path_of("HTTPS://h"), Ok("/".to_owned()));
    }

    proptest! {
        #[test]
        fn what_passes_has_no_second_reading(target in "/[a-c./%25\\\\;#x~ -]{0,16}") {
            if let Ok(passed) = judge(target.as_bytes()) {
                let path = passed.path.as_str();
                let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
                prop_assert!(target.starts_with(path));
                prop_assert!(!decoded.contains("//") && !decoded.contains('\\') && !decoded.contains(';'));
                prop_assert_eq!(decoded.matches('/').count(), path.matches('/').count());
                prop_assert!(decoded.split('/').all(|segment| segment != "." && segment != ".."));
                let twice = percent_encoding::percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
                prop_assert_eq!(twice, decoded);
            }
        }

        #[test]
        fn any_bytes_are_judged_without_a_panic(target in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(judge(&target));
        }
    }
}

//! Reads the cookies of a request in one pass.
//!
//! Ours are taken out, the others stay for the upstream.
//!
//! Several `Cookie` lines, as HTTP/2 sends crumbs, are read as one (std:91). A name of ours that comes twice, or in
//! another case, is tossing from a sibling domain: nothing is picked by order, all of ours are void (std:88).

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use super::chunk::MAX_CHUNKS;

/// The names of our cookies.
#[derive(Debug, Clone)]
pub struct Names {
    session: String,
    login: String,
}

/// The cookies of one request.
#[derive(Debug, Default)]
pub struct Jar<'a> {
    /// The values of the session cookie and of its further chunks.
    pub session: [Option<&'a [u8]>; MAX_CHUNKS],
    /// The value of the cookie that binds logins to this browser.
    pub login: Option<&'a [u8]>,
    tossed: bool,
    ours: usize,
    others: usize,
    others_bytes: usize,
    lines: usize,
}

/// What is left of the `Cookie` header fields without ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// Nothing of ours was there, and one line at most: leave them.
    Untouched,
    /// Only ours were there.
    Nothing,
    /// The others, joined into one line as RFC 9113 §8.2.3 asks.
    Joined(HeaderValue),
}

enum Owner {
    Session(usize),
    Login,
    Impostor,
    Somebody,
}

impl Names {
    /// Our cookies where the session's is called `session`.
    pub fn new(session: &str) -> Self {
        Self { session: session.to_owned(), login: format!("{session}-login") }
    }

    /// The name of the session cookie's chunk `index`: the first has the plain name.
    pub fn chunk(&self, index: usize) -> String {
        if index == 0 { self.session.clone() } else { format!("{}.{index}", self.session) }
    }

    /// The name of the cookie that binds logins to a browser.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Whether a cookie of this name is ours, in any letter case.
    pub fn is_ours(&self, name: &[u8]) -> bool {
        !matches!(self.owner(name), Owner::Somebody)
    }

    fn owner(&self, name: &[u8]) -> Owner {
        let prefix = self.session.as_bytes();
        let Some((head, tail)) = name.split_at_checked(prefix.len()) else {
            return Owner::Somebody;
        };
        if !head.eq_ignore_ascii_case(prefix) {
            return Owner::Somebody;
        }
        let owner = match tail {
            b"" => Owner::Session(0),
            b".1" => Owner::Session(1),
            b".2" => Owner::Session(2),
            tail if tail.eq_ignore_ascii_case(b"-login") => Owner::Login,
            _ => return Owner::Somebody,
        };
        let exact = head == prefix && (tail.is_empty() || !tail.iter().any(u8::is_ascii_uppercase));
        if exact { owner } else { Owner::Impostor }
    }
}

impl<'a> Jar<'a> {
    /// Reads every `Cookie` line of `headers`.
    pub fn read(headers: &'a HeaderMap, names: &Names) -> Self {
        let mut jar = Self::default();
        for line in headers.get_all(COOKIE) {
            jar.lines += 1;
            for (name, value, pair) in pairs(line.as_bytes()) {
                jar.take(names.owner(name), value, pair);
            }
        }
        if jar.tossed {
            jar.session = [None; MAX_CHUNKS];
            jar.login = None;
        }
        jar
    }

    fn take(&mut self, owner: Owner, value: &'a [u8], pair: &[u8]) {
        let slot = match owner {
            Owner::Session(index) => self.session.get_mut(index),
            Owner::Login => Some(&mut self.login),
            Owner::Impostor => None,
            Owner::Somebody => {
                self.others += 1;
                self.others_bytes += pair.len() + b"; ".len();
                return;
            }
        };
        self.ours += 1;
        match slot {
            Some(slot) if slot.is_none() => *slot = Some(value),
            _ => self.tossed = true,
        }
    }

    /// Whether a name of ours came twice or in another case.
    pub fn was_tossed(&self) -> bool {
        self.tossed
    }

    /// How many cookies of the session came: what a shorter set must delete (std:90).
    pub fn chunks(&self) -> usize {
        self.session.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    /// What the upstream may see (std:94).
    pub fn others(&self, headers: &HeaderMap, names: &Names) -> Others {
        if self.ours == 0 && self.lines <= 1 {
            return Others::Untouched;
        }
        if self.others == 0 {
            return Others::Nothing;
        }
        let mut line = Vec::with_capacity(self.others_bytes);
        for header in headers.get_all(COOKIE) {
            for (name, _, pair) in pairs(header.as_bytes()) {
                if !names.is_ours(name) {
                    if !line.is_empty() {
                        line.extend_from_slice(b"; ");
                    }
                    line.extend_from_slice(pair);
                }
            }
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(line)).map_or(Others::Nothing, Others::Joined)
    }
}

/// Name, value and the whole text of each cookie in a line.
fn pairs(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    split(line).map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        match memchr::memchr(b'=', pair).and_then(|at| Some((pair.get(..at)?, pair.get(at + 1..)?))) {
            Some((name, value)) => (name.trim_ascii(), value.trim_ascii(), pair),
            None => (pair, b"".as_slice(), pair),
        }
    })
}

/// What lies between semicolons. A session's value is long: its bytes are not looked at one by one.
fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b';', line).chain(std::iter::once(line.len()));
    ends.map(move |end| {
        let piece = line.get(start..end).unwrap_or_default();
        start = end + 1;
        piece
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
        }
        headers
    }

    fn check(lines: &[&str], session: Option<&str>, others: &Others) {
        let names = Names::new("__Host-b");
        let headers = headers(lines);
        let jar = Jar::read(&headers, &names);
        assert_eq!(jar.session[0], session.map(str::as_bytes), "{lines:?}");
        assert_eq!(jar.others(&headers, &names), *others, "{lines:?}");
    }

    fn joined(text: &str) -> Others {
        Others::Joined(HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn ours_are_taken_and_the_others_kept() {
        // std:91, std:94
        check(&[], None, &Others::Untouched);
        check(&["a=1; b=2"], None, &Others::Untouched);
        check(&["__Host-b=s"], Some("s"), &Others::Nothing);
        check(&["a=1; __Host-b=s; b=2"], Some("s"), &joined("a=1; b=2"));
        check(&["a=1", "b=2"], None, &joined("a=1; b=2"));
        check(&["a=1", "__Host-b=s", "__Host-b-login=l"], Some("s"), &joined("a=1"));
        check(&["__Host-b=a=b="], Some("a=b="), &Others::Nothing);
        check(&["__Host-bx=1; __Host-b.3=1; x"], None, &Others::Untouched);
        // CVE-2023-28625: a line of separators only.
        check(&[";;; ;"], None, &Others::Untouched);
    }

    #[test]
    fn a_name_of_ours_twice_or_in_another_case_voids_all() {
        // std:88
        check(&["__Host-b=1; __Host-b=2"], None, &Others::Nothing);
        check(&["__Host-b=1", "__Host-b=1"], None, &Others::Nothing);
        check(&["__Host-b=1; __host-B=2; a=1"], None, &joined("a=1"));
        check(&["__Host-b=1; __Host-b-LOGIN=2"], None, &Others::Nothing);
    }

    #[test]
    fn chunks_are_counted_to_the_last_one() {
        let names = Names::new("s");
        let count = |line| Jar::read(&headers(&[line]), &names).chunks();
        assert_eq!(count("a=1"), 0);
        assert_eq!(count("s=1"), 1);
        assert_eq!(count("s=1; s.1=1; s.2=1"), 3);
        assert_eq!(count("s.2=1"), 3);
    }
}

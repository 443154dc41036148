//! Chunks of a response: framing is parsed, content passed on as it comes.
//!
//! RFC 9112 §7.1, read strictly: every line ends with CRLF, a size is hexadecimal digits and nothing else, extensions
//! and trailers are bounded and dropped. What is not so is an error: where a body ends is then anyone's guess.

/// How far a chunked body is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of the line that is being read, or of the trailer section.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a size, with what it amounts to so far; `None` before the first digit.
    Size(Option<u64>),
    /// Behind a `;`, of a chunk of this size.
    Extension(u64),
    /// After the CR of a size line.
    SizeEnd(u64),
    /// This much content is left of a chunk.
    Content(u64),
    /// Where the CR behind a chunk must be, then its LF.
    ContentCr,
    ContentLf,
    /// At the beginning of a trailer line, in one, after its CR, after the CR of the last empty line.
    Trailer,
    TrailerLine,
    TrailerEnd,
    LastLf,
    Done,
}

/// A body that is not framed as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadChunk;

/// What comes next in the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This much content, after this many bytes of framing.
    Content { framing: usize, length: usize },
    /// Nothing but framing.
    Nothing,
    /// The end of the body, after this many bytes.
    End(usize),
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { state: State::Size(None), line: 0 }
    }

    /// Takes framing off `bytes` up to the next content. All of `bytes` is taken where there is none.
    ///
    /// # Errors
    /// Where the framing is broken.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Result<Piece, BadChunk> {
        for (at, &byte) in bytes.iter().enumerate() {
            if let State::Content(left) = self.state {
                let here = bytes.len() - at;
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(here);
                // The cast widens: a `usize` has 64 bits at most.
                let left = left - length as u64;
                self.state = if left == 0 { State::ContentCr } else { State::Content(left) };
                return Ok(Piece::Content { framing: at, length });
            }
            self.step(byte)?;
            if self.state == State::Done {
                return Ok(Piece::End(at + 1));
            }
        }
        Ok(Piece::Nothing)
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.line += 1;
        if self.line > LONGEST {
            return Err(BadChunk);
        }
        self.state = match (self.state, byte) {
            (State::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                State::Size(Some(longer(size.unwrap_or_default(), byte)?))
            }
            (State::Size(Some(size)), b';') => State::Extension(size),
            (State::Size(Some(size)) | State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Extension(size), b'\t' | b' '..=b'~') => State::Extension(size),
            (State::SizeEnd(size), b'\n') => {
                self.line = 0;
                if size == 0 { State::Trailer } else { State::Content(size) }
            }
            (State::ContentCr, b'\r') => State::ContentLf,
            (State::ContentLf, b'\n') => {
                self.line = 0;
                State::Size(None)
            }
            (State::Trailer, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::TrailerLine, b'\r') => State::TrailerEnd,
            (State::TrailerEnd, b'\n') => State::Trailer,
            (State::Trailer | State::TrailerLine, b'\t' | b' '..=b'~' | 0x80..) => State::TrailerLine,
            _ => return Err(BadChunk),
        };
        Ok(())
    }
}

fn longer(size: u64, digit: u8) -> Result<u64, BadChunk> {
    let digit = char::from(digit).to_digit(16).ok_or(BadChunk)?;
    size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit))).ok_or(BadChunk)
}

// Of a size line with its extension, and of the trailer section.
const LONGEST: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The content of a body that comes in pieces, and what was behind its end.
    fn read(pieces: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, BadChunk> {
        let (mut chunked, mut content) = (Chunked::new(), Vec::new());
        for (number, piece) in pieces.iter().enumerate() {
            let mut rest = *piece;
            loop {
                match chunked.next(rest)? {
                    Piece::Content { framing, length } => {
                        content.extend_from_slice(&rest[framing..framing + length]);
                        rest = &rest[framing + length..];
                    }
                    Piece::Nothing => break,
                    Piece::End(taken) => {
                        let behind: usize = pieces[number + 1..].iter().map(|piece| piece.len()).sum();
                        return Ok(Some((content, rest.len() - taken + behind)));
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_are_read() {
        for (body, expected) in [
            ("0\r\n\r\n", Some(("", 0))),
            ("3\r\nabc\r\n0\r\n\r\n", Some(("abc", 0))),
            ("3\r\nabc\r\nA\r\n0123456789\r\n000\r\n\r\nX", Some(("abc0123456789", 1))),
            ("1;a=\"b\"\r\nx\r\n0;c\r\nTrailer: v\r\nB: c\r\n\r\n", Some(("x", 0))),
            ("3\r\nabc\r\n", None),
            ("3\r\nab", None),
            ("0\r\n", None),
        ] {
            let expected = expected.map(|(content, behind)| (content.as_bytes().to_vec(), behind));
            assert_eq!(read(&[body.as_bytes()]), Ok(expected), "{body:?}");
        }
    }

    // std:113
    #[test]
    fn what_is_not_framed_as_it_says_is_an_error() {
        for body in [
            "\r\n",
            "x\r\n",
            "3\nabc",
            " 3\r\nabc",
            "3 \r\nabc",
            "0x3\r\nabc",
            "+3\r\nabc",
            "-1\r\n",
            ";a\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc0\r\n\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "3\r\r\n",
            "3;\n\r\n",
            "0\r\n\0\r\n",
            "10000000000000000\r\n",
        ] {
            assert_eq!(read(&[body.as_bytes()]), Err(BadChunk), "{body:?}");
        }
        let long = format!("3;{}\r\n", "a".repeat(LONGEST));
        assert_eq!(read(&[long.as_bytes()]), Err(BadChunk));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(LONGEST / 6 + 1));
        assert_eq!(read(&[many.as_bytes()]), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_content_is_the_same(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\nbehind");
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len())).collect();
            cuts.push(0);
            cuts.push(body.len());
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), Ok(Some((chunks.concat(), b"behind".len()))));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(read(&[&bytes]));
        }
    }
}

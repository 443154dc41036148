//! How far the frames of a WebSocket have passed, and the one frame that is ours.
//!
//! What a WebSocket says is none of the gateway's business. Where it must end, though, its client is told by a close
//! frame (RFC 6455 §5.5.1), and that may only stand between two frames of the server: only their headers are read.

use bytes::{BufMut, Bytes, BytesMut};

use crate::gate::stream::StreamEnd;

/// Where a server's frames are.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What has passed of a header that is not whole yet.
    header: [u8; LONGEST_HEADER],
    filled: usize,
    /// What is still to pass of a frame whose header was whole.
    payload: u64,
    server: Server,
}

/// Whether the server has said that it closes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Server {
    #[default]
    Talks,
    Closes,
}

impl Frames {
    /// Takes note of bytes that pass to the client.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let here = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(here..).unwrap_or_default();
                // The cast widens: a `usize` has 64 bits at most.
                self.payload -= here as u64;
                continue;
            }
            if let Some(place) = self.header.get_mut(self.filled) {
                *place = first;
            }
            self.filled += 1;
            bytes = rest;
            if let Some(payload) = payload_of(self.header.get(..self.filled).unwrap_or_default()) {
                if self.header[0] & OPCODE == CLOSE {
                    self.server = Server::Closes;
                }
                (self.payload, self.filled) = (payload, 0);
            }
        }
    }

    /// The frame that ends the connection, where one may stand now.
    pub(super) fn close(&self, end: StreamEnd) -> Option<Bytes> {
        let between = self.filled == 0 && self.payload == 0;
        (between && self.server == Server::Talks).then(|| close_frame(end))
    }
}

/// RFC 6455 §5.2: the length of a frame's payload, once its header is whole.
fn payload_of(header: &[u8]) -> Option<u64> {
    let [_, second, rest @ ..] = header else { return None };
    let (length, rest) = match second & !MASKED {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), rest)
        }
        short => (u64::from(short), rest),
    };
    // A server does not mask. One that does is followed all the same: what it says is not ours to judge.
    if second & MASKED != 0 { rest.first_chunk::<4>().map(|_| length) } else { Some(length) }
}

/// A close frame with its code and the reason that the access record gives.
fn close_frame(end: StreamEnd) -> Bytes {
    // RFC 6455 §7.4.1. A client that reads "policy" must log in; one whose server is "going away" comes back.
    let code: u16 = match end {
        StreamEnd::SessionOver => 1008,
        StreamEnd::SessionUnknown | StreamEnd::TokenOver | StreamEnd::LimitReached => 1001,
    };
    let reason = end.label().as_bytes();
    let mut frame = BytesMut::with_capacity(4 + reason.len());
    frame.put_u8(FINAL | CLOSE);
    // RFC 6455 §5.5: at most 125, which every label is far from.
    frame.put_u8(u8::try_from(2 + reason.len()).unwrap_or(2));
    frame.put_u16(code);
    frame.put_slice(reason);
    frame.freeze()
}

const LONGEST_HEADER: usize = 14;
const FINAL: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
const MASKED: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `length` bytes, its payload such that it would be taken for headers.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { MASKED } else { 0 };
        let mut frame = vec![FINAL | opcode];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0x88; 4].iter().take(if masked { 4 } else { 0 }));
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    #[test]
    fn a_close_frame_stands_only_between_frames() {
        for masked in [false, true] {
            for lengths in [&[0_usize][..], &[5, 0, 125], &[126, 1], &[65_535, 2], &[65_536, 70_000, 0]] {
                let all: Vec<Vec<u8>> = lengths.iter().map(|length| frame(2, *length, masked)).collect();
                let ends: Vec<usize> = all
                    .iter()
                    .scan(0, |end, frame| {
                        *end += frame.len();
                        Some(*end)
                    })
                    .collect();
                let bytes = all.concat();
                // In pieces of any size.
                for size in [1, 2, 3, 7, 1000, bytes.len()] {
                    let (mut frames, mut passed) = (Frames::default(), 0);
                    for piece in bytes.chunks(size) {
                        frames.pass(piece);
                        passed += piece.len();
                        let may = frames.close(StreamEnd::SessionOver).is_some();
                        assert_eq!(may, ends.contains(&passed), "{lengths:?} in {size}s at {passed}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_follows_a_servers_own_close_frame() {
        let mut frames = Frames::default();
        frames.pass(&frame(8, 2, false));
        assert_eq!(frames.close(StreamEnd::SessionOver), None);
    }

    #[test]
    fn the_frame_says_why() {
        let frames = Frames::default();
        for (end, code) in [
            (StreamEnd::SessionOver, 1008_u16),
            (StreamEnd::SessionUnknown, 1001),
            (StreamEnd::TokenOver, 1001),
            (StreamEnd::LimitReached, 1001),
        ] {
            let frame = frames.close(end).unwrap();
            let length = u8::try_from(frame.len() - 2).unwrap();
            assert_eq!(frame[..4], [&[0x88, length][..], &code.to_be_bytes()].concat());
            assert_eq!(&frame[4..], end.label().as_bytes());
        }
    }
}

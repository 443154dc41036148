//! A client that sends exact HTTP/2 frames and reads what comes back. RFC 9113 §4, §6; RFC 7541

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of HEADERS and DATA; of SETTINGS and PING it says that they answer one.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A connection.
pub(crate) struct Frames {
    pub(crate) tcp: TcpStream,
    read: Vec<u8>,
}

/// A frame that came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status of a response head, as it stands first in its block.
    pub(crate) fn status(&self) -> u16 {
        const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
        // The encoder may first say that its table has another size.
        let start = self.payload.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
        let block = &self.payload[start..];
        if (0x88..=0x8e).contains(&block[0]) {
            return INDEXED[usize::from(block[0] - 0x88)];
        }
        assert!([0x48, 0x08, 0x18].contains(&block[0]), "not a status: {block:?}");
        let length = usize::from(block[1] & 0x7f);
        let text = &block[2..2 + length];
        if block[1] & 0x80 == 0 {
            return std::str::from_utf8(text).unwrap().parse().unwrap();
        }
        digits(text)
    }
}

/// Three digits in the Huffman code of RFC 7541, appendix B.
fn digits(bytes: &[u8]) -> u16 {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
        if short <= 2 {
            (number, at) = (number * 10 + short, at + 5);
        } else {
            let long = u16::from_str_radix(&bits[at..at + 6], 2).unwrap();
            (number, at) = (number * 10 + long - 0b01_1001 + 3, at + 6);
        }
    }
    number
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: every field as a literal without an index, so that nothing is hidden from a test.
pub(crate) fn block(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name.as_bytes(), value] {
            integer(&mut bytes, text.len());
            bytes.extend_from_slice(text);
        }
    }
    bytes
}

fn integer(bytes: &mut Vec<u8>, value: usize) {
    if value < 127 {
        bytes.push(u8::try_from(value).unwrap());
        return;
    }
    bytes.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
}

/// The pseudo-header fields of a request, and more.
pub(crate) fn request<'a>(
    method: &'a str,
    path: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a [u8])> {
    let mut fields = vec![(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")];
    fields.extend_from_slice(more);
    fields.into_iter().map(|(name, value)| (name, value.as_bytes())).collect()
}

impl Frames {
    /// Connects, and says so in HTTP/2 with settings of one's own.
    pub(crate) async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut client = Self { tcp: TcpStream::connect(address).await.unwrap(), read: Vec::new() };
        client.tcp.set_nodelay(true).unwrap();
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend_from_slice(&name.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, 0, &payload));
        bytes.extend(frame(SETTINGS, END_STREAM, 0, &[]));
        client.send(bytes).await;
        client
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends until all is sent, the other side has closed, or it takes nothing for two seconds; how much it took.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let write = self.tcp.write(&bytes[sent..]);
            match tokio::time::timeout(Duration::from_secs(2), write).await {
                Ok(Ok(amount)) if amount > 0 => sent += amount,
                _ => break,
            }
        }
        sent
    }

    /// Opens a stream.
    pub(crate) async fn open(&mut self, stream: u32, flags: u8, fields: &[(&str, &[u8])]) {
        self.send(frame(HEADERS, flags | END_HEADERS, stream, &block(fields))).await;
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if self.read.len() >= 9 {
                let length = u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]);
                let end = 9 + usize::try_from(length).unwrap();
                if self.read.len() >= end {
                    let bytes: Vec<u8> = self.read.drain(..end).collect();
                    let stream = u32::from_be_bytes(bytes[5..9].try_into().unwrap());
                    return Some(Frame { kind: bytes[3], stream, payload: bytes[9..].to_vec() });
                }
            }
            let read = self.tcp.read_buf(&mut self.read);
            let read = tokio::time::timeout(Duration::from_secs(20), read).await.expect("no frame");
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// The next frame of a kind; `None` where the connection ended before.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// What became of a stream: its status, or the code with which it or the connection was ended.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        while let Some(frame) = self.next().await {
            match frame.kind {
                HEADERS if frame.stream == stream => return Outcome::Status(frame.status()),
                RST_STREAM if frame.stream == stream => return Outcome::Reset(frame.code()),
                // Without an error it only says that the connection will end.
                GOAWAY if frame.code() != 0 => return Outcome::GoneAway(frame.code()),
                _ => {}
            }
        }
        Outcome::Closed
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Status(u16),
    Reset(u32),
    GoneAway(u32),
    Closed,
}

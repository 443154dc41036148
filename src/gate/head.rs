//! What the gate is told of a request: its head and where it came from.

use std::net::IpAddr;

use http::request::Parts;

/// A request head as it arrived, before anything was changed.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// Method, target, version and header fields.
    pub parts: &'a Parts,
    /// Path and query exactly as received, in origin form.
    pub target: &'a [u8],
    /// The peer of the connection; no header can change it.
    pub peer: Option<IpAddr>,
    /// Names this request in logs and on error pages.
    pub request_id: RequestId,
}

/// Names one request. Random, so that it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl RequestId {
    /// As it is written everywhere: 16 hexadecimal digits.
    pub fn to_hex(self) -> [u8; 16] {
        let mut digits = [0; 16];
        for (at, digit) in digits.iter_mut().rev().enumerate() {
            // The cast keeps the four bits that are left.
            let value = (self.0 >> (4 * at) & 0xf) as u8;
            *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        }
        digits
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_hex().iter().try_for_each(|&digit| std::fmt::Write::write_char(f, char::from(digit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_has_16_digits() {
        for id in [0, 255, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(RequestId(id).to_string(), format!("{id:016x}"));
        }
    }
}

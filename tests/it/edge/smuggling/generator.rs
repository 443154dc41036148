//! Requests that nobody thought of: templates with a few deterministic mistakes, compared with a strict reader.
//!
//! Whatever goes upstream must be what the strict reader finds at the beginning of the bytes, once, and nothing else.
//! The gateway may refuse more than it has to. A case that fails is named by its number; the same number is always the
//! same bytes.

use bearward::edge::settings::FastPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::Wanted;
use crate::support::recorder::{Reading, Recorder, Request, Seen, read};

const CASES: u64 = 1_500;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % u64::try_from(below).unwrap()).unwrap()
    }
}

const TEMPLATES: [&str; 7] = [
    "GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    "HEAD /x?y=z HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: 5\r\n\r\nabcde",
    "PUT /x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e=f\r\nde\r\n0\r\nT: u\r\n\r\n",
    "GET http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "PUT /x HTTP/1.0\r\nHost: a\r\nOrigin: https://app.example\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
    "GET /x HTTP/1.1\r\nHost: a\r\nConnection: x, keep-alive\r\nX: y\r\nTE: trailers\r\n\r\n",
];

const BITS: [&[u8]; 30] = [
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b":",
    b",",
    b";",
    b"0",
    b"1",
    b"9",
    b"a",
    b"F",
    b"chunked",
    b"identity",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Host: b\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b" folded\r\n",
    b"HTTP/1.1",
    b"0\r\n\r\n",
    b"Connection: content-length\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn case(number: u64) -> Vec<u8> {
    let mut dice = Dice(number);
    let mut bytes = TEMPLATES[dice.roll(TEMPLATES.len())].as_bytes().to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        // Lines are where it hurts.
        let line = bytes[..at].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let end =
            bytes[at..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |more| at + more + 1);
        let bit = BITS[dice.roll(BITS.len())];
        match dice.roll(7) {
            0 => drop(bytes.splice(at..at, bit.iter().copied())),
            1 => drop(bytes.splice(line..line, bit.iter().copied())),
            2 => drop(bytes.splice(at..=at, bit.iter().copied())),
            3 => drop(bytes.remove(at)),
            4 => drop(bytes.drain(line..end)),
            5 => {
                let copy = bytes[line..end].to_vec();
                drop(bytes.splice(line..line, copy));
            }
            _ => bytes[at] = bytes[at].to_ascii_uppercase() ^ (bytes[at] & 0x20 ^ 0x20),
        }
        if bytes.is_empty() {
            bytes.push(b'x');
        }
    }
    bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    bytes
}

#[test]
fn the_same_number_is_the_same_case_and_most_differ() {
    let all: std::collections::HashSet<_> = (0..CASES).map(case).collect();
    assert!(all.len() > 1_000 && case(7) == case(7));
    let whole = (0..CASES).filter(|number| matches!(read(&case(*number)), Reading::Whole(..))).count();
    // Neither all good nor all bad, or nothing is compared.
    assert!((200..1_400).contains(&whole), "{whole}");
}

#[tokio::test]
async fn what_goes_upstream_is_what_a_strict_reader_finds_and_nothing_else() {
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Recorder::start().await;
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        let gateway = wanted.start().await;
        let (mut forwarded, mut wrong) = (0, Vec::new());
        for number in 0..CASES {
            let bytes = case(number);
            let model = read(without_empty_lines(&bytes));
            send(gateway.address, &bytes, &model).await;
            let seen = upstream.take();
            forwarded += seen.len();
            if let Some(fault) = judge(&model, &seen) {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                wrong.push(format!("case {number}, {fast_path:?}: {fault}\n  {text:?}\n  model: {model:?}\n  upstream: {seen:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
        assert!(forwarded > 100, "{forwarded}: hardly anything was compared");
    }
}

/// RFC 9112 §2.2: empty lines before a request line are nothing.
fn without_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let Some(rest) = bytes.strip_prefix(b"\r\n") {
        bytes = rest;
    }
    bytes
}

/// Sends it in one packet, and waits for an answer or the end where the model says that one must come.
async fn send(address: std::net::SocketAddr, bytes: &[u8], model: &Reading) {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(bytes).await.unwrap();
    let mut answer = [0; 64];
    let patience = match model {
        Reading::Whole(..) => 20_000,
        // What is not whole for a strict reader may be whole, or in want of more, for us.
        Reading::Partial | Reading::Broken(_) => 20,
    };
    let read = tcp.read(&mut answer);
    let answered = tokio::time::timeout(std::time::Duration::from_millis(patience), read).await;
    assert!(answered.is_ok() || patience == 20, "nobody answers {:?}", String::from_utf8_lossy(bytes));
}

fn judge(model: &Reading, seen: &[Seen]) -> Option<&'static str> {
    match seen {
        [] => None,
        [Seen::Broken(what, _)] => Some(what),
        [Seen::Request(one)] if one.target.contains("smuggled") && !starts_so(model) => Some("SMUGGLED"),
        [Seen::Request(one)] => match model {
            Reading::Whole(asked, _) if same(asked, one) => None,
            Reading::Whole(..) => Some("another request"),
            // A body that pingora ends earlier than the strict reader: nothing of the rest went anywhere.
            Reading::Partial | Reading::Broken("chunk size" | "chunk extension") if one.body.is_empty() => {
                None
            }
            Reading::Broken("chunk extension") => None,
            Reading::Partial | Reading::Broken(_) => Some("no request is one"),
        },
        _ => Some("two requests"),
    }
}

/// Whether the mutations have eaten everything before the hidden request.
fn starts_so(model: &Reading) -> bool {
    matches!(model, Reading::Whole(asked, _) if asked.target.contains("smuggled"))
}

fn same(asked: &Request, seen: &Request) -> bool {
    let target = asked.target.split_once("://a").map_or(asked.target.as_str(), |(_, path)| path);
    (asked.method.as_str(), target, &asked.body) == (seen.method.as_str(), seen.target.as_str(), &seen.body)
}

//! HTTP/2 frame by frame: what RFC 9113 and RFC 7541 demand of a server, after the sections of h2spec.
//!
//! Each case is a connection of its own and exact bytes. A connection error is a GOAWAY with a code, or the close that a
//! peer may always choose (RFC 9113 §5.4.1); a stream error is a reset, which may be treated as a connection error.

mod frames;
mod requests;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::gateway::Wanted;
use crate::support::upstream::Upstream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WHOLE: u8 = END_STREAM | END_HEADERS;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const REFUSED: u32 = 7;
const COMPRESSION: u32 = 9;

/// What must follow.
#[derive(Debug, Clone, Copy)]
enum Must {
    /// The connection ends, with one of these codes where it says one.
    End(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with one.
    Reset(&'static [u32]),
    /// A response with this status.
    Answer(u16),
    /// The request is refused: by a reset, or by a response that is an error.
    Refuse,
    /// A PING that follows is answered: nothing has happened.
    GoOn,
}

/// What did follow.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Came {
    GoAway(u32),
    Reset(u32),
    Answer(u16),
    Pong,
    Close,
    Nothing,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// RFC 7541 §6.2.2: literals without indexing, names and values as they are.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/a");
const AUTHORITY: (&str, &str) = (":authority", "app.example");

/// A request's fields with `more` behind them.
fn get(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[METHOD, SCHEME, PATH, AUTHORITY], more].concat())
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&[(":method", "POST"), SCHEME, PATH, AUTHORITY], more].concat())
}

fn headers(flags: u8, stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags, stream, block)
}

/// A whole request on stream 1 with these fields and no others.
fn only(list: &[(&str, &str)]) -> Vec<u8> {
    headers(WHOLE, 1, &fields(list))
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

/// One case: the section, what is sent, what must follow.
type Case = (&'static str, Vec<Vec<u8>>, Must);

/// Where the HTTP/2 library ends the connection with PROTOCOL_ERROR, and the standards name a more exact code. Nothing
/// passes either way.
const LESS_EXACT: &[&str] = &[
    "4.3 a block that is no HPACK",
    "5.1 half-closed: DATA",
    "5.1 half-closed: HEADERS",
    "6.3 PRIORITY of another length",
    "6.4 RST_STREAM of another length",
    "6.5 SETTINGS acknowledged with a payload",
    "6.5 SETTINGS of half an item",
    "6.5.2 a window over the largest",
    "6.7 PING of another length",
    "6.9 WINDOW_UPDATE of another length",
    "7541 §2.3.3 an index that is not there",
    "7541 §2.3.3 a name's index that is not there",
    "7541 §6.1 the index 0",
    "7541 §4.2 a table's size behind a field",
    "7541 §6.3 a table larger than allowed",
    "7541 §5.2 padding of more than seven bits",
    "7541 §5.2 padding that is no end of string",
    "7541 §5.2 a string with an end of string",
    "7541 §5.1 a number without an end",
];

/// What the library lets pass: trailers of requests, which the gateway drops whatever is in them.
const DROPPED: &[&str] = &["8.1 trailers with a pseudo-header"];

async fn play(address: SocketAddr, sent: &[Vec<u8>], must: Must) -> Came {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(SETTINGS, 0, 0, &[]));
    all.extend(frame(SETTINGS, ACK, 0, &[]));
    all.extend(sent.concat());
    if matches!(must, Must::GoOn) {
        all.extend(frame(PING, 0, 0, b"the last"));
    }
    // The other side may have ended the connection before it has taken all of it.
    drop(tcp.write_all(&all).await);
    let mut read = Vec::new();
    let outcome = async {
        loop {
            while let Some((kind, flags, payload)) = next(&mut read) {
                let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
                match kind {
                    GOAWAY if code(4) != 0 => return Came::GoAway(code(4)),
                    RST_STREAM => return Came::Reset(code(0)),
                    HEADERS => return Came::Answer(status(&payload)),
                    PING if flags & ACK != 0 && payload == b"the last" => return Came::Pong,
                    _ => {}
                }
            }
            if tcp.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return Came::Close;
            }
        }
    };
    timeout(Duration::from_secs(15), outcome).await.unwrap_or(Came::Nothing)
}

/// Takes a frame off what was read.
fn next(read: &mut Vec<u8>) -> Option<(u8, u8, Vec<u8>)> {
    let head = read.get(..9)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let (kind, flags) = (head[3], head[4]);
    let payload = read.get(9..9 + length)?.to_vec();
    read.drain(..9 + length);
    Some((kind, flags, payload))
}

/// The first field of a response: `:status`, from the table or as digits (RFC 7541 Appendix A and B).
fn status(block: &[u8]) -> u16 {
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    let [first, rest @ ..] = block else { panic!("an empty block") };
    if first & 0x80 != 0 {
        return KNOWN[usize::from(first & 0x7f) - 8];
    }
    let [length, rest @ ..] = rest else { panic!("no value") };
    let value = &rest[..usize::from(length & 0x7f)];
    if length & 0x80 == 0 {
        return std::str::from_utf8(value).unwrap().parse().unwrap();
    }
    let bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = u16::from_str_radix(&bits[at..at + 5], 2).unwrap();
        let (digit, length) = if five < 3 {
            (five, 5)
        } else {
            (u16::from_str_radix(&bits[at..at + 6], 2).unwrap() - 0x19 + 3, 6)
        };
        number = number * 10 + digit;
        at += length;
    }
    number
}

fn is_what_must_be(came: Came, must: Must) -> bool {
    match (must, came) {
        (Must::End(codes), Came::GoAway(code)) => codes.contains(&code),
        (Must::End(_), Came::Close) => true,
        (Must::Reset(codes), Came::Reset(code) | Came::GoAway(code)) => codes.contains(&code),
        (Must::Refuse, Came::Reset(code) | Came::GoAway(code)) => [PROTOCOL, REFUSED].contains(&code),
        (Must::Refuse, Came::Answer(status)) => (400..500).contains(&status),
        (Must::Answer(expected), Came::Answer(status)) => status == expected,
        (Must::GoOn, Came::Pong) => true,
        _ => false,
    }
}

#[tokio::test]
async fn frames_fields_and_compression_are_judged_as_the_standards_say() {
    let upstream = Upstream::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let cases: Vec<Case> = [frames::frames(), requests::requests(), requests::compression()].concat();
    assert!(cases.len() > 90, "{}", cases.len());
    let played = cases.iter().map(|(_, sent, must)| play(gateway.address, sent, *must));
    let came = join_all(played).await;
    let is_known = |name: &str, came: Came| {
        (LESS_EXACT.contains(&name) && came == Came::GoAway(PROTOCOL))
            || (DROPPED.contains(&name) && came == Came::Answer(200))
    };
    let wrong: Vec<_> = cases
        .iter()
        .zip(&came)
        .filter(|((name, _, must), came)| !is_what_must_be(**came, *must) && !is_known(name, **came))
        .map(|((name, _, must), came)| format!("{name}: {must:?}, but {came:?}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Both lists stay true: a name that is in no case, or a library that has become more exact, is told.
    for name in LESS_EXACT.iter().chain(DROPPED) {
        let at = cases.iter().position(|(case, _, _)| case == name).unwrap_or_else(|| panic!("{name}"));
        assert!(
            !is_what_must_be(came[at], cases[at].2) || came[at] == Came::Close,
            "{name} is as it must be"
        );
    }
    // What ended a connection ended nothing else.
    assert_eq!(
        play(gateway.address, &[headers(WHOLE, 1, &get(&[]))], Must::Answer(200)).await,
        Came::Answer(200)
    );
}

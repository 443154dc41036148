//! Frames: RFC 9113 §4 to §6.

use super::{
    ACK, AUTHORITY, CLOSED, COMPRESSION, CONTINUATION, Case, DATA, END_HEADERS, END_STREAM, FLOW_CONTROL,
    FRAME_SIZE, GOAWAY, METHOD, Must, PADDED, PING, PRIORITY, PROTOCOL, PUSH_PROMISE, RST_STREAM, SCHEME,
    SETTINGS, WHOLE, WINDOW_UPDATE, fields, frame, get, headers, post, setting, window,
};

#[rustfmt::skip]
pub(super) fn frames() -> Vec<Case> {
    let open = || headers(END_HEADERS, 1, &post(&[]));
    let whole = || headers(WHOLE, 1, &get(&[]));
    let large = vec![b'x'; 16_385];
    vec![
        ("4.1 an unknown type of frame is ignored", vec![frame(0x16, 0, 0, b"12345678")], Must::GoOn),
        ("4.1 flags that mean nothing are ignored", vec![frame(PING, 0x16, 0, b"12345678")], Must::GoOn),
        ("4.1 the reserved bit is ignored", vec![frame(PING, 0, 1 << 31, b"12345678")], Must::GoOn),
        ("4.2 DATA of the largest size", vec![open(), frame(DATA, END_STREAM, 1, &large[1..])], Must::Answer(200)),
        ("4.2 DATA over the largest size", vec![open(), frame(DATA, END_STREAM, 1, &large)], Must::Reset(&[FRAME_SIZE])),
        ("4.2 HEADERS over the largest size", vec![headers(WHOLE, 1, &large)], Must::End(&[FRAME_SIZE])),
        ("4.3 a block that is no HPACK", vec![headers(WHOLE, 1, &[0x40, 0x01])], Must::End(&[COMPRESSION])),
        ("4.3 PRIORITY within a block", vec![headers(END_STREAM, 1, &get(&[])), frame(PRIORITY, 0, 1, &[0; 5])], Must::End(&[PROTOCOL])),
        ("4.3 HEADERS of another stream within a block", vec![headers(END_STREAM, 1, &get(&[])), headers(WHOLE, 3, &get(&[]))], Must::End(&[PROTOCOL])),
        ("5.1 idle: DATA", vec![frame(DATA, END_STREAM, 1, b"x")], Must::End(&[PROTOCOL])),
        ("5.1 idle: RST_STREAM", vec![frame(RST_STREAM, 0, 1, &[0; 4])], Must::End(&[PROTOCOL])),
        ("5.1 idle: WINDOW_UPDATE", vec![window(1, 100)], Must::End(&[PROTOCOL])),
        ("5.1 idle: CONTINUATION", vec![frame(CONTINUATION, END_HEADERS, 1, &get(&[]))], Must::End(&[PROTOCOL])),
        ("5.1 half-closed: DATA", vec![silent(1), frame(DATA, END_STREAM, 1, b"x")], Must::Reset(&[CLOSED])),
        ("5.1 half-closed: HEADERS", vec![silent(1), headers(WHOLE, 1, &get(&[]))], Must::Reset(&[CLOSED])),
        ("5.1 half-closed: CONTINUATION", vec![whole(), frame(CONTINUATION, END_HEADERS, 1, &get(&[]))], Must::End(&[CLOSED, PROTOCOL])),
        ("5.1 closed by a reset: DATA", vec![open(), frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()), frame(DATA, END_STREAM, 1, b"x")], Must::Reset(&[CLOSED])),
        ("5.1.1 an even stream", vec![headers(WHOLE, 2, &get(&[]))], Must::End(&[PROTOCOL])),
        ("5.1.1 a smaller stream than the last", vec![silent(5), headers(WHOLE, 3, &get(&[]))], Must::End(&[PROTOCOL, CLOSED])),
        ("5.5 an unknown frame within a block", vec![headers(END_STREAM, 1, &get(&[])), frame(0x16, 0, 0, b"12345678")], Must::End(&[PROTOCOL])),
        ("6.1 DATA of the connection", vec![frame(DATA, END_STREAM, 0, b"x")], Must::End(&[PROTOCOL])),
        ("6.1 padding longer than its DATA", vec![open(), frame(DATA, END_STREAM | PADDED, 1, &[6, b'x', 0])], Must::End(&[PROTOCOL])),
        ("6.2 HEADERS of the connection", vec![headers(WHOLE, 0, &get(&[]))], Must::End(&[PROTOCOL])),
        ("6.2 padding longer than its HEADERS", vec![headers(WHOLE | PADDED, 1, &[&[200], &get(&[])[..]].concat())], Must::End(&[PROTOCOL])),
        ("6.3 PRIORITY of the connection", vec![frame(PRIORITY, 0, 0, &[0; 5])], Must::End(&[PROTOCOL])),
        ("6.3 PRIORITY of another length", vec![open(), frame(PRIORITY, 0, 1, &[0; 4])], Must::Reset(&[FRAME_SIZE])),
        ("6.4 RST_STREAM of the connection", vec![frame(RST_STREAM, 0, 0, &[0; 4])], Must::End(&[PROTOCOL])),
        ("6.4 RST_STREAM of another length", vec![open(), frame(RST_STREAM, 0, 1, &[0; 3])], Must::End(&[FRAME_SIZE])),
        ("6.5 SETTINGS acknowledged with a payload", vec![frame(SETTINGS, ACK, 0, &[0; 6])], Must::End(&[FRAME_SIZE])),
        ("6.5 SETTINGS of a stream", vec![frame(SETTINGS, 0, 1, &[])], Must::End(&[PROTOCOL])),
        ("6.5 SETTINGS of half an item", vec![frame(SETTINGS, 0, 0, &[0; 3])], Must::End(&[FRAME_SIZE])),
        ("6.5.2 push neither on nor off", vec![setting(2, 2)], Must::End(&[PROTOCOL])),
        ("6.5.2 a window over the largest", vec![setting(4, 1 << 31)], Must::End(&[FLOW_CONTROL])),
        ("6.5.2 frames under the smallest size", vec![setting(5, 16_383)], Must::End(&[PROTOCOL])),
        ("6.5.2 frames over the largest size", vec![setting(5, 1 << 24)], Must::End(&[PROTOCOL])),
        ("6.5.2 an unknown setting is ignored", vec![setting(0xff, 1)], Must::GoOn),
        ("6.6 a client promises nothing", vec![open(), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &get(&[])[..]].concat())], Must::End(&[PROTOCOL])),
        ("6.7 PING of a stream", vec![frame(PING, 0, 1, &[0; 8])], Must::End(&[PROTOCOL])),
        ("6.7 PING of another length", vec![frame(PING, 0, 0, &[0; 6])], Must::End(&[FRAME_SIZE])),
        ("6.7 an answer to no PING is ignored", vec![frame(PING, ACK, 0, b"nobody's")], Must::GoOn),
        ("6.8 GOAWAY of a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], Must::End(&[PROTOCOL])),
        ("6.9 a window of the connection by nothing", vec![window(0, 0)], Must::End(&[PROTOCOL])),
        ("6.9 a window of a stream by nothing", vec![open(), window(1, 0)], Must::Reset(&[PROTOCOL])),
        ("6.9 WINDOW_UPDATE of another length", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Must::End(&[FRAME_SIZE])),
        ("6.9.1 a window of the connection over the largest", vec![window(0, (1 << 31) - 1)], Must::End(&[FLOW_CONTROL])),
        ("6.9.1 a window of a stream over the largest", vec![open(), window(1, (1 << 31) - 1)], Must::Reset(&[FLOW_CONTROL])),
        ("6.10 CONTINUATION of the connection", vec![headers(END_STREAM, 1, &get(&[])), frame(CONTINUATION, END_HEADERS, 0, &[])], Must::End(&[PROTOCOL])),
        ("6.10 CONTINUATION after DATA", vec![open(), frame(DATA, 0, 1, b"x"), frame(CONTINUATION, END_HEADERS, 1, &get(&[]))], Must::End(&[PROTOCOL])),
        ("6.10 a block in three frames", vec![headers(END_STREAM, 1, &get(&[])), frame(CONTINUATION, 0, 1, &fields(&[("a", "1")])), frame(CONTINUATION, END_HEADERS, 1, &fields(&[("b", "2")]))], Must::Answer(200)),
    ]
}

/// A request that is not answered.
fn silent(stream: u32) -> Vec<u8> {
    headers(WHOLE, stream, &fields(&[METHOD, SCHEME, (":path", "/silent"), AUTHORITY]))
}

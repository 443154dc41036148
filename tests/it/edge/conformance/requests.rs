//! Requests and their fields: RFC 9113 §8, RFC 7541.

use super::{
    AUTHORITY, COMPRESSION, Case, DATA, END_HEADERS, METHOD, Must, PATH, PROTOCOL, SCHEME, WHOLE, fields,
    frame, get, headers, only, post,
};

#[rustfmt::skip]
pub(super) fn requests() -> Vec<Case> {
    let malformed = Must::Reset(&[PROTOCOL]);
    let with = |more: &[(&str, &str)]| vec![headers(WHOLE, 1, &get(more))];
    vec![
        ("8.1 a request", with(&[]), Must::Answer(200)),
        ("8.1 trailers that do not end the stream", vec![headers(END_HEADERS, 1, &post(&[])), headers(END_HEADERS, 1, &fields(&[("a", "b")]))], malformed),
        ("8.1 trailers with a pseudo-header", vec![headers(END_HEADERS, 1, &post(&[])), headers(WHOLE, 1, &fields(&[METHOD]))], malformed),
        ("8.1.1 less than the length", sized("3", &[b"x"]), Must::Refuse),
        ("8.1.1 more than the length", sized("1", &[b"x", b"x"]), Must::Refuse),
        ("8.1.1 no body where one was announced", with(&[("content-length", "1")]), Must::Refuse),
        ("8.2 an upper-case name", with(&[("X-Name", "a")]), malformed),
        ("8.2.1 LF in a value", with(&[("x", "a\nb")]), malformed),
        ("8.2.1 NUL in a value", with(&[("x", "a\0b")]), malformed),
        ("8.2.1 a blank in a name", with(&[("x y", "a")]), malformed),
        ("8.2.2 connection", with(&[("connection", "keep-alive")]), Must::Refuse),
        ("8.2.2 keep-alive", with(&[("keep-alive", "1")]), Must::Refuse),
        ("8.2.2 proxy-connection", with(&[("proxy-connection", "close")]), Must::Refuse),
        ("8.2.2 transfer-encoding", with(&[("transfer-encoding", "chunked")]), Must::Refuse),
        ("8.2.2 upgrade", with(&[("upgrade", "websocket")]), Must::Refuse),
        ("8.2.2 te: trailers", with(&[("te", "trailers")]), Must::Answer(200)),
        ("8.2.2 te: something else", with(&[("te", "gzip")]), Must::Refuse),
        ("8.3 an unknown pseudo-header", with(&[(":other", "a")]), malformed),
        ("8.3 a pseudo-header of responses", with(&[(":status", "200")]), malformed),
        ("8.3 a pseudo-header behind a field", vec![only(&[METHOD, SCHEME, AUTHORITY, ("a", "b"), PATH])], malformed),
        ("8.3.1 an empty path", vec![only(&[METHOD, SCHEME, AUTHORITY, (":path", "")])], Must::Refuse),
        ("8.3.1 no method", vec![only(&[SCHEME, PATH, AUTHORITY])], malformed),
        ("8.3.1 no scheme", vec![only(&[METHOD, PATH, AUTHORITY])], malformed),
        ("8.3.1 no path", vec![only(&[METHOD, SCHEME, AUTHORITY])], malformed),
        ("8.3.1 two methods", with(&[METHOD]), malformed),
        ("8.3.1 two schemes", with(&[SCHEME]), malformed),
        ("8.3.1 two paths", with(&[PATH]), malformed),
        ("8.3.1 no authority at all", vec![only(&[METHOD, SCHEME, PATH])], Must::Refuse),
        ("8.3.1 host beside authority, the same", with(&[("host", "app.example")]), Must::Answer(200)),
        ("8.3.1 host beside authority, another", with(&[("host", "evil.example")]), Must::Refuse),
        ("8.3.1 a user in the authority", vec![only(&[METHOD, SCHEME, PATH, (":authority", "a@app.example")])], Must::Refuse),
        ("8.5 CONNECT", vec![headers(END_HEADERS, 1, &fields(&[(":method", "CONNECT"), AUTHORITY]))], Must::Refuse),
        ("RFC 8441: a WebSocket, which was not offered", vec![headers(END_HEADERS, 1, &fields(&[(":method", "CONNECT"), (":protocol", "websocket"), SCHEME, PATH, AUTHORITY]))], Must::Refuse),
    ]
}

#[rustfmt::skip]
pub(super) fn compression() -> Vec<Case> {
    let block = |more: &[u8]| vec![headers(WHOLE, 1, &[&get(&[])[..], more].concat())];
    let lost = Must::End(&[COMPRESSION]);
    vec![
        ("7541 §2.3.3 an index that is not there", block(&[0x80 | 70]), lost),
        ("7541 §2.3.3 a name's index that is not there", block(&[0x40 | 62, 1, b'a']), lost),
        ("7541 §6.1 the index 0", block(&[0x80]), lost),
        ("7541 §4.2 a table's size behind a field", block(&[0x20]), lost),
        ("7541 §6.3 a table larger than allowed", vec![headers(WHOLE, 1, &[&[0x3f, 0xe1, 0x7f, 0x20], &get(&[])[..]].concat())], lost),
        ("7541 §5.2 padding of more than seven bits", block(&[0, 1, b'a', 0x82, 0x1f, 0xff]), lost),
        ("7541 §5.2 padding that is no end of string", block(&[0, 1, b'a', 0x81, 0x18]), lost),
        ("7541 §5.2 a string with an end of string", block(&[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff]), lost),
        ("7541 §5.1 a number without an end", block(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), lost),
        ("7541 §6.2.1 an entry that is used again", vec![headers(WHOLE, 1, &[&get(&[])[..], &[0x40, 1, b'a', 1, b'b', 0x80 | 62]].concat())], Must::Answer(200)),
    ]
}

/// A request with this `content-length` and these pieces of a body.
fn sized(length: &str, sent: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all = vec![headers(END_HEADERS, 1, &post(&[("content-length", length)]))];
    let last = sent.len() - 1;
    let data = sent.iter().enumerate();
    all.extend(data.map(|(at, data)| frame(DATA, u8::from(at == last), 1, data)));
    all
}

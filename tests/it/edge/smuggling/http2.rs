//! HTTP/2 requests that would become something else in HTTP/1.1. RFC 9113 §8.1.1, §8.2; std:117

use crate::support::frames::{DATA, END_STREAM, Frames, Outcome, block, frame, request};
use crate::support::gateway::Wanted;
use crate::support::recorder::{Recorder, Seen};

/// A head, and the content that follows it.
type Case = (Vec<(String, Vec<u8>)>, &'static [u8]);

fn with(fields: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    let all = request("POST", "/x", fields);
    all.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// The same with another value of a pseudo-header field; without it where there is none.
fn but(name: &str, value: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let mut fields = with(&[]);
    match value {
        Some(value) => {
            let field = fields.iter_mut().find(|(found, _)| found == name).unwrap();
            field.1 = value.as_bytes().to_vec();
        }
        None => fields.retain(|(found, _)| found != name),
    }
    fields
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn malformed() -> Vec<Case> {
    let hidden = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases: Vec<Case> = Vec::new();
    for fields in [
        // H2.TE, H2.CL
        [("transfer-encoding", "chunked")].as_slice(),
        &[("transfer-encoding", "identity")],
        &[("content-length", "5, 6")],
        &[("content-length", "5"), ("content-length", "6")],
        &[("content-length", "+5")],
        &[("content-length", "x")],
        &[("content-length", "")],
        // Of a connection.
        &[("connection", "close")],
        &[("connection", "transfer-encoding")],
        &[("keep-alive", "timeout=5")],
        &[("proxy-connection", "close")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        // Names and values that would end a line or a name.
        &[("X-Upper", "a")],
        &[("Transfer-Encoding", "chunked")],
        &[("transfer-encoding ", "chunked")],
        &[("transfer-encoding: chunked\r\nx", "a")],
        &[("x: a\r\ntransfer-encoding", "chunked")],
        &[("x y", "a")],
        &[("x:y", "a")],
        &[("x\0", "a")],
        &[("", "a")],
        &[("x", "a\r\nTransfer-Encoding: chunked")],
        &[("x", "a\nTransfer-Encoding: chunked")],
        &[("x", "a\rb")],
        &[("x", "a\0b")],
        &[("x", hidden)],
        &[("cookie", hidden)],
        // Pseudo-header fields where none belongs.
        &[("x", "a"), (":path", "/y")],
        &[(":path", "/y")],
        &[(":method", "GET")],
        &[(":authority", "b")],
        &[(":evil", "a")],
        &[(":status", "200")],
        // Two opinions of the host.
        &[("host", "b")],
        &[("host", "a"), ("host", "b")],
        &[("host", "")],
    ] {
        cases.push((with(fields), b"abcde"));
    }
    for (name, values) in [
        (
            ":path",
            ["", "x", "*x", "/a b", "/a\tb", "/a\r\nX: y", "/a\nX: y", "/a\0", "http://a/x"].as_slice(),
        ),
        (":path", &["//a/x", "/x HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled", "/\u{e9}", "/a\\b"]),
        (
            ":method",
            &["", "get", "G T", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET", "GET\r\n", "G\0T", "TRACE"],
        ),
        (
            ":authority",
            &["", "u@a", "a/b", "a b", "a,b", "a:b", "a\r\nX: y", "a\0", "a#b", "a?b", "[::1", "a%62"],
        ),
        (":scheme", &["h t", "http\r\nX: y"]),
    ] {
        for value in values {
            cases.push((but(name, Some(value)), b""));
        }
        if name != ":authority" {
            cases.push((but(name, None), b""));
        }
    }
    cases.push((but(":authority", None), b""));
    cases
}

#[tokio::test]
async fn what_is_malformed_reaches_no_upstream() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut wrong = Vec::new();
    for (fields, content) in malformed() {
        let mut client = Frames::connect(gateway.address, &[]).await;
        let borrowed: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let flags = if content.is_empty() { END_STREAM } else { 0 };
        let mut bytes = frame(1, flags | 4, 1, &block(&borrowed));
        if !content.is_empty() {
            bytes.extend(frame(DATA, END_STREAM, 1, content));
        }
        client.send(bytes).await;
        let outcome = client.outcome(1).await;
        let refused = match outcome {
            Outcome::Status(status) => (400..500).contains(&status),
            Outcome::Reset(_) | Outcome::GoneAway(_) | Outcome::Closed => true,
        };
        let seen = upstream.take();
        if !refused || !seen.is_empty() {
            wrong.push(format!("{outcome:?} {fields:?}\n  upstream: {seen:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_is_sound_is_framed_anew() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for (fields, content) in [
        (with(&[]), b"abcde".as_slice()),
        (with(&[("content-length", "5")]), b"abcde"),
        (with(&[("te", "trailers")]), b"abcde"),
        (with(&[("host", "a")]), b"abcde"),
        (with(&[("transfer_encoding", "chunked"), ("content.length", "0")]), b"abcde"),
        (with(&[]), b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        (with(&[("cookie", "a=1"), ("cookie", "b=2")]), b"abcde"),
    ] {
        let mut client = Frames::connect(gateway.address, &[]).await;
        let borrowed: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        client.open(1, 0, &borrowed).await;
        client.send(frame(DATA, END_STREAM, 1, content)).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(200), "{fields:?}");
        let seen = upstream.take();
        let [Seen::Request(one)] = seen.as_slice() else { panic!("{fields:?}: {seen:?}") };
        assert_eq!((one.body.as_slice(), one.all("host")), (content, vec!["a"]), "{fields:?}");
        assert!(one.fields.iter().all(|(name, _)| !name.contains(['_', '.'])), "{one:?}");
        assert!(one.all("cookie").len() <= 1 && one.all("content-length").len() <= 1);
    }
}

// H2.CL: the head may be on its way by the time the content contradicts it.
#[tokio::test]
async fn a_length_that_is_not_the_contents_ends_the_stream_and_no_content_of_it_is_a_request() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    let hidden = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for length in ["0", "3", "37", "300"] {
        let mut client = Frames::connect(gateway.address, &[]).await;
        client.open(1, 0, &request("POST", "/x", &[("content-length", length)])).await;
        client.send(frame(DATA, END_STREAM, 1, hidden)).await;
        assert_ne!(client.outcome(1).await, Outcome::Status(200), "{length}");
    }
    // What is answered next on the same pool was sent after them.
    let mut client = Frames::connect(gateway.address, &[]).await;
    client.open(1, END_STREAM, &request("GET", "/next", &[])).await;
    assert_eq!(client.outcome(1).await, Outcome::Status(200));
    for seen in upstream.take() {
        let Seen::Request(one) = seen else { panic!("{seen:?}") };
        assert!(one.body.is_empty() && !one.target.contains("smuggled"), "{one:?}");
    }
}

// CVE-2026-41059: whoever judges a path sees what is forwarded.
#[tokio::test]
async fn a_fragment_is_cut_before_anyone_judges_the_path() {
    let upstream = Recorder::start().await;
    let gateway = Wanted::before(upstream.address).start().await;
    for (path, status) in [("/a#b", 200), ("/oauth2/session#/public", 401), ("/api/x#/../public", 401)] {
        let mut client = Frames::connect(gateway.address, &[]).await;
        client.open(1, END_STREAM, &request("GET", path, &[])).await;
        assert_eq!(client.outcome(1).await, Outcome::Status(status), "{path}");
    }
    let seen = upstream.take();
    assert!(matches!(seen.as_slice(), [Seen::Request(one)] if one.target == "/a"), "{seen:?}");
}

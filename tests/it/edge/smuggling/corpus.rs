//! A list of requests that servers are known to read differently, each over both paths.
//!
//! Behind each stands a whole request for `/smuggled`. Nobody may ever see it.

use bearward::edge::settings::FastPath;
use tokio::io::AsyncReadExt;

use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::recorder::{Recorder, Seen};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What must become of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// A 4xx, and no byte of it upstream.
    Refused,
    /// A 4xx or the end of the connection; what went upstream by then is no whole request.
    Cut,
    /// One request upstream, with this body.
    Once(&'static str),
}

use Fate::{Cut, Once, Refused};

fn head(fields: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n{fields}\r\n\r\n")
}

fn chunked(body: &str) -> String {
    format!("{}{body}", head("Transfer-Encoding: chunked"))
}

/// Threat T12; std:113, std:114, std:115
#[expect(clippy::too_many_lines, reason = "a list")]
fn framing() -> Vec<(String, Fate)> {
    let mut cases = Vec::new();
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Content-Length: 6\r\ntransfer-encoding:chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding:",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding: \u{c}chunked",
        "Transfer-Encoding: chun\0ked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\0: chunked",
        " Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 6",
        "Content-Length: 6\r\ncontent-length: 3",
        "Content-Length: 3, 3",
        "Content-Length: 3, 6",
        "Content-Length: 3,",
        "Content-Length: +3",
        "Content-Length: -1",
        "Content-Length: 0x3",
        "Content-Length: 3 3",
        "Content-Length: 3.0",
        "Content-Length: 1e1",
        "Content-Length: ٣",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999",
        "Content-Length : 3",
        "Content-Length\u{a0}: 3",
        "Content-Length:\r\n 3",
        "X: a\r\n folded",
        "X: a\r\n\tfolded",
        "X: a\0b",
        "X: a\rb",
        "X: a\u{7f}b",
        "X\0: a",
        "X : a",
        ": a",
        "no colon",
        "X: a\n",
    ] {
        cases.push((format!("{}0\r\n\r\n", head(fields)), Refused));
    }
    cases.push((head("Transfer-Encoding: chunked").replace("HTTP/1.1", "HTTP/1.0") + "0\r\n\r\n", Refused));
    cases.push((head("Content-Length: 3").replace("\r\n", "\n"), Refused));
    cases.push((head("Content-Length: 3").replace("\r\n", "\r"), Refused));
    for (fields, body, fate) in [
        ("Content-Length: 3", "abc", Once("abc")),
        ("Content-Length: 0003", "abc", Once("abc")),
        ("Content-Length:\t3 ", "abc", Once("abc")),
        ("Content-Length: 0", "", Once("")),
        ("X: y", "", Once("")),
        ("Transfer-Encoding: CHUNKED", "3\r\nabc\r\n0\r\n\r\n", Once("abc")),
        ("Transfer-Encoding:\tchunked\t", "3\r\nabc\r\n0\r\n\r\n", Once("abc")),
        // Aliases are no framing here and reach nobody who takes them for it. std:109
        ("Transfer_Encoding: chunked", "", Once("")),
        ("Content_Length: 5", "", Once("")),
        ("Content-Length: 3\r\nTransfer.Encoding: chunked", "abc", Once("abc")),
    ] {
        cases.push((format!("{}{body}", head(fields)), fate));
    }
    cases
}

/// std:118
fn chunks() -> Vec<(String, Fate)> {
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(100_000));
    let mut cases: Vec<_> = [
        "3\nabc\n0\n\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "g\r\nabc\r\n0\r\n\r\n",
        "10000000000000000\r\nabc\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF3\r\nabc\r\n0\r\n\r\n",
        "8000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\0\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\n\n",
        "3\r\r\nabc\r\n0\r\n\r\n",
    ]
    .into_iter()
    .map(|body| (chunked(body), Cut))
    .collect();
    cases.push((chunked(&long), Cut));
    // pingora reads a size without digits as 0, and takes any byte of an extension. Both end where they end upstream:
    // what is behind goes nowhere.
    cases.push((chunked("\r\nabc\r\n0\r\n\r\n"), Once("")));
    cases.push((chunked(";a\r\nabc\r\n0\r\n\r\n"), Once("")));
    cases.push((chunked("3;a\nb\r\nabc\r\n0\r\n\r\n"), Once("abc")));
    for body in [
        "3\r\nabc\r\n0\r\n\r\n",
        "03\r\nabc\r\n00\r\n\r\n",
        "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
        "3;a=b\r\nabc\r\n0;c\r\n\r\n",
        "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n",
        // Trailers are dropped, whatever they are called.
        "3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "3\r\nabc\r\n0\r\nContent-Length: 5\r\nHost: evil\r\nAuthorization: evil\r\n\r\n",
        "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        cases.push((chunked(body), Once("abc")));
    }
    cases
}

/// std:116, std:120, std:122
#[expect(clippy::too_many_lines, reason = "a list")]
fn request_lines() -> Vec<(String, Fate)> {
    let with = |line: &str, host: &str| format!("{line}\r\n{host}X: y\r\n\r\n");
    let mut cases = Vec::new();
    for line in [
        "GET /x",
        "GET /x HTTP/0.9",
        "GET /x HTTP/1.2",
        "GET /x HTTP/1.10",
        "GET /x HTTP/2.0",
        "GET /x HTTP/3",
        "GET /x http/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x HTTP/1,1",
        "GET /x HTTP /1.1",
        "GET  /x HTTP/1.1",
        "GET\t/x\tHTTP/1.1",
        " GET /x HTTP/1.1",
        "GET /x y HTTP/1.1",
        "GET /x\u{b}y HTTP/1.1",
        "GET /x\0 HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET /x#y HTTP/1.1",
        "GET x HTTP/1.1",
        "GET  HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET //a/x HTTP/1.1",
        "GET http://b/x HTTP/1.1",
        "GET http://a:80/x HTTP/1.1",
        "GET http://u@a/x HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http:/x HTTP/1.1",
        "GET ftp://a/x HTTP/1.1",
        "GET http://a?x HTTP/1.1",
        "CONNECT a:443 HTTP/1.1",
        "TRACE /x HTTP/1.1",
        "G\0T /x HTTP/1.1",
        "G@T /x HTTP/1.1",
        "get /x HTTP/1.1",
        "GET * HTTP/1.1",
        "\u{16}\u{3}\u{1} /x HTTP/1.1",
    ] {
        cases.push((with(line, "Host: a\r\n"), Refused));
    }
    for host in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a,b\r\n",
        "Host: a, a\r\n",
        "Host: a b\r\n",
        "Host: a\tb\r\n",
        "Host: u@a\r\n",
        "Host: u:p@a\r\n",
        "Host: a/b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: <a>\r\n",
        "Host: \"a\"\r\n",
        "Host: a%62\r\n",
        "Host: \u{e9}\r\n",
        "Host: a:\r\n",
        "Host: a:b\r\n",
        "Host: a:123456\r\n",
        "Host: a:80:80\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [a]\r\n",
        "Host: a\0b\r\n",
        "Host : a\r\n",
        " Host: a\r\n",
        "Host:\r\n a\r\n",
        "X_Host: a\r\n",
    ] {
        cases.push((with("GET /x HTTP/1.1", host), Refused));
    }
    for (line, host) in [
        ("GET /x HTTP/1.1", "Host: a\r\n"),
        ("GET /x HTTP/1.1", "hOsT:\tA.b-c:8080 \r\n"),
        ("GET /x HTTP/1.1", "Host: [::1]:8080\r\n"),
        ("GET http://a/x HTTP/1.1", "Host: a\r\n"),
        ("GET HTTP://A/x HTTP/1.1", "Host: a\r\n"),
        ("GET /x HTTP/1.0", "Host: a\r\n"),
        ("GET /x HTTP/1.0", ""),
    ] {
        cases.push((with(line, host), Once("")));
    }
    cases
}

/// std:119: what comes behind an upgrade that is not granted is nobody's.
fn upgrades() -> Vec<(String, Fate)> {
    let fields = "Host: a\r\nOrigin: https://app.example\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    vec![
        (format!("GET /x HTTP/1.1\r\n{fields}Upgrade: websocket\r\n{key}\r\n"), Once("")),
        (format!("GET /x HTTP/1.1\r\n{fields}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"), Once("")),
        (format!("GET /x HTTP/1.1\r\n{fields}Upgrade: tls/1.3\r\n\r\n"), Once("")),
    ]
}

#[tokio::test]
async fn one_request_upstream_or_none_and_never_what_was_hidden_behind_it() {
    let mut cases = framing();
    cases.extend(chunks());
    cases.extend(request_lines());
    cases.extend(upgrades());
    let mut wrong = Vec::new();
    for fast_path in [FastPath::On, FastPath::Off] {
        let upstream = Recorder::start().await;
        let mut wanted = Wanted::before(upstream.address);
        wanted.fast_path = fast_path;
        wanted.limits.idle_timeout = std::time::Duration::from_secs(2);
        let gateway = wanted.start().await;
        for (bytes, fate) in &cases {
            let what = bytes.chars().take(200).collect::<String>();
            let status = attack(gateway.address, bytes).await;
            let seen = upstream.take();
            if let Some(fault) = judge(status, &seen, *fate) {
                wrong.push(format!("{fault}: {status:?}, {fast_path:?}, {what:?}\n  upstream: {seen:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
}

/// Sends it with a request hidden behind it, then another; the first status, `None` where nothing was answered.
async fn attack(address: std::net::SocketAddr, bytes: &str) -> Option<u16> {
    let mut client = Raw::connect(address).await;
    client.send(format!("{bytes}{SMUGGLED}")).await;
    let mut answer = Vec::new();
    let whole = |answer: &[u8]| {
        let end = memchr::memmem::find(answer, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        (answer.len() >= end + 4 + length.unwrap_or(0)).then_some(())
    };
    while whole(&answer).is_none() {
        let read = client.tcp.read_buf(&mut answer);
        let read = tokio::time::timeout(std::time::Duration::from_secs(20), read).await.expect("no answer");
        if read.unwrap_or(0) == 0 {
            break;
        }
    }
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    // Whoever took the hidden request for one answers it before this one, or instead of it.
    let next = b"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    if tokio::io::AsyncWriteExt::write_all(&mut client.tcp, next).await.is_ok() {
        let rest = client.tcp.read_to_end(&mut answer);
        drop(tokio::time::timeout(std::time::Duration::from_secs(20), rest).await.expect("no end"));
    }
    status
}

fn judge(status: Option<u16>, seen: &[Seen], fate: Fate) -> Option<&'static str> {
    let mut requests = Vec::new();
    for one in seen {
        match one {
            Seen::Request(request) if request.target == "/next" => {}
            Seen::Request(request) => requests.push(request),
            Seen::Broken(..) => return Some("the upstream was sent no HTTP"),
        }
    }
    if requests.iter().any(|request| request.target.contains("smuggled")) {
        return Some("SMUGGLED");
    }
    let refused = status.is_some_and(|status| (400..500).contains(&status));
    match fate {
        Refused if !refused => Some("not refused"),
        Cut if !refused && status.is_some() => Some("not cut"),
        Refused | Cut if !requests.is_empty() => Some("forwarded"),
        Refused | Cut => None,
        Once(_) if status != Some(200) => Some("refused"),
        Once(body) => match requests.as_slice() {
            [one] if one.body != body.as_bytes() => Some("another body"),
            [one] if one.all("host").len() != 1 => Some("hosts"),
            [one] if one.fields.iter().any(|(name, _)| name.contains(['_', '.'])) => Some("an alias"),
            [one] if format!("{one:?}").contains("evil") => Some("a trailer"),
            [_] => None,
            _ => Some("not once"),
        },
    }
}

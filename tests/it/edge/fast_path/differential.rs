//! The same requests and responses with the fast path and without it.

use bearward::edge::settings::FastPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Fields, fields, gateway, taken};
use crate::support::gateway::Gateway;
use crate::support::scripted::{Script, Scripted, Then, script};
use crate::support::session::{NEXT_COOKIE, session_cookie};

/// What a client makes of what it got.
#[derive(Debug, PartialEq)]
enum Got {
    /// Answers before the response, and the response.
    Whole {
        before: Vec<(u16, Fields)>,
        status: u16,
        reason: String,
        fields: Fields,
        body: Vec<u8>,
        goes_on: bool,
    },
    /// A 5xx of the gateway's, or a response that is visibly cut.
    Failed,
}

struct Client {
    tcp: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn fill(&mut self) -> Option<()> {
        let read =
            tokio::time::timeout(std::time::Duration::from_secs(10), self.tcp.read_buf(&mut self.read));
        (read.await.expect("no answer").unwrap_or(0) > 0).then_some(())
    }

    async fn line(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, end) {
                return Some(String::from_utf8(self.read.drain(..at + end.len()).collect()).unwrap());
            }
            self.fill().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            self.fill().await?;
        }
        Some(self.read.drain(..length).collect())
    }

    async fn body(&mut self, fields: &Fields) -> Option<Vec<u8>> {
        if let Some(lengths) = fields.get("content-length") {
            assert_eq!((lengths.len(), fields.get("transfer-encoding")), (1, None));
            return self.exactly(lengths[0].parse().unwrap()).await;
        }
        assert_eq!(fields["transfer-encoding"], ["chunked"]);
        let mut body = Vec::new();
        loop {
            let size = self.line(b"\r\n").await?;
            let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
            let chunk = self.exactly(size + 2).await?;
            assert_eq!(&chunk[size..], b"\r\n");
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn response(&mut self, request: &str) -> Option<Got> {
        let mut before = Vec::new();
        let (status, reason, mut fields) = loop {
            let head = self.line(b"\r\n\r\n").await?;
            let status: u16 = head[9..12].parse().unwrap();
            if status >= 200 {
                let reason = head.lines().next().unwrap().get(13..).unwrap_or_default().to_owned();
                break (status, reason, fields(&head));
            }
            // Nobody asks for another protocol: what followed would be taken for the response.
            assert_ne!(status, 101, "{request}");
            before.push((status, fields(&head)));
        };
        if status == 502 || status == 504 {
            return None;
        }
        let bodiless = request.starts_with("HEAD") || status == 204 || status == 304;
        let body = if bodiless { Vec::new() } else { self.body(&fields).await? };
        // The date is that of the response, or that of the gateway.
        assert_eq!(fields.remove("date").map(|dates| dates.len()), Some(1));
        let ends = fields.remove("connection").is_some_and(|options| options == ["close"]);
        // Each seal is another, and a second later its life is shorter.
        for cookie in fields.get_mut("set-cookie").into_iter().flatten() {
            if cookie.starts_with(NEXT_COOKIE) {
                let attributes = cookie.split("; ").skip(1).filter(|one| !one.starts_with("Max-Age="));
                *cookie = attributes.fold(NEXT_COOKIE.to_owned(), |all, one| format!("{all}; {one}"));
            }
        }
        let probe = self.tcp.write_all(b"GET /oauth2/nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let goes_on = probe.is_ok() && self.line(b"\r\n\r\n").await.is_some();
        assert!(!(ends && goes_on), "{request}");
        Some(Got::Whole { before, status, reason, fields, body, goes_on })
    }
}

async fn ask(gateway: &Gateway, request: &str) -> Got {
    let mut tcp = TcpStream::connect(gateway.address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut client = Client { tcp, read: Vec::new() };
    client.response(request).await.unwrap_or(Got::Failed)
}

/// What an upstream saw, without what names the request and the gateway.
fn seen(head: &str) -> (String, Fields) {
    let mut fields = fields(head);
    assert_eq!(fields.remove("x-request-id").map(|ids| ids[0].len()), Some(16));
    let via = fields.get_mut("via").unwrap().last_mut().unwrap();
    assert!(via.contains(" bearward-"), "{via}");
    via.truncate(3);
    (head.lines().next().unwrap().to_owned(), fields)
}

fn requests() -> Vec<String> {
    let cookie = session_cookie();
    let mut requests = Vec::new();
    for method in ["GET", "HEAD"] {
        requests.push(format!("{method} /{{}}?a=b&c=%2F HTTP/1.1\r\nHost: app.example\r\n\r\n"));
        requests.push(format!("{method} /api/{{}} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
    }
    for fields in [
        "host:\tA.example \r\nCONNECTION:Keep-Alive\r\nx-empty:\r\nX-Blank: \t a  b \t",
        "Host: a\r\nConnection: close",
        "Host: a\r\nCookie: one=1\r\nCookie: two=2\r\nAuthorization: Basic x",
        "Host: a\r\nX-Forwarded-For: evil\r\nX_User: evil\r\nX-Real-IP: evil\r\nForwarded: for=evil\r\nVia: 1.0 x",
        "Host: app.example\r\nUpgrade-Insecure-Requests: 1\r\nAccept: text/html\r\nSec-Fetch-Mode: navigate",
        "Host: a\r\nX-Latin: \u{e9}\r\nRange: bytes=0-1\r\nIf-None-Match: \"x\"",
    ] {
        requests.push(format!("GET /{{}} HTTP/1.1\r\n{fields}\r\n\r\n"));
    }
    let both = format!("Cookie: one=1; {cookie}; two=2\r\nAuthorization: Bearer evil\r\nX-Request-Id: evil");
    requests
        .push(format!("GET /api/{{}} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n{both}\r\n\r\n"));
    // Not ordinary: the same by pingora in either case.
    for request in [
        "POST /{} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "GET /{} HTTP/1.1\r\nHost: a\r\nConnection: x-hop\r\nX-Hop: evil\r\nTE: trailers\r\n\r\n",
        "GET http://a/{} HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        requests.push(request.to_owned());
    }
    requests
}

fn responses() -> Vec<Script> {
    let fields: String =
        (0..120).map(|number| format!("X-Field-{number}: {}\r\n", "v".repeat(200))).collect();
    let mut scripts = framings();
    scripts.extend([
        script(&["HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 5\r\n\r\n"], Then::Keep),
        script(&["HTTP/1.1 204 No Content\r\n\r\n"], Then::Keep),
        script(
            &[
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nSet-Cookie: __Host-bearward=evil\r\nKeep-Alive: evil\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ],
            Then::Keep,
        ),
        script(&["HTTP/1.1 302 Found\r\nLocation: /b?c\r\nContent-Length: 0\r\n\r\n"], Then::Keep),
        script(
            &["HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nCache-Control: max-age=9\r\n\r\nno"],
            Then::Keep,
        ),
        script(
            &[
                "HTTP/1.1 200 OK\r\nSet-Cookie: theirs=1\r\nSet-Cookie: __Host-bearward=evil\r\nSet-Cookie: more=2\r\n\
               Expires: x\r\nSurrogate-Control: x\r\nContent-Length: 0\r\n\r\n",
            ],
            Then::Keep,
        ),
        script(
            &["HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: evil\r\nKeep-Alive: timeout=5\r\n\
               Proxy-Connection: evil\r\nUpgrade: h2c\r\nVia: 1.1 behind\r\nContent-Length: 2\r\n\r\nok"],
            Then::Close,
        ),
        script(&[&format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")], Then::Keep),
    ]);
    scripts.extend(broken());
    scripts
}

/// Every way in which a body can end.
fn framings() -> Vec<Script> {
    let large = "x".repeat(60_000);
    vec![
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], Then::Keep),
        script(
            &["HTTP/1.1 200 Very ", "Fine\r\nContent-Le", "ngth: 4\r\nX: \t a \r\n\r", "\no", "", "kay"],
            Then::Keep,
        ),
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], Then::Keep),
        script(&[&format!("HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n{large}")], Then::Keep),
        script(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], Then::Keep),
        script(
            &[
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "2;a=b\r\no",
                "k\r",
                "\n00",
                "0\r\nT: a\r\n\r\n",
            ],
            Then::Keep,
        ),
        script(
            &[&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\n{large}\r\n0\r\n\r\n")],
            Then::Keep,
        ),
        script(
            &["HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", "data: 2\n\n"],
            Then::Close,
        ),
        script(&["HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"], Then::Close),
        script(&["HTTP/1.0 200 OK\r\n\r\nold"], Then::Close),
        script(&["HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold"], Then::Keep),
    ]
}

/// Responses that are none, or not whole; of a HEAD, only those whose head is none.
fn broken() -> Vec<Script> {
    vec![
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"], Then::Close),
        script(&["HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcd"], Then::Close),
        script(&["SSH-2.0-x\r\n\r\n"], Then::Close),
        script(&["HTTP/1.1 200 OK\r\nno colon\r\n\r\n"], Then::Close),
        script(&["HTTP/1.1 200 OK\r\nContent-Le"], Then::Close),
        script(&[], Then::Close),
        script(&[], Then::Silence),
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], Then::Close),
        script(&["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"], Then::Silence),
        script(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"], Then::Close),
        script(&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"], Then::Close),
        script(
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n"],
            Then::Close,
        ),
        script(
            &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"],
            Then::Close,
        ),
        script(
            &["HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc"],
            Then::Close,
        ),
    ]
}

#[tokio::test]
async fn upstream_and_client_see_the_same_with_and_without_it() {
    let scripts = responses();
    let all = (0..scripts.len()).map(|number| compare(&scripts, number));
    futures_util::future::join_all(all).await;
}

async fn compare(scripts: &[Script], number: usize) {
    let upstream = Scripted::start(scripts.to_vec()).await;
    let on = gateway(upstream.address, FastPath::On).await;
    let off = gateway(upstream.address, FastPath::Off).await;
    let mut requests = requests();
    if scripts[number].is_silent() {
        // Each waits until it is given up.
        requests.truncate(3);
    }
    let mut whole = 0;
    for request in &requests {
        let request = request.replace("{}", &number.to_string());
        let what = format!("{request}\nresponse {number}");
        let begun = upstream.heads().len();
        let without = ask(&off, &request).await;
        let halfway = upstream.heads().len();
        let with = ask(&on, &request).await;
        assert_eq!(with, without, "{what}");
        assert!(!format!("{with:?}").contains("evil"), "{what}\n{with:?}");
        let heads = upstream.heads();
        let saw =
            |range: std::ops::Range<usize>| heads[range].iter().map(|head| seen(head)).collect::<Vec<_>>();
        assert_eq!(saw(halfway..heads.len()), saw(begun..halfway), "{what}");
        assert_eq!(halfway, begun + 1, "{what}");
        whole += usize::from(with != Got::Failed);
    }
    let is_broken = number >= scripts.len() - broken().len();
    assert_eq!(whole == requests.len(), !is_broken, "response {number}: {whole}");
    // Three of the requests are not ordinary, and are the last ones.
    let ordinary = requests.len().min(ORDINARY);
    assert!(taken(&on) >= ordinary, "response {number}: {}", taken(&on));
    assert_eq!(taken(&off), 0);
}

const ORDINARY: usize = 11;

// std:113: where pingora bears with more, its opinion is not asked.
#[tokio::test]
async fn what_can_be_framed_in_two_ways_is_no_response() {
    for head in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    ] {
        let scripts = vec![
            script(&[&format!("HTTP/1.1 200 OK\r\n{head}")], Then::Keep),
            script(&["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], Then::Keep),
        ];
        let upstream = Scripted::start(scripts).await;
        let on = gateway(upstream.address, FastPath::On).await;
        assert_eq!(ask(&on, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await, Got::Failed, "{head:?}");
        // Nor is its connection of any further use.
        let next = ask(&on, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(matches!(next, Got::Whole { status: 200, .. }), "{head:?}: {next:?}");
        assert_eq!(upstream.connections(), 2, "{head:?}");
    }
}

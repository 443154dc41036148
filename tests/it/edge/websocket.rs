//! WebSockets as tunnels: what both sides say passes byte for byte, and nothing passes before both agreed.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::support::gateway::Wanted;
use crate::support::raw::Raw;
use crate::support::session::{session_cookie, with_session};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// An upstream that answers one head by `answer` and hands the connection over; what came with the head comes first.
struct Tunnels {
    address: SocketAddr,
    opened: mpsc::UnboundedReceiver<(String, Vec<u8>, TcpStream)>,
}

impl Tunnels {
    async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, opened) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                let mut read = Vec::new();
                let end = loop {
                    if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
                        break at + 4;
                    }
                    if tcp.read_buf(&mut read).await.unwrap_or(0) == 0 {
                        return;
                    }
                };
                // Whatever comes before the answer was not asked for.
                drop(timeout(Duration::from_millis(300), tcp.read_buf(&mut read)).await);
                let early = read.split_off(end);
                tcp.write_all(answer.as_bytes()).await.unwrap();
                if sender.send((String::from_utf8(read).unwrap(), early, tcp)).is_err() {
                    return;
                }
            }
        });
        Self { address, opened }
    }

    async fn next(&mut self) -> (String, Vec<u8>, TcpStream) {
        timeout(Duration::from_secs(20), self.opened.recv()).await.expect("a handshake arrives").unwrap()
    }
}

fn handshake(path: &str, more: &str) -> String {
    with_session(&format!(
        "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}"
    ))
}

/// Bytes of which no two neighbourhoods are alike.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn what_both_sides_agreed_on_and_say_passes_untouched() {
    let mut upstream = Tunnels::start(SWITCH).await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    let offer = "Sec-WebSocket-Protocol: chat, other\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    client.send(handshake("/api/x", offer)).await;
    let (asked, early, mut server) = upstream.next().await;
    for line in [
        "upgrade: websocket\r\n",
        "sec-websocket-version: 13\r\n",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "sec-websocket-protocol: chat, other\r\n",
        "sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
        "authorization: Bearer of-the-session\r\n",
    ] {
        assert!(asked.to_ascii_lowercase().contains(&line.to_ascii_lowercase()), "{line} is not in {asked}");
    }
    assert!(!asked.contains("bearward="), "{asked}");
    assert_eq!(early, b"");
    let (status, head) = client.head().await;
    assert_eq!(status, 101);
    for line in ["Sec-WebSocket-Protocol: chat\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n"] {
        assert!(head.to_ascii_lowercase().contains(&line.to_ascii_lowercase()), "{line} is not in {head}");
    }
    // Frames with reserved bits, large ones, pings: nobody here knows them from noise.
    let bytes = noise(3_000_000);
    let (mut from_client, mut to_client) = client.tcp.split();
    let (mut from_server, mut to_server) = server.split();
    let check = |mut read: Vec<u8>| {
        read.truncate(bytes.len());
        assert!(read == bytes, "other bytes than were sent");
    };
    let receive = async |half: &mut (dyn tokio::io::AsyncRead + Unpin + Send)| {
        let mut all = vec![0; bytes.len()];
        half.read_exact(&mut all).await.unwrap();
        all
    };
    let (sent, answered, up, down) = tokio::join!(
        to_client.write_all(&bytes),
        to_server.write_all(&bytes),
        receive(&mut from_server),
        receive(&mut from_client),
    );
    sent.unwrap();
    answered.unwrap();
    check(up);
    check(down);
}

// std:119, RUSTSEC-2026-0033
#[tokio::test]
async fn bytes_behind_a_handshake_wait_for_its_answer() {
    let mut upstream = Tunnels::start(SWITCH).await;
    let gateway = Wanted::before(upstream.address).start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send(handshake("/api/x", "") + "early").await;
    let (_, early, mut server) = upstream.next().await;
    assert_eq!(early, b"");
    assert_eq!(client.head().await.0, 101);
    let mut bytes = [0; 5];
    timeout(Duration::from_secs(20), server.read_exact(&mut bytes)).await.expect("not lost").unwrap();
    assert_eq!(&bytes, b"early");
}

#[tokio::test]
async fn an_upstream_may_refuse_and_what_was_sent_early_is_no_request() {
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
        (
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
            426,
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
    ] {
        let mut upstream = Tunnels::start(answer).await;
        let gateway = Wanted::before(upstream.address).start().await;
        let mut client = Raw::connect(gateway.address).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: app.example\r\n\r\n";
        client.send(handshake("/api/x", "") + smuggled).await;
        let (asked, early, mut server) = upstream.next().await;
        assert!(asked.starts_with("GET /api/x "), "{asked}");
        assert_eq!(early, b"", "{status}");
        let response = client.response().await;
        assert_eq!(response.status, status);
        if status == 426 {
            // RFC 9110 §15.5.22: it says what it wants.
            assert_eq!(response.all("upgrade"), ["websocket"], "{response:?}");
        }
        assert!(client.is_closed().await, "{status}");
        let mut rest = Vec::new();
        drop(timeout(Duration::from_secs(1), server.read_to_end(&mut rest)).await);
        assert_eq!(String::from_utf8_lossy(&rest), "", "{status}: bytes that nobody asked for");
        assert!(timeout(Duration::from_millis(200), upstream.opened.recv()).await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_tunnel_ends_with_either_side_and_what_was_said_before_arrives() {
    let mut upstream = Tunnels::start(SWITCH).await;
    let gateway = Wanted::before(upstream.address).start().await;
    for server_ends in [true, false] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(handshake("/api/x", "")).await;
        let (_, _, mut server) = upstream.next().await;
        assert_eq!(client.head().await.0, 101);
        let (ends, stays) =
            if server_ends { (&mut server, &mut client.tcp) } else { (&mut client.tcp, &mut server) };
        ends.write_all(b"last words").await.unwrap();
        ends.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let end = timeout(Duration::from_secs(20), stays.read_to_end(&mut heard)).await.expect("it ends");
        assert!(end.is_ok() && heard == b"last words", "server_ends: {server_ends}, {heard:?}");
    }
}

// std:165, T19
#[tokio::test]
async fn a_handshake_without_session_or_from_elsewhere_reaches_no_upstream() {
    let mut upstream = Tunnels::start(SWITCH).await;
    let gateway = Wanted::before(upstream.address).start().await;
    let ask = |fields: &str| {
        format!(
            "GET /api/x HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
        )
    };
    let cookie = session_cookie();
    for (fields, status) in [
        ("Origin: https://app.example\r\n".to_owned(), 401),
        (format!("Origin: https://evil.example\r\nCookie: {cookie}\r\n"), 403),
        (format!("Origin: null\r\nCookie: {cookie}\r\n"), 403),
        (format!("Cookie: {cookie}\r\n"), 403),
    ] {
        let mut client = Raw::connect(gateway.address).await;
        let response = client.call(ask(&fields)).await;
        assert_eq!(response.status, status, "{fields}");
        assert!(!response.head.contains("Location"), "{response:?}");
    }
    assert!(upstream.opened.try_recv().is_err());
}

// RFC 6455 §4.2.1
#[tokio::test]
async fn what_asks_for_a_websocket_and_is_no_handshake_reaches_no_upstream() {
    let mut upstream = Tunnels::start(SWITCH).await;
    let gateway = Wanted::before(upstream.address).start().await;
    for (method, fields, body, passes) in [
        ("GET", "Content-Length: 5\r\n", "hello", false),
        ("GET", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n", false),
        ("POST", "", "", false),
        ("POST", "Content-Length: 5\r\n", "hello", false),
        ("GET", "Content-Length: 0\r\n", "", true),
    ] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(handshake("/api/x", fields).replace("GET /", &format!("{method} /")) + body).await;
        let (status, head) = client.head().await;
        assert_eq!(status, if passes { 101 } else { 400 }, "{method} {fields} {head}");
        assert_eq!(upstream.opened.try_recv().is_ok(), passes, "{method} {fields}");
    }
}

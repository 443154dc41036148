//! Responses that two readers could take for different ones: none reaches a client in two ways, over either path.

use bearward::edge::settings::FastPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::gateway::Wanted;
use crate::support::scripted::{Scripted, Then, script};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

#[tokio::test]
async fn a_client_sees_one_framing_and_never_what_was_hidden_behind_it() {
    let heads = [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 46\r\n\r\nok",
        "Content-Length: 2, 46\r\n\r\nok",
        "Content-Length: 2\r\n\r\nok",
        "Content-Length: +2\r\n\r\nok",
        "Content-Length: 0x2\r\n\r\nok",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\nContent-Length: 46\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        "X: a\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok",
        "X: a\0b\r\nContent-Length: 2\r\n\r\nok",
        "Content-Length: 2\r\nConnection: content-length\r\n\r\nok",
        "Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ];
    for fast_path in [FastPath::On, FastPath::Off] {
        for head in heads {
            // The hidden response comes with the first; the second request is answered by itself.
            let first = format!("HTTP/1.1 200 OK\r\n{head}{EVIL}");
            let upstream = Scripted::start(vec![
                script(&[&first], Then::Close),
                script(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"], Then::Keep),
            ])
            .await;
            let mut wanted = Wanted::before(upstream.address);
            wanted.fast_path = fast_path;
            let gateway = wanted.start().await;
            let mut tcp = TcpStream::connect(gateway.address).await.unwrap();
            tcp.write_all(b"GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while memchr::memmem::find(&answer, b"\r\n\r\n").is_none() {
                assert!(tcp.read_buf(&mut answer).await.unwrap_or(0) > 0, "{fast_path:?} {head:?}");
            }
            // Where the connection goes on, the next answer is that of the next request.
            drop(tcp.write_all(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await);
            drop(tcp.read_to_end(&mut answer).await);
            let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
            let (fields, body) = text.split_once("\r\n\r\n").unwrap();
            let lengths = fields.matches("\r\ncontent-length:").count();
            let codings = fields.matches("\r\ntransfer-encoding:").count();
            assert_eq!(lengths + codings, 1, "{fast_path:?} {head:?}\n{text}");
            assert!(
                !fields.contains("set-cookie") && !fields.contains('\0'),
                "{fast_path:?} {head:?}\n{text}"
            );
            // A length that the upstream gave twice may cover the hidden response, as content and nothing else.
            let within = lengths == 1 && !fields.contains("content-length: 2\r") && body.starts_with("ok");
            assert!(within || !text.contains("evil"), "{fast_path:?} {head:?}\n{text}");
        }
    }
}

//! How much an upstream gets, and how long it may take.

use std::net::SocketAddr;
use std::time::Duration;

use bearward::edge::settings::FastPath;

use super::{GET, PATHS, POST, before, call, until};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_limit_of_connections_holds_on_both_paths_together() {
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.pool.connections = Some(2);
    wanted.upstream.connect_timeout = Duration::from_millis(300);
    wanted.workers = 2;
    let gateway = wanted.start().await;
    let mut waiting = Vec::new();
    for request in [
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(request).await;
        waiting.push(client);
    }
    until(|| upstream.requests() == 2).await;
    for request in [GET, POST] {
        let answer = Raw::connect(gateway.address).await.call(request).await;
        assert_eq!((answer.status, answer.all("retry-after").len()), (503, 1));
        assert_eq!(answer.json()["code"], "upstream_busy");
    }
    assert_eq!(upstream.requests(), 2);
    // Whoever waits gets the next free seat.
    let mut next = Raw::connect(gateway.address).await;
    next.send(GET).await;
    upstream.permit();
    upstream.permit();
    assert_eq!(next.response().await.status, 200);
    for client in &mut waiting {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn idle_connections_are_as_many_as_are_wanted() {
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.pool.idle = 0;
    let gateway = wanted.start().await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, GET).await, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn an_upstream_that_accepts_nothing_is_a_504() {
    // The kernel drops what does not fit into the queue of a listener that accepts nobody.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        queue.push(connected.unwrap());
        assert!(queue.len() < 100, "the queue has no end");
    }
    for path in PATHS {
        let mut wanted = before(&[address], path);
        wanted.upstream.connect_timeout = Duration::from_millis(200);
        let gateway = wanted.start().await;
        for request in [GET, POST] {
            let answer = Raw::connect(gateway.address).await.call(request).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (504, &"upstream_timeout".into()),
                "{path:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_is_a_504() {
    // It accepts and never reads, and has room for little.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    // More than the kernel takes for a connection of this machine: as a head on the fast path, as a body on the other.
    let long = "x".repeat(8_000_000);
    // pingora goes on reading when it cannot write any more: an answer may come nevertheless.
    for (path, read, request) in [
        (FastPath::On, 60_000, format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (FastPath::Off, 500, format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n{long}")),
    ] {
        let mut wanted = before(&[address], path);
        wanted.limits.head_bytes = 10_000_000;
        wanted.upstream.write_timeout = Duration::from_millis(200);
        // Whoever waited for an answer, or went on writing, would wait longer.
        wanted.upstream.read_timeout = Duration::from_millis(read);
        let gateway = wanted.start().await;
        let tcp = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let (mut answers, mut requests) = tcp.into_split();
        tokio::spawn(async move {
            drop(tokio::io::AsyncWriteExt::write_all(&mut requests, request.as_bytes()).await)
        });
        let mut answer = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut answers, &mut answer);
        tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .unwrap_or_else(|_| panic!("no answer on {path:?}"))
            .unwrap();
        assert_eq!(answer, *b"HTTP/1.1 504", "{path:?}");
    }
}

#[tokio::test]
async fn a_head_that_comes_in_crumbs_is_late_all_the_same() {
    let address = crumbs().await;
    let mut wanted = before(&[address], FastPath::On);
    wanted.upstream.head_timeout = Some(Duration::from_millis(300));
    let gateway = wanted.start().await;
    let answer = Raw::connect(gateway.address).await.call(GET).await;
    assert_eq!((answer.status, &answer.json()["code"]), (504, &"upstream_timeout".into()));
    // A body may take its time: an event stream lives.
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.head_timeout = Some(Duration::from_millis(300));
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.0, 200);
    for number in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        upstream.permit();
        client.until(&format!("data: {number}\n\n")).await;
    }
}

/// An upstream that sends a byte of its head now and then.
async fn crumbs() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".chunks(1).cycle() {
                if tokio::io::AsyncWriteExt::write_all(&mut tcp, byte).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    address
}

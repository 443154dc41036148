//! Against a server that does one thing per connection.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

use super::*;
use crate::base::tasks::Tasks;
use crate::base::tls;

/// What the server does with a connection after it has read the request head and body.
#[derive(Clone, Copy)]
enum Act {
    /// Writes these bytes and closes.
    Say(&'static str),
    /// Writes these bytes and keeps the connection open.
    SayAndStay(&'static str),
    /// Closes without reading.
    CloseAtOnce,
    /// Never answers.
    Hang,
}

struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(act: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        drop(Tasks::new(Handle::current()).spawn_endless(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = Arc::clone(&count);
                drop(Tasks::new(Handle::current()).spawn_endless(serve(stream, act, count)));
            }
        }));
        Self { address, requests }
    }

    fn post(&self) -> Request<Bytes> {
        let uri = format!("http://{}/token", self.address);
        Request::builder().method(Method::POST).uri(uri).body(Bytes::from_static(b"a=b")).unwrap()
    }
}

async fn serve(mut stream: TcpStream, act: Act, count: Arc<AtomicUsize>) {
    if matches!(act, Act::CloseAtOnce) {
        return;
    }
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\na=b") {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await.unwrap();
        if read == 0 {
            return;
        }
        seen.extend_from_slice(&chunk[..read]);
    }
    assert!(seen.starts_with(b"POST /token HTTP/1.1\r\n"));
    count.fetch_add(1, Ordering::SeqCst);
    match act {
        Act::Say(text) => stream.write_all(text.as_bytes()).await.unwrap(),
        Act::SayAndStay(text) => {
            stream.write_all(text.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        }
        Act::Hang => std::future::pending::<()>().await,
        Act::CloseAtOnce => {}
    }
}

fn client() -> NetworkClient {
    tls::install_provider();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, pair.cert.pem()).unwrap();
    NetworkClient::new(&tls::client_config(Some(&file)).unwrap())
}

fn limits() -> Limits {
    Limits { total: Duration::from_millis(400), connect: Duration::from_millis(300), body: 64 }
}

#[derive(Debug, PartialEq)]
enum Seen {
    Answer(u16, &'static str),
    NotSent(NotSent),
    NoAnswer(NoAnswer),
}

async fn outcome(act: Act) -> (Seen, usize) {
    let server = Server::start(act).await;
    let seen = match client().send(server.post(), limits()).await {
        Ok(response) => {
            let body = String::from_utf8(response.body().to_vec()).unwrap();
            Seen::Answer(response.status().as_u16(), body.leak())
        }
        Err(TransportError::NotSent { why, .. }) => Seen::NotSent(why),
        Err(TransportError::NoAnswer { why, .. }) => Seen::NoAnswer(why),
    };
    (seen, server.requests.load(Ordering::SeqCst))
}

#[tokio::test]
async fn each_way_to_answer_has_its_outcome() {
    const LONG: &str = concat!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n",
        "1\r\nx\r\n0\r\n\r\n"
    );
    let cases = [
        (Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), Seen::Answer(200, "hi")),
        (Act::SayAndStay("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"), Seen::Answer(200, "hi")),
        (Act::Say("HTTP/1.1 200 OK\r\n\r\nuntil the end"), Seen::Answer(200, "until the end")),
        // More than was announced is cut off with the connection.
        (Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi and more"), Seen::Answer(200, "hi")),
        (Act::Say("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"), Seen::Answer(503, "")),
        // std:7
        (
            Act::Say("HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"),
            Seen::Answer(307, ""),
        ),
        // Not decoded, as it was not asked for.
        (
            Act::Say("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"),
            Seen::Answer(200, "abc"),
        ),
        (Act::Say(""), Seen::NoAnswer(NoAnswer::Broken)),
        (Act::Say("HTTP/1.1 200 OK\r\n"), Seen::NoAnswer(NoAnswer::Broken)),
        (Act::Say("SSH-2.0-OpenSSH_9.2\r\n"), Seen::NoAnswer(NoAnswer::Broken)),
        (Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi"), Seen::NoAnswer(NoAnswer::Broken)),
        (
            Act::Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n"),
            Seen::NoAnswer(NoAnswer::Broken),
        ),
        (
            Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi"),
            Seen::NoAnswer(NoAnswer::Broken),
        ),
        (
            Act::SayAndStay("HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"),
            Seen::NoAnswer(NoAnswer::TooLarge),
        ),
        (Act::SayAndStay(LONG), Seen::NoAnswer(NoAnswer::TooLarge)),
        (Act::Hang, Seen::NoAnswer(NoAnswer::Deadline)),
        (
            Act::SayAndStay("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nh"),
            Seen::NoAnswer(NoAnswer::Deadline),
        ),
    ];
    for (number, (act, expected)) in cases.into_iter().enumerate() {
        assert_eq!(outcome(act).await, (expected, 1), "case {number}");
    }
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let cases = [
        (format!("http://{address}/"), NotSent::Connect),
        (format!("https://{address}/"), NotSent::Connect),
        (String::from("http://nobody.invalid/"), NotSent::Connect),
        (String::from("/relative"), NotSent::Address),
        (String::from("ftp://127.0.0.1/"), NotSent::Address),
        (String::from("http://user:secret@127.0.0.1/"), NotSent::Address),
    ];
    for (uri, expected) in cases {
        let request = Request::builder().uri(&uri).body(Bytes::new()).unwrap();
        let limits = Limits { total: Duration::from_secs(20), connect: Duration::from_secs(20), body: 1 };
        let error = client().send(request, limits).await.unwrap_err();
        assert!(matches!(error, TransportError::NotSent { why, .. } if why == expected), "{uri}: {error:?}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a process that stands still")]
async fn a_process_that_stood_still_while_it_connected_sends_nothing() {
    let server = Server::start(Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let (client, limits) = (client(), limits());
    let mut sending = client.send(server.post(), limits);
    assert!(futures_util::poll!(&mut sending).is_pending());
    std::thread::sleep(limits.connect + Duration::from_millis(20));
    let error = sending.await.unwrap_err();
    assert!(matches!(error, TransportError::NotSent { why: NotSent::ConnectDeadline, .. }), "{error:?}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_peer_that_cannot_speak_tls_received_nothing() {
    // std:4; one server talks nonsense, the other never gets through the handshake.
    for (act, expected) in [(Act::CloseAtOnce, NotSent::Connect), (Act::Hang, NotSent::ConnectDeadline)] {
        let server = Server::start(act).await;
        let uri = format!("https://localhost:{}/token", server.address.port());
        let request = Request::builder().method(Method::POST).uri(uri).body(Bytes::from_static(b"a=b"));
        let error = client().send(request.unwrap(), limits()).await.unwrap_err();
        assert!(matches!(error, TransportError::NotSent { why, .. } if why == expected), "{error:?}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    }
}

/// A TLS server for `localhost`, and a client that trusts it.
async fn tls_pair() -> (TcpListener, Arc<rustls::ServerConfig>, NetworkClient) {
    tls::install_provider();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    std::fs::write(&cert, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let config =
        tls::server::Server::load(&[(&cert, &key)], &tls::server::Terms::default()).unwrap().config();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener, config, NetworkClient::new(&tls::client_config(Some(&cert)).unwrap()))
}

fn secure_request(host: &str, listener: &TcpListener) -> Request<Bytes> {
    let port = listener.local_addr().unwrap().port();
    Request::builder().uri(format!("https://{host}:{port}/")).body(Bytes::new()).unwrap()
}

/// How a TLS server ends a body that has no announced length.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Notified,
    CutOff,
}

/// Serves one connection; `None` where the client did not go through with the handshake.
async fn serve_tls(mut tcp: TcpStream, config: Arc<rustls::ServerConfig>, end: End) -> Option<Vec<u8>> {
    let mut server = rustls::ServerConnection::new(config).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        flush(&mut server, &mut tcp).await;
        let mut chunk = [0; 4096];
        let Ok(read @ 1..) = tcp.read(&mut chunk).await else { return None };
        server.read_tls(&mut &chunk[..read]).unwrap();
        let state = server.process_new_packets().ok()?;
        let mut plain = vec![0; state.plaintext_bytes_to_read()];
        server.reader().read_exact(&mut plain).unwrap();
        seen.extend(plain);
    }
    server.writer().write_all(b"HTTP/1.1 200 OK\r\n\r\nhi").unwrap();
    if end == End::Notified {
        server.send_close_notify();
    }
    flush(&mut server, &mut tcp).await;
    Some(seen)
}

async fn flush(server: &mut rustls::ServerConnection, tcp: &mut TcpStream) {
    let mut out = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut out).unwrap();
    }
    tcp.write_all(&out).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_the_call_before_the_request() {
    // std:4: unknown authority, then another name than the certificate's.
    let (listener, config, trusting) = tls_pair().await;
    for (client, host) in [(client(), "localhost"), (trusting, "127.0.0.1")] {
        let serving = async {
            let (tcp, _) = listener.accept().await.unwrap();
            serve_tls(tcp, Arc::clone(&config), End::Notified).await
        };
        let asking = client.send(secure_request(host, &listener), limits());
        let (seen, outcome) = tokio::join!(serving, asking);
        assert!(matches!(outcome, Err(TransportError::NotSent { why: NotSent::Connect, .. })), "{outcome:?}");
        assert_eq!(seen, None);
    }
}

#[tokio::test]
async fn a_body_that_is_cut_off_under_tls_is_no_answer() {
    let (listener, config, client) = tls_pair().await;
    for end in [End::Notified, End::CutOff] {
        let serving = async {
            let (tcp, _) = listener.accept().await.unwrap();
            serve_tls(tcp, Arc::clone(&config), end).await
        };
        let asking = client.send(secure_request("localhost", &listener), limits());
        let (seen, outcome) = tokio::join!(serving, asking);
        assert!(seen.unwrap().starts_with(b"GET / HTTP/1.1\r\n"));
        match (end, outcome) {
            (End::Notified, Ok(answer)) => assert_eq!(answer.body(), "hi"),
            (End::CutOff, Err(TransportError::NoAnswer { why: NoAnswer::Broken, .. })) => {}
            (_, other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closes_in_between_never_leads_to_two_sends() {
    let server = Server::start(Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")).await;
    let client = client();
    for round in 1..=5 {
        let answer = client.send(server.post(), limits()).await.unwrap();
        assert_eq!(answer.body(), "hi");
        assert_eq!(server.requests.load(Ordering::SeqCst), round);
    }
    let server = Server::start(Act::CloseAtOnce).await;
    for _ in 0..5 {
        client.send(server.post(), limits()).await.unwrap_err();
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}

#[test]
fn one_client_serves_several_runtimes_in_turn() {
    let client = client();
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let act = Act::SayAndStay("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
            let server = Server::start(act).await;
            assert_eq!(client.send(server.post(), limits()).await.unwrap().body(), "hi");
        });
    }
}

//! An upstream that answers each path with exact bytes and keeps what it was sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What is answered, and what follows.
#[derive(Clone)]
pub(crate) struct Script {
    pieces: Vec<Vec<u8>>,
    then: Then,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Then {
    /// Waits for the next request.
    Keep,
    Close,
    /// Says nothing more, and waits until the other side closes.
    Silence,
}

pub(crate) fn script(pieces: &[&str], then: Then) -> Script {
    Script { pieces: pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect(), then }
}

impl Script {
    /// The answer to HEAD has no body.
    fn keep_head(&mut self) {
        let all = self.pieces.concat();
        let mut end = 0;
        while let Some(length) = memchr::memmem::find(&all[end..], b"\r\n\r\n") {
            let before = all[end..].starts_with(b"HTTP/1.1 10");
            end += length + 4;
            if !before {
                self.pieces = vec![all[..end].to_vec()];
                return;
            }
        }
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.then == Then::Silence
    }
}

/// A running upstream. `/0` and `/api/0` are answered by the first script, and so on.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    scripts: Vec<Script>,
    heads: Mutex<Vec<String>>,
    connections: AtomicUsize,
    answered: AtomicUsize,
    left: Notify,
}

impl Scripted {
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            scripts,
            heads: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            left: Notify::new(),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                state.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move { state.serve(tcp).await });
            }
        });
        Self { address, state }
    }

    /// The heads that came so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until the last piece of this many answers was written.
    pub(crate) async fn answered(&self, answers: usize) {
        while self.state.answered.load(Ordering::SeqCst) < answers {
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a connection in silence was closed by the other side.
    pub(crate) async fn left(&self) {
        tokio::time::timeout(std::time::Duration::from_secs(10), self.state.left.notified()).await.unwrap();
    }
}

impl State {
    async fn serve(&self, mut tcp: TcpStream) {
        tcp.set_nodelay(true).unwrap();
        let mut read = Vec::new();
        let mut requests = 0;
        loop {
            let end = loop {
                if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                    break end + 4;
                }
                if tcp.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let head = String::from_utf8(read.drain(..end).collect()).unwrap();
            let number = head.split(['/', ' ', '?']).find_map(|part| part.parse::<usize>().ok()).unwrap_or(0);
            let head_only = head.starts_with("HEAD ");
            self.heads.lock().unwrap().push(head);
            requests += 1;
            let mut script = self.scripts[number].clone();
            if head_only {
                script.keep_head();
            }
            for piece in script.pieces {
                // `{first}` stands for what is only said to the first request of a connection.
                if let Some(rest) = piece.strip_prefix(b"{first}") {
                    if requests > 1 {
                        return;
                    }
                    drop(tcp.write_all(rest).await);
                    continue;
                }
                drop(tcp.write_all(&piece).await);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            match script.then {
                Then::Keep => {}
                Then::Close => return,
                Then::Silence => {
                    while tcp.read_buf(&mut read).await.unwrap_or(0) > 0 {}
                    self.left.notify_one();
                    return;
                }
            }
        }
    }
}

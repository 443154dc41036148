//! A client that sends exact bytes and reads whole responses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Raw {
    pub(crate) tcp: TcpStream,
    read: Vec<u8>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { tcp: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request and reads its response.
    pub(crate) async fn call(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request).await;
        self.response().await
    }

    /// Whether the other side has closed.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = [0; 64];
        matches!(self.more(&mut rest).await, Ok(0) | Err(_))
    }

    async fn more(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        tokio::time::timeout(Duration::from_secs(20), self.tcp.read(into)).await.expect("no answer")
    }

    async fn fill(&mut self) -> bool {
        let mut piece = vec![0; 16 * 1024];
        let amount = self.more(&mut piece).await.unwrap_or(0);
        self.read.extend_from_slice(&piece[..amount]);
        amount > 0
    }

    /// Reads up to the end of a head.
    pub(crate) async fn head(&mut self) -> (u16, String) {
        loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                return (head[9..12].parse().unwrap(), head);
            }
            assert!(self.fill().await, "closed in a head: {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Reads until `text` has come, and returns everything up to its end.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.read, text.as_bytes()) {
                return String::from_utf8(self.read.drain(..at + text.len()).collect()).unwrap();
            }
            assert!(self.fill().await, "closed before {text:?}");
        }
    }

    pub(crate) async fn response(&mut self) -> Response {
        let (status, head) = self.head().await;
        let mut response = Response { status, head, body: Vec::new() };
        if let Some(length) = response.all("content-length").first().map(|length| length.parse().unwrap()) {
            while self.read.len() < length {
                assert!(self.fill().await, "closed in a body");
            }
            response.body = self.read.drain(..length).collect();
        } else if response.all("transfer-encoding") == ["chunked"] {
            loop {
                let line = self.until("\r\n").await;
                let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
                while self.read.len() < size + 2 {
                    assert!(self.fill().await, "closed in a chunk");
                }
                response.body.extend(self.read.drain(..size + 2).take(size));
                if size == 0 {
                    break;
                }
            }
        }
        response
    }
}

//! One request to a running gateway's admin listener.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What it answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status; 0 where the answer was not HTTP.
    pub(super) status: u16,
    /// The body.
    pub(super) body: String,
}

/// Sends one request with a body of JSON, or none.
pub(super) fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<Answer> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    socket.take(64 * 1024).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(Answer { status, body: body.trim().to_owned() })
}

const PATIENCE: Duration = Duration::from_secs(5);

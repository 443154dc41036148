//! An upstream that reads HTTP/1.1 as strictly as the standard allows, and keeps whatever it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as a strict reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What bytes come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// A request, and how many bytes it took.
    Whole(Request, usize),
    /// More must come.
    Partial,
    /// No request, or one that can be read in two ways.
    Broken(&'static str),
}

/// RFC 9112 without any of its leniencies.
pub(crate) fn read(bytes: &[u8]) -> Reading {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > 100_000 { Reading::Broken("endless") } else { Reading::Partial };
    };
    match head(&bytes[..end + 2]) {
        Ok(mut request) => match body(&request, &bytes[end + 4..]) {
            Ok(Some((body, used))) => {
                request.body = body;
                Reading::Whole(request, end + 4 + used)
            }
            Ok(None) => Reading::Partial,
            Err(what) => Reading::Broken(what),
        },
        Err(what) => Reading::Broken(what),
    }
}

fn head(bytes: &[u8]) -> Result<Request, &'static str> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    let mut lines = lines.into_iter();
    let first = lines.next().ok_or("no line")?;
    let parts: Vec<_> = first.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts.as_slice() else { return Err("request line") };
    if *version != b"HTTP/1.1" && *version != b"HTTP/1.0" {
        return Err("version");
    }
    if method.is_empty() || !method.iter().all(|&byte| is_tchar(byte)) {
        return Err("method");
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err("target");
    }
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("no colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|&byte| is_tchar(byte)) {
            return Err("field name");
        }
        if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err("field value");
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.push((text(name), text(value)));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = Request { method: text(method), target: text(target), fields, body: Vec::new() };
    let hosts = request.all("host").len();
    if hosts > 1 || (hosts == 0 && *version == b"HTTP/1.1") {
        return Err("host");
    }
    if !request.all("transfer-encoding").is_empty() && *version == b"HTTP/1.0" {
        return Err("coding in HTTP/1.0");
    }
    Ok(request)
}

fn body(request: &Request, bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Some((Vec::new(), 0))),
        ([length], []) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("length");
            }
            let length: usize = length.parse().map_err(|_| "length")?;
            Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => chunks(bytes),
        _ => Err("framed in two ways"),
    }
}

fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = memchr::memmem::find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = &bytes[at..at + end];
        at += end + 2;
        let digits = line.split(|&byte| byte == b';').next().unwrap();
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("chunk size");
        }
        if line.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
            return Err("chunk extension");
        }
        let size =
            usize::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).map_err(|_| "chunk size")?;
        if size == 0 {
            break;
        }
        let Some(chunk) = at.checked_add(size).and_then(|end| bytes.get(at..end)) else { return Ok(None) };
        body.extend_from_slice(chunk);
        at += size;
        match bytes.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(_) => return Err("chunk end"),
            None => return Ok(None),
        }
    }
    loop {
        let Some(end) = memchr::memmem::find(&bytes[at..], b"\r\n") else { return Ok(None) };
        at += end + 2;
        if end == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What an upstream was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Request(Request),
    Broken(&'static str, String),
}

/// A running upstream.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Recorder {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, Arc::clone(&shared)));
            }
        });
        Self { address, seen }
    }

    /// What came so far; forgotten here.
    pub(crate) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

async fn serve(mut tcp: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut bytes = Vec::new();
    loop {
        match read(&bytes) {
            Reading::Partial => {
                if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            Reading::Whole(request, used) => {
                bytes.drain(..used);
                seen.lock().unwrap().push(Seen::Request(request));
                if tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
            Reading::Broken(what) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                seen.lock().unwrap().push(Seen::Broken(what, text));
                return;
            }
        }
    }
}

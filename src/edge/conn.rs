//! A client's connection: TCP with a write buffer only while bytes wait.
//!
//! pingora's own stream type comes unbuffered to whoever accepts outside its server, and head and body would go
//! out as two packets; its buffered form holds 64 KB per connection. Ten thousand idle connections must not hold
//! a buffer each, so the buffer is taken from the thread and given back at the flush.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::buffers::{self, FULL};
use super::streams;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Conn {
    tcp: TcpStream,
    /// Written by pingora, not yet by the kernel. Empty and without capacity while nothing waits.
    waiting: Vec<u8>,
    /// How much of `waiting` the kernel has taken.
    taken: usize,
    /// Read before it was known who would read on; comes before what the socket still holds.
    unread: BytesMut,
    digest: Arc<SocketDigest>,
}

impl Conn {
    /// Takes over an accepted stream.
    pub(super) fn new(tcp: TcpStream, peer: SocketAddr) -> Self {
        let digest = SocketDigest::from_raw_fd(tcp.as_raw_fd());
        // Set now: the digest is lazy and would ask a descriptor that may belong to someone else by then.
        drop(digest.peer_addr.set(Some(PingoraAddr::Inet(peer))));
        drop(digest.local_addr.set(tcp.local_addr().ok().map(PingoraAddr::Inet)));
        Self { tcp, waiting: Vec::new(), taken: 0, unread: BytesMut::new(), digest: Arc::new(digest) }
    }

    /// Puts bytes back before what the socket still holds.
    pub(super) fn unread(&mut self, bytes: BytesMut) {
        self.unread = bytes;
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, waiting, taken, .. } = self;
        ready!(buffers::poll_write_all(tcp, waiting, taken, cx))?;
        if self.waiting.capacity() > 0 {
            buffers::give_back(std::mem::take(&mut self.waiting));
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if streams::interrupts() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if !self.unread.is_empty() {
            let amount = self.unread.len().min(buf.remaining());
            buf.put_slice(self.unread.get(..amount).unwrap_or_default());
            self.unread.advance(amount);
            if self.unread.is_empty() {
                self.unread = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.waiting.len() + buf.len() > FULL {
            ready!(self.poll_drain(cx))?;
            if buf.len() >= FULL {
                return Pin::new(&mut self.tcp).poll_write(cx, buf);
            }
        }
        if self.waiting.capacity() == 0 {
            self.waiting = buffers::take();
        }
        self.waiting.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Conn {
    async fn shutdown(&mut self) {
        // The peer may be gone already; there is nobody to tell.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.tcp.as_raw_fd()
    }
}

impl Ssl for Conn {}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<pingora::protocols::raw_connect::ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Conn {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl Peek for Conn {}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn writes_wait_for_the_flush_and_leave_no_buffer_behind() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, peer) = listener.accept().await.unwrap();
        let mut conn = Conn::new(tcp, peer);
        conn.write_all(b"head ").await.unwrap();
        conn.write_all(b"body").await.unwrap();
        assert_eq!(conn.waiting, b"head body");
        conn.flush().await.unwrap();
        assert_eq!(conn.waiting.capacity(), 0);
        let large = vec![b'x'; 100_000];
        let (sent, received) = tokio::join!(
            async {
                conn.write_all(&large).await.unwrap();
                AsyncWriteExt::shutdown(&mut conn).await
            },
            async {
                let mut all = Vec::new();
                client.read_to_end(&mut all).await.unwrap();
                all.len()
            }
        );
        sent.unwrap();
        assert_eq!(received, 100_009);
    }
}

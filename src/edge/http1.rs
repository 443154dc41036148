//! An HTTP/1 connection: head by head, each served once it is whole.
//!
//! Ordinary requests take the fast path, all others go to pingora.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::conn::Conn;
use super::head_reader::{HeadReader, Next};
use super::head_scan::{Fault, Ordinary, Wish};
use super::lean::{self, After};
use super::worker::{Worker, phase};
use super::{http2, respond, streams};

/// Serves requests until the connection ends.
pub(super) async fn serve(worker: Arc<Worker>, mut io: Stream) {
    let mut reader = HeadReader::new(&worker);
    let from = lean::Origin::of(&io);
    let mut keep = None;
    let mut left = worker.limits.requests_per_connection;
    loop {
        left = left.saturating_sub(1);
        let turn = if left == 0 { Turn::Last } else { Turn::OneOfMany };
        match reader.next(&mut io, &worker).await {
            Next::Gone => return,
            Next::Fault(fault) => return phase(refuse(&worker, io, fault)).await,
            Next::Preface(read) => return phase(upgrade(&worker, io, read)).await,
            Next::Head(head, shape) => match lean::accept(&worker, head, turn.of(shape)) {
                Ok(request) => {
                    match lean::serve(&worker, &mut io, &mut reader.deadline, request, &from).await {
                        After::Keep => {}
                        After::Close => return phase(close(io)).await,
                        After::Cut => return,
                    }
                }
                Err(head) => match serve_one(&worker, io, turn, (head, keep.take())).await {
                    Some(reused) => (io, keep) = reused.consume(),
                    None => return,
                },
            },
        }
    }
}

/// Whether a connection may carry another request after this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    OneOfMany,
    /// The limit is reached. RFC 9112 §9.6: the response says so.
    Last,
}

impl Turn {
    fn of(self, shape: Option<Ordinary>) -> Option<Ordinary> {
        match self {
            Self::OneOfMany => shape,
            Self::Last => shape.map(|shape| Ordinary { wish: Wish::Close, ..shape }),
        }
    }
}

// Not an `async fn`: its future would hold the session, and an idle connection the room for it.
fn serve_one<'a>(
    worker: &'a Worker,
    io: Stream,
    turn: Turn,
    (head, keep): (BytesMut, Option<HttpPersistentSettings>),
) -> impl Future<Output = Option<ReusedHttpStream>> + Send + use<'a> {
    let mut session = ServerSession::new_http1(io);
    match keep {
        Some(keep) => keep.apply_to_session(&mut session),
        // Only whether there is one matters: the time between requests is ours to watch.
        None => session.set_keepalive(Some(60)),
    }
    if turn == Turn::Last {
        session.set_keepalive_reuses_remaining(Some(0));
    }
    session.set_pipelined_prefix(head);
    // Boxed, as pingora's own is.
    let served = phase(streams::watch(worker.app.process_new_http(session, &worker.shutdown)));
    served.map(Option::flatten)
}

/// RFC 9113 §3.3: a client that knows us to speak HTTP/2 starts with its preface.
async fn upgrade(worker: &Arc<Worker>, io: Stream, read: BytesMut) {
    let conn = io.into_any().downcast::<Conn>().ok();
    let Some(mut conn) = conn else {
        // Over TLS the protocol is chosen by ALPN (RFC 9113 §3.2); there is no stream left to say so on.
        tracing::debug!("an HTTP/2 preface on a TLS connection that chose HTTP/1.1");
        return;
    };
    conn.unread(read);
    http2::serve(worker, conn).await;
}

async fn refuse(worker: &Worker, mut io: Stream, fault: Fault) {
    worker.count_refused(fault);
    let answer = async {
        io.write_all(&respond::raw(fault)).await?;
        io.flush().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER, answer).await {
        close(io).await;
    }
}

/// Ends a connection whose last answer was written.
async fn close(mut io: Stream) {
    let end = async {
        AsyncWriteExt::shutdown(&mut io).await?;
        // What the client still sends is taken and dropped for a moment: a close with unread bytes resets the
        // connection, and the reset would overtake the answer (RFC 9112 §9.6).
        let mut dropped = [0; 1024];
        while io.read(&mut dropped).await? > 0 {}
        std::io::Result::Ok(())
    };
    drop(tokio::time::timeout(LINGER, end).await);
}

const LINGER: Duration = Duration::from_millis(500);

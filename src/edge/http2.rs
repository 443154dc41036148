//! An HTTP/2 connection: our own accept loop over pingora's streams.
//!
//! pingora's loop has no deadline for the preface and none after GOAWAY. RFC 9113 §3.4, §6.8.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use tokio::time::{Instant, sleep_until, timeout};

use super::streams;
use super::worker::{Worker, spawn};

/// Serves streams until the connection ends.
pub(super) async fn serve(worker: &Arc<Worker>, io: Stream) {
    let digest = Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        socket_digest: io.get_socket_digest(),
        ..Digest::default()
    });
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(worker.limits.head_bytes).unwrap_or(u32::MAX));
    let Ok(Ok(mut conn)) = timeout(worker.limits.head_timeout, handshake(io, Some(options))).await else {
        return;
    };
    let active = Arc::new(AtomicUsize::new(0));
    let mut state = State::Open;
    let mut rejected = 0;
    let mut idle_until = Instant::now() + worker.limits.idle_timeout;
    loop {
        // Cancel safety: `from_h2_conn` documents that it may be polled again after being dropped.
        let accepted = tokio::select! {
            biased;
            () = worker.signals.closing.cancelled(), if state == State::Open => {
                conn.graceful_shutdown();
                state = State::Closing;
                idle_until = Instant::now() + worker.linger.max(GOAWAY_GRACE);
                continue;
            }
            accepted = HttpSession::from_h2_conn(&mut conn, Arc::clone(&digest)) => accepted,
            () = sleep_until(idle_until) => {
                if active.load(Ordering::Acquire) > 0 {
                    // Busy since: a new period begins. A stream that never ends is the drain's to cut.
                    idle_until = Instant::now() + worker.limits.idle_timeout.min(BUSY_CHECK);
                } else if state == State::Open {
                    conn.graceful_shutdown();
                    state = State::Closing;
                    idle_until = Instant::now() + GOAWAY_GRACE;
                } else {
                    return; // it does not heed GOAWAY
                }
                continue;
            }
        };
        match accepted {
            Ok(Some(H2Accept::Session(stream))) => {
                idle_until = Instant::now() + worker.limits.idle_timeout;
                let guard = Active::new(&active);
                let worker = Arc::clone(worker);
                spawn(async move {
                    let session = ServerSession::new_http2(stream);
                    drop(streams::watch(worker.app.process_new_http(session, &worker.shutdown)).await);
                    drop(guard);
                });
            }
            Ok(Some(H2Accept::Rejected)) => {
                rejected += 1;
                // std:187: refusing costs work; a client that only sends what is refused is sent away.
                if rejected >= MOST_REJECTED {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Closing,
}

// As many as pingora's own loop bears with.
const MOST_REJECTED: usize = 32;
// RFC 9113 §6.8: a client needs a round trip to see the GOAWAY.
const GOAWAY_GRACE: Duration = Duration::from_secs(1);
const BUSY_CHECK: Duration = Duration::from_secs(5);

/// Counts a stream for as long as it is served.
struct Active(Arc<AtomicUsize>);

impl Active {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

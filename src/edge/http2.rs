//! An HTTP/2 connection: our own accept loop over pingora's streams.
//!
//! pingora's loop has no deadline for the preface and none after GOAWAY. RFC 9113 §3.4, §6.8.
//!
//! What the library bounds by itself: CONTINUATION frames of a head, streams that are reset before they are accepted,
//! empty and tiny DATA frames, answers to PING and SETTINGS that nobody reads. What it does not: streams that are reset
//! once they are accepted, and have cost an upstream a request by then (CVE-2023-44487).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use tokio::time::{Instant, sleep_until, timeout};

use super::settings::Limits;
use super::streams;
use super::worker::{Worker, spawn};

/// Serves streams until the connection ends.
pub(super) async fn serve(worker: &Arc<Worker>, io: Stream) {
    let digest = Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        socket_digest: io.get_socket_digest(),
        ..Digest::default()
    });
    let started = handshake(io, Some(options(&worker.limits)));
    let Ok(Ok(conn)) = timeout(worker.limits.head_timeout, started).await else {
        return;
    };
    let connection = Connection {
        worker,
        conn,
        digest,
        tally: Arc::default(),
        state: State::Open,
        accepted: 0,
        rejected: 0,
        idle_until: Instant::now() + worker.limits.idle_timeout,
    };
    connection.run().await;
}

struct Connection<'a> {
    worker: &'a Arc<Worker>,
    conn: h2::server::Connection<Stream, Bytes>,
    digest: Arc<Digest>,
    tally: Arc<Tally>,
    state: State,
    accepted: usize,
    rejected: usize,
    idle_until: Instant,
}

// What a client may have under way to us of one body, and of all of a connection: what it may cost to keep for upstreams
// that take nothing. Less would slow uploads over long ways down.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;

fn options(limits: &Limits) -> H2Options {
    let mut options = default_h2_options();
    options.max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX));
    options.max_concurrent_streams(limits.http2_streams);
    // RFC 9113 §5.2: a body that its upstream does not take must not hold up the others of the connection.
    options.initial_window_size(STREAM_WINDOW);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Closing,
}

impl Connection<'_> {
    async fn run(mut self) {
        let mut next = ControlFlow::Continue(());
        while next.is_continue() {
            // Cancel safety: `from_h2_conn` documents that it may be polled again after being dropped.
            let accepted = tokio::select! {
                biased;
                () = self.worker.signals.closing.cancelled(), if self.state == State::Open => {
                    self.close(self.worker.linger().max(GOAWAY_GRACE));
                    continue;
                }
                accepted = HttpSession::from_h2_conn(&mut self.conn, Arc::clone(&self.digest)) => accepted,
                () = sleep_until(self.idle_until) => {
                    next = self.idle();
                    continue;
                }
            };
            next = match accepted {
                Ok(Some(H2Accept::Session(stream))) => self.begin(stream),
                Ok(Some(H2Accept::Rejected)) => self.reject(),
                Ok(None) | Err(_) => ControlFlow::Break(()),
            };
        }
    }

    /// RFC 9113 §6.8: says that no further stream will be served.
    fn close(&mut self, grace: Duration) {
        self.conn.graceful_shutdown();
        self.state = State::Closing;
        self.idle_until = Instant::now() + grace;
    }

    fn idle(&mut self) -> ControlFlow<()> {
        if self.tally.active.load(Ordering::Acquire) > 0 {
            // Busy since: a new period begins. A stream that never ends is the drain's to cut.
            self.idle_until = Instant::now() + self.worker.limits.idle_timeout.min(BUSY_CHECK);
        } else if self.state == State::Open {
            self.close(GOAWAY_GRACE);
        } else {
            return ControlFlow::Break(()); // it does not heed GOAWAY
        }
        ControlFlow::Continue(())
    }

    fn begin(&mut self, stream: HttpSession) -> ControlFlow<()> {
        let limits = &self.worker.limits;
        self.idle_until = Instant::now() + limits.idle_timeout;
        self.accepted += 1;
        if self.tally.is_abuse(limits.http2_streams) {
            // What is under way goes with it.
            self.conn.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.state = State::Closing;
            self.idle_until = Instant::now() + GOAWAY_GRACE;
            return ControlFlow::Continue(());
        }
        if self.accepted >= limits.requests_per_connection && self.state == State::Open {
            self.close(GOAWAY_GRACE);
        }
        let active = Active::new(&self.tally);
        let worker = Arc::clone(self.worker);
        spawn(STREAM.scope(Arc::clone(&self.tally), async move {
            let session = ServerSession::new_http2(stream);
            drop(streams::watch(worker.app.process_new_http(session, &worker.shutdown)).await);
            drop(active);
        }));
        ControlFlow::Continue(())
    }

    fn reject(&mut self) -> ControlFlow<()> {
        self.rejected += 1;
        // std:187: refusing costs work; a client that only sends what is refused is sent away.
        if self.rejected >= MOST_REJECTED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

// As many as pingora's own loop bears with.
const MOST_REJECTED: usize = 32;
// RFC 9113 §6.8: a client needs a round trip to see the GOAWAY.
const GOAWAY_GRACE: Duration = Duration::from_secs(1);
const BUSY_CHECK: Duration = Duration::from_secs(5);

/// What became of a connection's streams.
#[derive(Debug, Default)]
struct Tally {
    /// Being served.
    active: AtomicUsize,
    /// Served to their end.
    whole: AtomicUsize,
    /// Given up by the client before that.
    broken: AtomicUsize,
}

impl Tally {
    /// Whether a client gives up more than it lets be served. One that leaves a page gives up all that are open, and
    /// may leave a few pages in a row.
    fn is_abuse(&self, most_streams: u32) -> bool {
        let broken = self.broken.load(Ordering::Relaxed);
        let whole = self.whole.load(Ordering::Relaxed);
        broken > whole && broken > usize::try_from(most_streams).unwrap_or(usize::MAX).saturating_mul(PAGES)
    }
}

const PAGES: usize = 4;

tokio::task_local! {
    /// pingora hands nothing of ours through to its phases; a stream is a task of its own.
    static STREAM: Arc<Tally>;
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By its response.
    Whole,
    /// By the client.
    Broken,
}

/// Counts the stream that is being served, where it is one.
pub(super) fn count(ending: Ending) {
    // Elsewhere than in a stream's task there is nothing to count.
    let Ok(tally) = STREAM.try_with(Arc::clone) else { return };
    match ending {
        Ending::Whole => tally.whole.fetch_add(1, Ordering::Relaxed),
        Ending::Broken => tally.broken.fetch_add(1, Ordering::Relaxed),
    };
}

/// Counts a stream for as long as it is served.
struct Active(Arc<Tally>);

impl Active {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.active.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(tally))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

//! What both paths of a worker share.
//!
//! Whom they serve by, how they call themselves and their requests, and whether the doors are closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::live::{Live, Slot};
use super::streams::Streams;
use crate::base::secret;
use crate::gate::head::RequestId;

/// One worker's.
pub(super) struct Front {
    slot: Arc<Slot>,
    closing: CancellationToken,
    /// How this process calls itself in `Via`.
    pub(super) pseudonym: String,
    /// What pingora serves and its session may end.
    pub(super) streams: Arc<Streams>,
    ids: AtomicU64,
}

impl Front {
    pub(super) fn new(slot: Arc<Slot>, closing: CancellationToken, pseudonym: &str) -> Self {
        let ids = AtomicU64::new(u64::from_ne_bytes(secret::random()));
        let streams = Arc::default();
        Self { slot, closing, pseudonym: pseudonym.to_owned(), streams, ids }
    }

    /// What requests are served by now.
    pub(super) fn live(&self) -> Arc<Live> {
        self.slot.current()
    }

    /// Begins a request.
    pub(super) fn begin(&self, live: Arc<Live>) -> Call {
        Call::new(live, self.next_id())
    }

    /// Whether connections end with their next response.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// SplitMix64 from a random start: it names requests, it guards nothing.
    fn next_id(&self) -> RequestId {
        let mut id = self.ids.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RequestId(id ^ (id >> 31))
    }
}

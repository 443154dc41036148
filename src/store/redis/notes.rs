//! Notes of swaps, over a connection of their own that is made anew for ever.
//!
//! Redis keeps no note for who is not there: what is said while the connection is away is lost, and that is in the
//! contract.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::RedisResult;
use redis::aio::PubSub;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};

use super::answers::{Judged, LATE, judge};
use super::backoff::Backoff;
use super::link::{CONNECT, Link};

/// Hands on what is said on `channel`, for ever.
pub(super) async fn follow(link: Arc<Link>, channel: String, heard: broadcast::Sender<Arc<[u8]>>) {
    let mut backoff = Backoff::default();
    let mut told = None;
    loop {
        let judged = match timeout(CONNECT, subscribe(&link, &channel)).await {
            Ok(Ok(subscription)) => {
                told = None;
                let since = Instant::now();
                listen(subscription, &heard).await;
                backoff.after(since);
                None
            }
            Ok(Err(error)) => Some(judge(&error)),
            Err(_) => Some(LATE),
        };
        if let Some(Judged { reason, .. }) = judged
            && told != Some(reason)
        {
            told = Some(reason);
            tracing::warn!(
                reason,
                "notes of the store cannot be followed; replicas wait a little longer for each other"
            );
        }
        sleep(backoff.pause()).await;
    }
}

async fn subscribe(link: &Link, channel: &str) -> RedisResult<PubSub> {
    let mut subscription = Box::pin(link.dialer.subscriber()).await?;
    subscription.subscribe(channel).await?;
    Ok(subscription)
}

/// Returns when the connection is gone.
async fn listen(subscription: PubSub, heard: &broadcast::Sender<Arc<[u8]>>) {
    let (mut sink, mut stream) = subscription.split();
    loop {
        match timeout(QUIET, stream.next()).await {
            // Nobody may be listening.
            Ok(Some(message)) => drop(heard.send(Arc::from(message.get_payload_bytes()))),
            Ok(None) => return,
            Err(_) => {
                let alive = timeout(CONNECT, sink.ping::<redis::Value>()).await;
                if !matches!(alive, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

/// After so long without a note the connection is tried: one that died without a word would stay silent for ever.
const QUIET: Duration = Duration::from_secs(5);

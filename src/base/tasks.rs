//! The one place that spawns: work that must outlive the request that asked for it.
//!
//! A refresh under way is never cancelled by the client that started it, nor by the drain of the core that
//! served it: it runs on a runtime of its own, tracked, and is waited for at shutdown.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Spawns background work and waits for it at shutdown. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    #[cfg(test)]
    reins: std::sync::Arc<reins::Reins>,
}

impl Tasks {
    /// Work will run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            tracker: TaskTracker::new(),
            #[cfg(test)]
            reins: std::sync::Arc::default(),
        }
    }

    /// Starts work that shutdown waits for. Dropping the handle does not stop it.
    pub fn spawn<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[cfg(test)]
        let work = self.reins.hold(work);
        let task = self.tracker.spawn_on(work, &self.runtime);
        #[cfg(test)]
        self.reins.note(&task);
        task
    }

    /// Starts work that shutdown does not wait for: watchers, retries that never end by themselves.
    pub fn spawn_endless<F>(&self, work: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[cfg(test)]
        let work = self.reins.hold(work);
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        let task = self.runtime.spawn(work);
        #[cfg(test)]
        self.reins.note(&task);
        task
    }

    #[cfg(test)]
    pub(crate) fn reins(&self) -> &reins::Reins {
        &self.reins
    }

    /// How much tracked work is under way.
    pub fn in_flight(&self) -> usize {
        self.tracker.len()
    }

    /// Waits until all tracked work is done, at most `limit`. Says whether it was.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
pub(crate) mod reins;

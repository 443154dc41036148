//! What replicas share, as the configuration wants it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::base::tasks::Tasks;
use crate::base::time::{Clock, SharedClock};
use crate::edge::readiness::Readiness;
use crate::session::fleet::Means;
use crate::session::fleet::follow::Following;
use crate::store::settings::Settings;
use crate::store::{self, OpenError};

/// Opens the store. `None`: each replica for itself.
pub(super) fn open(
    settings: Settings,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Option<Means>, OpenError> {
    let Some(store) = store::open(&settings, tasks, Arc::clone(clock))? else { return Ok(None) };
    // The store keeps its own deadline; this one is for what it did not think of.
    let timeout = settings.kind.timeout() + Duration::from_secs(1);
    let outage = settings.outage;
    let clock = Arc::new(SharedClock::new(Arc::clone(clock)));
    Ok(Some(Means { store, clock, outage, timeout }))
}

/// Keeps this replica unready until it knows which sessions were ended (rule 9).
pub(super) fn wait_for_denials(
    tasks: &Tasks,
    mut following: watch::Receiver<Following>,
    readiness: &Arc<Readiness>,
) {
    if *following.borrow() == Following::Loaded {
        return;
    }
    readiness.set(CONDITION, "the sessions that were ended elsewhere are not known yet");
    let readiness = Arc::clone(readiness);
    tasks.spawn_endless(async move {
        // Its sender lives as long as the sessions do.
        drop(following.wait_for(|state| *state == Following::Loaded).await);
        readiness.clear(CONDITION);
    });
}

/// The name of the store's condition in `/readyz`.
const CONDITION: &str = "store";

//! Listens to the fleet: denials, notes, and the store's return.
//!
//! The log of denials is read from its beginning before this replica reports ready, and followed from there without
//! a gap: after an outage it goes on where it was. Notes only save waiting; one that is missed costs nothing but time.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Fleet, What, wire};
use crate::base::secret::random;
use crate::session::mutation::{self, Mutation};
use crate::session::refresh::record::Lesson;
use crate::session::sessions::Shared;
use crate::store::{Cursor, StoreError};

/// How long one look at the log waits for a new entry.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A replica that has not read the log to its end for so long does not know what was ended: denials are promised
/// within 5 s.
pub(crate) const PROMPT: Duration = Duration::from_secs(5);

/// How often the store's clock is looked at, whatever else happens: a machine's own is moved now and then.
const TELL_TIME: Duration = Duration::from_secs(10);

/// The pause after a failed look, at least; up to twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// Between two questions whether the store is back, at least.
const PROBE: Duration = Duration::from_millis(100);

/// Between two sessions that are brought to a store that came back: it has everybody else to serve as well.
const PACE: Duration = Duration::from_millis(2);

/// How the following goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Following {
    /// The log was not read to its end yet: sessions that were ended elsewhere may pass.
    Loading,
    /// It was.
    Loaded,
}

/// Reads the log of denials and goes on reading.
pub(crate) async fn denials(shared: Weak<Shared>, state: watch::Sender<Following>) {
    let mut cursor = Cursor::default();
    let mut lost_at = None;
    let mut timed_at: Option<Instant> = None;
    loop {
        let Some((shared, fleet)) = alive(&shared) else { return };
        // An answer that was waited for tells nothing of the time: now and then one is not.
        let asked = Instant::now();
        let prompt = timed_at.is_none_or(|at| at.elapsed() >= TELL_TIME);
        let look = if prompt {
            fleet.entries_now(cursor.clone()).await
        } else {
            fleet.entries(cursor.clone()).await
        };
        match look {
            Ok(batch) => {
                if prompt {
                    timed_at = Some(Instant::now());
                }
                let caught_up = batch.entries.is_empty();
                for entry in batch.entries.iter().skip(usize::from(mutation::is(Mutation::LogWithGaps))) {
                    take_in(&shared, &fleet, entry);
                }
                cursor = batch.cursor;
                if caught_up {
                    fleet.contact.has_followed(asked);
                    state.send_replace(Following::Loaded);
                }
                if fleet.store().data_lost_at() != lost_at {
                    lost_at = fleet.store().data_lost_at();
                    fleet.metrics.store_data_lost();
                    // Meanwhile others end sessions: the log is followed all the same.
                    let (all, of) = (Arc::clone(&shared), Arc::clone(&fleet));
                    shared.keep_trying(async move { restore(&all, &of).await });
                }
            }
            Err(_) if mutation::is(Mutation::LogLeftBehind) => return,
            Err(_) => sleep(jittered(PAUSE)).await,
        }
    }
}

/// Takes over what notes tell of sessions that are known here, and wakes the flights that wait for them.
pub(crate) async fn notes(shared: Weak<Shared>) {
    let Some((_, fleet)) = alive(&shared) else { return };
    let mut notes = fleet.store().notes();
    drop(fleet);
    loop {
        let note = match notes.recv().await {
            Ok(note) => note,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Some((shared, fleet)) = alive(&shared) else { return };
        let (sid, newest, generations) = match wire::read_note(&fleet.sealer, &note) {
            Ok(note) => note,
            Err(why) => {
                fleet.met_strange(What::Note, why);
                continue;
            }
        };
        // What was shown elsewhere supersedes here as well.
        shared.registry.learn(&sid, Lesson { newest: None, generations });
        // Nobody may be waiting.
        drop(fleet.heard.send(sid));
        if shared.registry.is_behind_of(&sid, newest) {
            shared.look_up(sid);
        }
    }
}

/// Asks for the store while it is away: what was made meanwhile must be there before anyone takes it for lost.
pub(crate) async fn absences(shared: Weak<Shared>) {
    let Some((_, fleet)) = alive(&shared) else { return };
    let went_away = Arc::clone(&fleet.contact.went_away);
    drop(fleet);
    loop {
        went_away.notified().await;
        loop {
            sleep(jittered(PROBE)).await;
            let Some((_, fleet)) = alive(&shared) else { return };
            if fleet.probe().await.is_ok() {
                break;
            }
        }
    }
}

/// Brings what was made while the store was away, whenever it is back.
pub(crate) async fn returns(shared: Weak<Shared>) {
    let Some((_, fleet)) = alive(&shared) else { return };
    let came_back = Arc::clone(&fleet.contact.came_back);
    drop(fleet);
    loop {
        came_back.notified().await;
        let Some((shared, fleet)) = alive(&shared) else { return };
        bring(&shared, &fleet).await;
    }
}

fn alive(shared: &Weak<Shared>) -> Option<(Arc<Shared>, Arc<Fleet>)> {
    let shared = shared.upgrade()?;
    let fleet = Arc::clone(shared.fleet.as_ref()?);
    Some((shared, fleet))
}

fn take_in(shared: &Arc<Shared>, fleet: &Fleet, entry: &[u8]) {
    match wire::open_denial(&fleet.sealer, entry) {
        Ok(denial) => {
            shared.deny(&denial);
        }
        Err(why) => fleet.met_strange(What::Denial, why),
    }
}

/// Writes everything that other replicas cannot know but from the store. Where it leaves again, its next return goes
/// on with the rest.
async fn bring(shared: &Arc<Shared>, fleet: &Fleet) {
    if mutation::is(Mutation::NothingIsBrought) {
        return;
    }
    for made in shared.behind() {
        match fleet.catch_up(&made).await {
            Ok(()) => shared.registry.caught_up(&made.sid, made.newest),
            Err(_) if fleet.is_away() => return,
            // This record alone cannot be written.
            Err(_) => {}
        }
        sleep(PACE).await;
    }
}

/// The store lost its data: what this replica knows goes there again. Denials that others have written again
/// meanwhile are not written twice.
async fn restore(shared: &Arc<Shared>, fleet: &Fleet) {
    sleep(jittered(PAUSE)).await;
    shared.registry.all_behind();
    until_done(PAUSE, || restore_denials(shared, fleet)).await;
    bring(shared, fleet).await;
}

async fn restore_denials(shared: &Shared, fleet: &Fleet) -> Result<(), StoreError> {
    let mut there = HashSet::new();
    let mut cursor = Cursor::default();
    loop {
        let batch = fleet.entries_now(cursor).await?;
        if batch.entries.is_empty() {
            break;
        }
        there.extend(batch.entries.iter().filter_map(|entry| wire::open_denial(&fleet.sealer, entry).ok()));
        cursor = batch.cursor;
    }
    for denial in shared.registry.denials().iter().filter(|denial| !there.contains(denial)) {
        fleet.deny(denial).await?;
    }
    Ok(())
}

/// Tries until it succeeds, with pauses of `pause` and up to twice as long; not where a newer release has what it is
/// about, and goes on with it.
pub(crate) async fn until_done<T, F>(pause: Duration, mut operation: impl FnMut() -> F)
where
    F: Future<Output = Result<T, StoreError>>,
{
    while let Err(error) = operation().await {
        if error == StoreError::Unreadable {
            return;
        }
        sleep(jittered(pause)).await;
    }
}

/// `pause`, up to doubled.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let [random] = random::<1>();
    pause + pause * u32::from(random) / 256
}

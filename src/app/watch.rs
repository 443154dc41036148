//! Notices that the files of the configuration have changed, and have come to rest.
//!
//! ```text
//! quiet ──told of a change, or it is time to look──▶ compare ──the same──▶ quiet
//!                                                       └─changed─▶ settle ──at rest─▶ told to whoever waits
//! ```
//!
//! The system tells of changes in folders, which is quick; where it cannot (network file systems, no watches left) and
//! for whatever it misses, the files are compared from time to time besides. What counts is content: an event only says
//! when to look.

use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::config::{Fingerprint, Sources, Watching};

/// Watches the files of a configuration.
#[derive(Debug)]
pub struct Watch {
    sources: Sources,
    taken: Fingerprint,
    watching: Watching,
    told: Arc<Notify>,
    /// Tells of changes for as long as it is held.
    watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// From now on a change of `sources` is told that makes them differ from what they held when they were `taken`.
    pub fn new(sources: Sources, taken: Fingerprint, watching: Watching) -> Self {
        let mut watch = Self { sources, taken, watching, told: Arc::new(Notify::new()), watcher: None };
        watch.arm();
        watch
    }

    /// What is watched.
    pub const fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Whether anything is.
    pub const fn watching(&self) -> Watching {
        self.watching
    }

    /// These files were read when they held `taken`, whatever came of it.
    pub fn took(&mut self, sources: Sources, taken: Fingerprint, watching: Watching) {
        (self.sources, self.taken, self.watching) = (sources, taken, watching);
        self.arm();
    }

    /// Waits until the files differ from what was taken and nobody seems to write to them. Waits for ever where nothing
    /// is watched.
    ///
    /// Cancel safety: nothing is lost; the next call looks again.
    pub async fn changed(&mut self) {
        let Watching::On { poll } = self.watching else { return std::future::pending().await };
        loop {
            // Cancel safety: both only wait.
            let noticed = tokio::select! {
                () = self.told.notified() => Noticed::Told,
                () = sleep(poll) => Noticed::Looked,
            };
            if noticed == Noticed::Told {
                // One change is told of many times; folders may hold files that change all the time and are not ours.
                sleep(REST).await;
            }
            if self.sources.fingerprint() == self.taken {
                continue;
            }
            if noticed == Noticed::Looked {
                // Nobody told: a folder that was watched is another one by now.
                self.arm();
            }
            if self.settle().await != self.taken {
                return;
            }
        }
    }

    /// Waits until two looks see the same. A file that is gone is given time to come back: some editors and tools
    /// remove before they write.
    async fn settle(&self) -> Fingerprint {
        let (start, mut gone_since) = (Instant::now(), Instant::now());
        let mut before = self.sources.fingerprint();
        loop {
            sleep(REST).await;
            let now = self.sources.fingerprint();
            if now.whole {
                gone_since = Instant::now();
            }
            let rests = now == before && (now.whole || gone_since.elapsed() >= GONE);
            // Whoever writes without end is answered by what the file is worth then.
            if rests || start.elapsed() >= LONGEST {
                return now;
            }
            before = now;
        }
    }

    fn arm(&mut self) {
        self.watcher = None;
        if matches!(self.watching, Watching::Off) {
            return;
        }
        let told = Arc::clone(&self.told);
        let tell = move |event: notify::Result<notify::Event>| {
            // Our own reading is told of too.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                told.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(tell).and_then(|mut watcher| {
            for folder in self.sources.folders() {
                // A folder that is not there yet shows in the one that it will be in, or when it is time to look.
                if folder.is_dir() {
                    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
                }
            }
            Ok(watcher)
        });
        match watcher {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                tracing::warn!(%error, "the system tells nothing of changed files; they are compared from time to time");
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noticed {
    Told,
    Looked,
}

/// Nobody who writes a file pauses for so long.
const REST: Duration = Duration::from_millis(300);
/// How long a file may be gone.
const GONE: Duration = Duration::from_secs(3);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;

    /// What must be noticed is given this long; what must not happen, is waited for as long as it would take.
    const PATIENCE: Duration = Duration::from_secs(20);
    const NEVER: Duration = Duration::from_secs(3600);

    fn watch(path: &Path, poll: Duration) -> Watch {
        let sources = Sources::of([path]);
        let taken = sources.fingerprint();
        Watch::new(sources, taken, Watching::On { poll })
    }

    async fn notices(watch: &mut Watch) {
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("nothing was noticed");
        let sources = watch.sources().clone();
        let taken = sources.fingerprint();
        watch.took(sources, taken, watch.watching);
    }

    fn file(folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, "a").unwrap();
        path
    }

    #[tokio::test]
    async fn a_file_that_is_written_or_renamed_over_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.yaml");
        let mut watch = watch(&path, NEVER);
        fs::write(&path, "b").unwrap();
        notices(&mut watch).await;
        fs::write(folder.path().join("next"), "c").unwrap();
        fs::rename(folder.path().join("next"), &path).unwrap();
        notices(&mut watch).await;
        // And again: the file is another one than at first.
        fs::write(&path, "d").unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn a_mounted_config_map_is_noticed_when_its_link_is_swapped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let version = |name: &str, content: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("app.yaml"), content).unwrap();
            symlink(name, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        version("..1", "a");
        symlink("..data/app.yaml", at("app.yaml")).unwrap();
        let mut watch = watch(&at("app.yaml"), NEVER);
        for (old, new, content) in [("..1", "..2", "b"), ("..2", "..3", "c")] {
            version(new, content);
            fs::remove_dir_all(at(old)).unwrap();
            notices(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn what_nobody_tells_of_is_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.yaml");
        let mut watch = watch(&path, Duration::from_millis(100));
        watch.watcher = None;
        fs::write(&path, "b").unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test]
    async fn the_same_content_and_a_file_that_comes_back_are_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.yaml");
        let mut watch = watch(&path, Duration::from_millis(200));
        fs::write(&path, "a").unwrap();
        file(folder.path(), "neighbour");
        fs::remove_file(&path).unwrap();
        let back = async {
            sleep(Duration::from_millis(800)).await;
            fs::write(&path, "a").unwrap();
            sleep(Duration::from_secs(2)).await;
        };
        // Cancel safety: what is dropped is the test.
        tokio::select! {
            () = watch.changed() => panic!("nothing has changed"),
            () = back => {}
        }
        fs::remove_file(&path).unwrap();
        notices(&mut watch).await;
        assert!(!watch.taken.whole, "it stayed away");
        fs::write(&path, "a").unwrap();
        notices(&mut watch).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_looked_at_where_it_was_switched_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "a.yaml");
        let sources = Sources::of([path.as_path()]);
        let mut watch = Watch::new(sources.clone(), sources.fingerprint(), Watching::Off);
        fs::write(&path, "b").unwrap();
        assert!(tokio::time::timeout(NEVER, watch.changed()).await.is_err());
    }
}

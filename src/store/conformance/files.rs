//! What becomes of a store in a file over a restart, in two hands, and damaged.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;

use super::laws::all_entries;
use super::server::free_port;
use super::{START, done, key, redis_at, swap};
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, ManualClock, SystemClock};
use crate::store::file::{FileError, FileStore};
use crate::store::redis::AddressError;
use crate::store::settings::{
    Address, Denials, Kind, Node, Outage, Redis, RefreshAlone, Settings, Tls, Topology,
};
use crate::store::{self, Cursor, Key, OpenError, Store, Swap};

fn open(path: &Path) -> Result<Arc<dyn Store>, FileError> {
    open_at(path, &Arc::new(ManualClock::new(START)))
}

fn open_at(path: &Path, clock: &Arc<ManualClock>) -> Result<Arc<dyn Store>, FileError> {
    let store = FileStore::open(path, Arc::clone(clock) as Arc<dyn Clock>)?;
    Ok(Arc::new(store))
}

#[tokio::test]
async fn a_restart_keeps_records_and_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), Arc::new(ManualClock::new(START)));
    let (kept, brief) = (key(), key());
    let store = open_at(&path, &clock).unwrap();
    let version = done(&store, swap(kept, None, "kept")).await;
    done(&store, Swap { keep_for: Duration::from_secs(60), ..swap(brief, None, "brief") }).await;
    store.append(b"one".to_vec(), HOUR).await.unwrap();
    store.append(b"brief".to_vec(), Duration::from_secs(60)).await.unwrap();
    let (_, cursor) = all_entries(&store, Cursor::default()).await;
    drop(store);

    clock.advance(Duration::from_secs(120));
    let store = open_at(&path, &clock).unwrap();
    assert_eq!(store.read(kept).await.unwrap().record, Some((version, b"kept".to_vec())));
    assert_eq!(store.read(brief).await.unwrap().record, None);
    store.append(b"two".to_vec(), HOUR).await.unwrap();
    assert_eq!(all_entries(&store, Cursor::default()).await.0, [b"one", b"two"]);
    assert_eq!(all_entries(&store, cursor).await.0, [b"two"]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{mode:o}");
}

#[tokio::test]
async fn what_was_answered_is_in_the_file_though_the_process_dies() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store"), folder.path().join("copy"));
    let store = open(&path).unwrap();
    let keys: Vec<_> = std::iter::repeat_with(key).take(300).collect();
    let swaps = keys.iter().map(|key| done(&store, swap(*key, None, key.as_bytes().to_vec())));
    join_all(swaps).await;
    store.append(b"denied".to_vec(), HOUR).await.unwrap();
    // The file as a power cut would leave it: nothing was closed.
    std::fs::copy(&path, &copy).unwrap();
    let after = open(&copy).unwrap();
    for key in keys {
        let (_, value) = after.read(key).await.unwrap().record.unwrap();
        assert_eq!(value, key.as_bytes());
    }
    assert_eq!(all_entries(&after, Cursor::default()).await.0, [b"denied"]);
}

#[tokio::test]
async fn a_file_has_one_holder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path).unwrap();
    let second = open(&path).unwrap_err();
    assert!(matches!(second, FileError::InUse { .. }), "{second:?}");
    assert!(second.to_string().contains("is held open by another process"), "{second}");
    drop(store);
    open(&path).unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open(&path).unwrap();
    for _ in 0..50 {
        done(&store, swap(key(), None, vec![7; 2000])).await;
    }
    drop(store);
    let good = std::fs::read(&path).unwrap();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let error = open(&path).expect_err("a damaged file was opened");
        assert!(matches!(error, FileError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len());
    };
    damaged(&|bytes| *bytes = b"store: { kind: memory }\n".to_vec());
    damaged(&|bytes| bytes.truncate(bytes.len() / 2));
    damaged(&|bytes| bytes[..64].fill(0));
    // A value in the middle: found by its page's checksum.
    damaged(&|bytes| {
        let at = bytes.windows(64).position(|window| window == [7; 64]).unwrap();
        bytes[at..at + 8].fill(8);
    });
    std::fs::write(&path, &good).unwrap();
    open(&path).unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("none/store")).unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error:?}");
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, FileError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn the_configuration_leads_to_a_store_or_to_none() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = Tasks::new(Handle::current());
    let outage =
        || Outage { denials: Denials::Open, refresh: RefreshAlone::Local, after: Duration::from_secs(10) };
    let open = |kind| store::open(&Settings { kind, outage: outage() }, &tasks, Arc::new(SystemClock));
    assert!(open(Kind::Memory).unwrap().is_none());
    let path = folder.path().join("store");
    let file = open(Kind::File(path.clone())).unwrap().unwrap();
    done(&file, swap(key(), None, "x")).await;
    assert!(matches!(open(Kind::File(path)), Err(OpenError::File(FileError::InUse { .. }))));
    // Nobody listens there, and that is no error.
    let node = Node { host: "127.0.0.1".to_owned(), port: free_port() };
    let redis = |tls| Redis { tls, ..redis_at(Topology::Single(Address::Tcp(node.clone()))) };
    let away = open(Kind::Redis(Box::new(redis(Tls::Off)))).unwrap().unwrap();
    assert!(away.read(key()).await.is_err());
    let tls = Tls::On { ca_file: Some(folder.path().join("none.pem")) };
    let error = open(Kind::Redis(Box::new(redis(tls)))).unwrap_err();
    assert!(matches!(error, OpenError::Redis(AddressError::Tls(_))), "{error:?}");
}

#[tokio::test]
async fn what_is_over_leaves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, clock) = (folder.path().join("store"), Arc::new(ManualClock::new(START)));
    let store = open_at(&path, &clock).unwrap();
    let shortly = Duration::from_secs(60);
    let fill = async || {
        for _ in 0..40 {
            done(&store, Swap { keep_for: shortly, ..swap(key(), None, vec![1; 8000]) }).await;
            store.append(vec![2; 8000], shortly).await.unwrap();
        }
    };
    fill().await;
    clock.advance(shortly * 2);
    fill().await;
    let once = std::fs::metadata(&path).unwrap().len();
    for _ in 0..10 {
        clock.advance(shortly * 2);
        fill().await;
    }
    // Ten times as much was written, and the file is not even twice as large.
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(after < once * 2, "{once} {after}");
}

#[tokio::test]
async fn a_file_of_form_1_is_opened_by_every_later_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    std::fs::write(&path, include_bytes!("../../../tests/data/store-v1.redb")).unwrap();
    let store = open(&path).unwrap();
    let there = Key::new("session", &[9; 16]);
    let (version, value) = store.read(there).await.unwrap().record.unwrap();
    assert_eq!(value, b"golden");
    assert_eq!(all_entries(&store, Cursor::default()).await.0, [b"golden denial"]);
    done(&store, swap(there, Some(version), "silver")).await;
    store.append(b"another".to_vec(), HOUR).await.unwrap();
    drop(store);
    let store = open(&path).unwrap();
    assert_eq!(store.read(there).await.unwrap().record.unwrap().1, b"silver");
    assert_eq!(all_entries(&store, Cursor::default()).await.0, [&b"golden denial"[..], b"another"]);
}

const HOUR: Duration = Duration::from_secs(3600);

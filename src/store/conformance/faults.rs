//! What becomes of callers when a server stops, dies, forgets, or refuses.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::laws::{all_entries, attentive};
use super::server::{Options, Server};
use super::{PATIENCE, Subject, done, key, open, swap, until};
use crate::base::secret::Secret;
use crate::base::tasks::Tasks;
use crate::store::redis::RedisStore;
use crate::store::settings::{Login, Redis};
use crate::store::{Cursor, Key, Store, StoreError, Swap, Swapped, Version};

const BRIEF: Duration = Duration::from_millis(300);
const HOUR: Duration = Duration::from_secs(3600);
/// What a loaded machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(5);

fn brief(server: &Server) -> Redis {
    Redis { timeout: BRIEF, ..server.settings() }
}

async fn works(store: &Arc<dyn Store>) {
    until("a store that works", || async { store.swap(swap(key(), None, "x")).await.ok() }).await;
}

/// Every operation's outcome, each within the deadline.
async fn outcomes(store: &Arc<dyn Store>) -> [Result<(), StoreError>; 4] {
    let patient = Duration::from_millis(500);
    let within = Duration::from_millis(500) + BRIEF * 3 + SLACK;
    let all = async {
        let read = store.read(key()).await.map(drop);
        let swapped = store.swap(swap(key(), None, "x")).await.map(drop);
        let appended = store.append(b"x".to_vec(), HOUR).await;
        let entries = store.entries(Cursor::default(), patient).await.map(drop);
        [read, swapped, appended, entries]
    };
    timeout(within * 4, all).await.expect("an operation outlives its deadline")
}

#[tokio::test]
async fn a_server_that_stands_still_costs_no_more_than_the_deadline() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&brief(&server));
    works(&store).await;
    server.stop();
    let (began, at_once) = (Instant::now(), 50);
    // Many at once wait no longer than one.
    let reads = join_all((0..at_once).map(|_| store.read(key()))).await;
    assert!(reads.iter().all(Result::is_err), "{reads:?}");
    assert!(began.elapsed() < BRIEF + SLACK, "{:?}", began.elapsed());
    for outcome in outcomes(&store).await {
        assert!(outcome.is_err(), "{outcome:?}");
    }
    server.go_on();
    works(&store).await;
}

#[tokio::test]
async fn a_wait_for_the_log_ends_with_a_server_that_stands_still() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&brief(&server));
    works(&store).await;
    let (_, end) = all_entries(&store, Cursor::default()).await;
    let waiting = store.entries(end.clone(), Duration::from_secs(3));
    tokio::pin!(waiting);
    assert!(timeout(BRIEF, &mut waiting).await.is_err());
    server.stop();
    let came = timeout(Duration::from_secs(3) + BRIEF * 3 + SLACK, waiting).await;
    assert!(came.expect("the wait outlives its deadline").is_err());
    server.go_on();
    until("the log again", || async { store.append(b"later".to_vec(), HOUR).await.ok() }).await;
    let later = until("the log again", || async { store.entries(end.clone(), PATIENCE).await.ok() }).await;
    assert_eq!(later.entries.last().map(Vec::as_slice), Some(&b"later"[..]));
}

#[tokio::test]
async fn a_server_that_is_away_at_the_start_is_no_error() {
    let Some(mut server) = Server::start(Options::default()).await else { return };
    server.kill();
    let store = open(&brief(&server));
    for outcome in outcomes(&store).await {
        assert!(outcome.is_err(), "{outcome:?}");
    }
    server.begin().await;
    works(&store).await;
    assert_eq!(store.data_lost_at(), None);
}

#[tokio::test]
async fn a_restart_that_keeps_the_data_leaves_no_gap() {
    let lines = vec!["appendonly yes".to_owned(), "appendfsync always".to_owned()];
    let Some(mut server) = Server::start(Options { lines, ..Options::default() }).await else { return };
    let subject = Subject::over(&brief(&server));
    works(&subject.two).await;
    let mut listeners = [subject.one.notes(), subject.two.notes()];
    attentive(&subject, &mut listeners).await;
    let kept = key();
    let version = done(&subject.one, swap(kept, None, "kept")).await;

    // A reader that follows all the while, and meets the restart on its way.
    let reader = Arc::clone(&subject.two);
    let follow = async {
        let (mut seen, mut cursor) = (Vec::new(), Cursor::default());
        while seen.len() < 20 {
            // Where it fails, the same place is read again.
            if let Ok(batch) = reader.entries(cursor.clone(), Duration::from_millis(700)).await {
                seen.extend(batch.entries);
                cursor = batch.cursor;
            } else {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        seen
    };
    let write = async {
        for number in 0..20_u8 {
            if number == 10 {
                server.kill();
                let refused = subject.one.read(kept).await;
                assert!(refused.is_err(), "{refused:?}");
                server.begin().await;
                works(&subject.one).await;
            }
            subject.one.append(vec![number], HOUR).await.unwrap();
        }
    };
    let (seen, ()) = timeout(PATIENCE, async { tokio::join!(follow, write) }).await.unwrap();
    assert_eq!(seen, (0..20_u8).map(|number| vec![number]).collect::<Vec<_>>());
    works(&subject.two).await;
    assert_eq!(subject.two.read(kept).await.unwrap().record, Some((version, b"kept".to_vec())));
    assert_eq!((subject.one.data_lost_at(), subject.two.data_lost_at()), (None, None));
    attentive(&subject, &mut listeners).await;
}

#[tokio::test]
async fn a_restart_that_loses_the_data_is_noticed() {
    let Some(mut server) = Server::start(Options::default()).await else { return };
    let subject = Subject::over(&brief(&server));
    works(&subject.two).await;
    let mut listeners = [subject.one.notes(), subject.two.notes()];
    attentive(&subject, &mut listeners).await;
    let gone = key();
    done(&subject.one, swap(gone, None, "gone")).await;
    subject.one.append(b"old".to_vec(), HOUR).await.unwrap();
    let (_, cursor) = all_entries(&subject.two, Cursor::default()).await;
    let before = subject.one.read(gone).await.unwrap().now;
    server.kill();
    server.begin().await;
    works(&subject.one).await;
    for store in [&subject.one, &subject.two] {
        let lost_at = until("the loss to be noticed", || async { store.data_lost_at() }).await;
        assert!(lost_at >= before, "{lost_at:?} {before:?}");
    }
    assert_eq!(until("a read", || async { subject.two.read(gone).await.ok() }).await.record, None);
    subject.one.append(b"new".to_vec(), HOUR).await.unwrap();
    assert_eq!(subject.two.entries(cursor, PATIENCE).await.unwrap().entries, [b"new"]);
    attentive(&subject, &mut listeners).await;
    // Another process, that never saw the old data, has nothing to report.
    let late = open(&server.settings());
    works(&late).await;
    assert_eq!(late.data_lost_at(), None);
}

#[tokio::test]
async fn a_log_begun_anew_is_read_from_its_beginning() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&server.settings());
    store.append(b"old".to_vec(), HOUR).await.unwrap();
    let (_, cursor) = all_entries(&store, Cursor::default()).await;
    // What a server with a slower clock would give: places before the one that was read.
    server.run::<()>(&["FLUSHALL"]);
    server.run::<()>(&["XADD", "bearward:denials", "1-1", "k", "3600000", "d", "first"]);
    let batch = store.entries(cursor.clone(), Duration::ZERO).await.unwrap();
    assert_eq!(batch.entries, [b"first"]);
    assert_eq!(store.entries(batch.cursor, Duration::ZERO).await.unwrap().entries, [[0; 0]; 0]);
    // While somebody waits at the old end.
    server.run::<()>(&["DEL", "bearward:denials"]);
    store.append(b"old".to_vec(), HOUR).await.unwrap();
    let (_, cursor) = all_entries(&store, Cursor::default()).await;
    let begin_anew = async {
        let quick = store.entries(cursor.clone(), Duration::from_millis(200)).await.unwrap();
        assert_eq!(quick.entries, [[0; 0]; 0]);
        server.run::<()>(&["DEL", "bearward:denials"]);
        server.run::<()>(&["XADD", "bearward:denials", "1-1", "k", "3600000", "d", "again"]);
    };
    let (batch, ()) = tokio::join!(store.entries(cursor.clone(), PATIENCE), begin_anew);
    assert_eq!(batch.unwrap().entries, [b"again"]);
}

#[tokio::test]
async fn data_that_are_wiped_under_a_connection_are_missed() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&server.settings());
    works(&store).await;
    server.run::<()>(&["FLUSHALL"]);
    until("the loss to be noticed", || async { store.data_lost_at() }).await;
}

#[tokio::test]
async fn a_server_that_comes_back_meets_no_herd() {
    let Some(mut server) = Server::start(Options::default()).await else { return };
    let store = open(&brief(&server));
    works(&store).await;
    server.kill();
    let calls = join_all((0..500).map(|_| store.read(key()))).await;
    assert!(calls.iter().all(Result::is_err));
    server.begin().await;
    works(&store).await;
    let served = join_all((0..500).map(|_| store.read(key()))).await;
    assert!(served.iter().all(Result::is_ok));
    let stats: String = server.run(&["INFO", "stats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    let connections: u32 = line.unwrap().trim().parse().unwrap();
    // One for commands, one for notes, and those of this test.
    assert!(connections <= 8, "{connections}");
}

#[tokio::test]
async fn a_server_that_refuses_is_told_from_one_that_is_away() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&server.settings());
    let kept = key();
    done(&store, swap(kept, None, "kept")).await;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(store.swap(swap(key(), None, "x")).await, Err(StoreError::Refused));
    assert_eq!(store.append(b"x".to_vec(), HOUR).await, Err(StoreError::Refused));
    assert!(store.read(kept).await.unwrap().record.is_some());
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    works(&store).await;

    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(store.swap(swap(key(), None, "x")).await, Err(StoreError::Refused));
    server.run::<()>(&["REPLICAOF", "NO", "ONE"]);
    works(&store).await;
    assert!(store.read(kept).await.unwrap().record.is_some());
    assert_eq!(store.data_lost_at(), None);
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_told_to_nobody() {
    let lines = ["user default off", "user admin on >admin ~* &* +@all"].map(str::to_owned).to_vec();
    let Some(server) = Server::start(Options { lines, ..Options::default() }).await else { return };
    let password = Some(Secret::new("hunter2".to_owned()));
    let settings = Redis { login: Login { username: Some("admin".to_owned()), password }, ..brief(&server) };
    let store = open(&settings);
    let refused = until("an answer", || async {
        store.read(key()).await.err().filter(|error| *error == StoreError::Refused)
    })
    .await;
    assert_eq!(refused, StoreError::Refused);
    assert!(!format!("{store:?} {settings:?} {refused} {refused:?}").contains("hunter2"));
}

#[tokio::test]
async fn notes_are_no_condition() {
    let Some(server) = Server::start(Options::default()).await else { return };
    server.run::<()>(&["ACL", "SETUSER", "default", "-publish", "-subscribe"]);
    let store = open(&server.settings());
    let key = key();
    let noted = Swap { note: Some(b"note".to_vec()), ..swap(key, None, "x") };
    let came = store.swap(noted).await.unwrap();
    assert!(matches!(came, Swapped::Done(_)), "{came:?}");
    assert!(store.read(key).await.unwrap().record.is_some());
}

#[test]
fn callers_come_and_go_with_runtimes_of_their_own() {
    use tokio::runtime::Builder;
    let background = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let Some(server) = background.block_on(Server::start(Options::default())) else { return };
    let tasks = Tasks::new(background.handle().clone());
    let store: Arc<dyn Store> = Arc::new(RedisStore::open(&server.settings(), &tasks).unwrap());
    let mut cursor = Cursor::default();
    for round in 0..3_u8 {
        // A core of the gateway that is drained and another one that begins.
        let core = Builder::new_current_thread().enable_all().build().unwrap();
        cursor = core.block_on(async {
            done(&store, swap(key(), None, "x")).await;
            let waiting = store.entries(cursor.clone(), PATIENCE);
            let (batch, appended) = tokio::join!(waiting, async {
                let quick = store.entries(cursor.clone(), Duration::from_millis(100)).await;
                assert_eq!(quick.unwrap().entries, [[0; 0]; 0]);
                store.append(vec![round], HOUR).await
            });
            appended.unwrap();
            let batch = batch.unwrap();
            assert_eq!(batch.entries, [[round]]);
            batch.cursor
        });
    }
}

#[tokio::test]
async fn names_and_fields_are_those_that_other_versions_know() {
    let Some(server) = Server::start(Options::default()).await else { return };
    let store = open(&server.settings());
    let key = Key::new("session", b"sid");
    let version = Version::from_bytes(*b"0123456789abcdef");
    let keep_for = Duration::from_secs(3600);
    let written = Swap { key, seen: None, version, value: b"value".to_vec(), keep_for, note: None };
    done(&store, written).await;
    store.append(b"entry".to_vec(), keep_for).await.unwrap();
    let mut names: Vec<String> = server.run(&["KEYS", "*"]);
    names.sort_unstable();
    let record = "bearward:r:WyJcmt71Cd4HnB9D-P2rK4x4_eI52nm7Ckpr-yYd9qc";
    assert_eq!(names, ["bearward:denials", "bearward:epoch", record]);
    let fields: std::collections::BTreeMap<String, String> = server.run(&["HGETALL", record]);
    assert_eq!(fields["v"], "0123456789abcdef");
    assert_eq!((fields["d"].as_str(), fields.len()), ("value", 2));
    type Entries = Vec<(String, Vec<String>)>;
    let entries: Entries = server.run(&["XRANGE", "bearward:denials", "-", "+"]);
    assert_eq!(entries[0].1, ["k", "3600000", "d", "entry"]);
    for name in [record, "bearward:denials"] {
        let left: u64 = server.run(&["PTTL", name]);
        assert!(left > 3_500_000 && left <= 3_600_000, "{name} {left}");
    }
}

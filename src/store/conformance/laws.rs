//! What holds of every store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout};

use super::{PATIENCE, Subject, done, key, swap};
use crate::store::{Batch, Cursor, Found, Store, StoreError, Swap, Swapped, Version};

/// Every law, as a test of each store, and all of them as one function for stores that are expensive to set up.
macro_rules! laws {
    ($($law:ident,)+) => {
        mod memory {
            $(#[tokio::test]
            async fn $law() {
                super::$law(&super::Subject::memory()).await;
            })+
        }

        mod file {
            $(#[tokio::test]
            async fn $law() {
                super::$law(&super::Subject::file()).await;
            })+
        }

        mod redis {
            $(#[tokio::test]
            async fn $law() {
                if let Some(subject) = super::Subject::redis().await {
                    super::$law(&subject).await;
                }
            })+
        }

        pub(super) async fn all(subject: &Subject) {
            $($law(subject).await;)+
        }
    };
}

laws! {
    nothing_is_read_where_nothing_was_written,
    what_one_writes_the_other_reads,
    a_lost_swap_tells_what_is_there,
    of_many_swappers_each_counts_once,
    records_expire_and_writing_keeps_them,
    values_are_bytes_of_any_size,
    notes_reach_every_listener_and_only_of_what_was_written,
    the_log_keeps_its_order_and_its_places,
    a_long_log_comes_in_batches_without_a_gap,
    whoever_waits_for_the_log_is_woken,
    patience_ends,
    an_entry_stays_for_its_own_time,
    entries_that_are_over_leave_nothing_out,
}

async fn nothing_is_read_where_nothing_was_written(subject: &Subject) {
    assert_eq!(subject.one.read(key()).await.unwrap().record, None);
    assert_eq!(subject.one.data_lost_at(), None);
}

async fn what_one_writes_the_other_reads(subject: &Subject) {
    let key = key();
    let before = subject.two.read(key).await.unwrap().now;
    let first = done(&subject.one, swap(key, None, "first")).await;
    let Found { record, now } = subject.two.read(key).await.unwrap();
    assert_eq!(record, Some((first, b"first".to_vec())));
    assert!(now >= before, "{now:?} {before:?}");
    let second = done(&subject.two, swap(key, Some(first), "second")).await;
    assert_eq!(subject.one.read(key).await.unwrap().record, Some((second, b"second".to_vec())));
}

async fn a_lost_swap_tells_what_is_there(subject: &Subject) {
    let key = key();
    let lost = |came: Result<Swapped, StoreError>| match came.unwrap() {
        Swapped::Lost(found) => found.record,
        Swapped::Done(_) => panic!("it was written"),
    };
    assert_eq!(lost(subject.one.swap(swap(key, Some(Version::new()), "a")).await), None);
    assert_eq!(subject.one.read(key).await.unwrap().record, None);
    let first = done(&subject.one, swap(key, None, "first")).await;
    let there = Some((first, b"first".to_vec()));
    assert_eq!(lost(subject.two.swap(swap(key, None, "b")).await), there);
    assert_eq!(lost(subject.two.swap(swap(key, Some(Version::new()), "c")).await), there);
    assert_eq!(subject.one.read(key).await.unwrap().record, there);
}

async fn of_many_swappers_each_counts_once(subject: &Subject) {
    let key = key();
    let count = |store: Arc<dyn Store>| async move {
        let mut found = store.read(key).await.unwrap();
        loop {
            let (seen, number) = match &found.record {
                Some((version, value)) => (Some(*version), String::from_utf8(value.clone()).unwrap()),
                None => (None, "0".to_owned()),
            };
            let next = (number.parse::<u32>().unwrap() + 1).to_string();
            match store.swap(swap(key, seen, next)).await.unwrap() {
                Swapped::Done(_) => return,
                Swapped::Lost(there) => found = there,
            }
        }
    };
    let stores = [&subject.one, &subject.two];
    join_all((0..50).map(|number| count(Arc::clone(stores[number % 2])))).await;
    let (_, value) = subject.one.read(key).await.unwrap().record.unwrap();
    assert_eq!(value, b"50");
}

async fn records_expire_and_writing_keeps_them(subject: &Subject) {
    let (brief, kept) = (key(), key());
    let shortly = Duration::from_millis(500);
    done(&subject.one, Swap { keep_for: shortly, ..swap(brief, None, "brief") }).await;
    let first = done(&subject.one, Swap { keep_for: shortly, ..swap(kept, None, "brief") }).await;
    let second = done(&subject.one, swap(kept, Some(first), "kept")).await;
    subject.pass(Duration::from_millis(900)).await;
    assert_eq!(subject.two.read(brief).await.unwrap().record, None);
    assert_eq!(subject.two.read(kept).await.unwrap().record, Some((second, b"kept".to_vec())));
    // What is over is nothing: it is written as such.
    let again = done(&subject.two, swap(brief, None, "again")).await;
    assert_eq!(subject.one.read(brief).await.unwrap().record, Some((again, b"again".to_vec())));
}

async fn values_are_bytes_of_any_size(subject: &Subject) {
    let every: Vec<u8> = (0..=255).chain(*b"\0\r\n\n$5\r\n").collect();
    let large: Vec<u8> = every.iter().copied().cycle().take(64 * 1024).collect();
    for value in [Vec::new(), every, large] {
        let key = key();
        let version = done(&subject.one, swap(key, None, value.clone())).await;
        assert_eq!(subject.two.read(key).await.unwrap().record, Some((version, value.clone())));
        let Swapped::Lost(found) = subject.two.swap(swap(key, None, "x")).await.unwrap() else {
            panic!("it was written");
        };
        assert_eq!(found.record, Some((version, value.clone())));
        let end = all_entries(&subject.one, Cursor::default()).await.1;
        subject.one.append(value.clone(), HOUR).await.unwrap();
        assert_eq!(subject.two.entries(end, Duration::ZERO).await.unwrap().entries, [value]);
    }
}

async fn notes_reach_every_listener_and_only_of_what_was_written(subject: &Subject) {
    let mut listeners = [subject.one.notes(), subject.one.notes(), subject.two.notes()];
    attentive(subject, &mut listeners).await;
    let key = key();
    let noted = |seen, note: &[u8]| Swap { note: Some(note.to_vec()), ..swap(key, seen, "x") };
    let first = done(&subject.one, noted(None, b"first \0\n")).await;
    subject.two.swap(noted(None, b"lost")).await.unwrap();
    done(&subject.one, swap(key, Some(first), "without a note")).await;
    let there = subject.two.read(key).await.unwrap().record.unwrap().0;
    done(&subject.two, noted(Some(there), b"second")).await;
    for listener in &mut listeners {
        assert_eq!(&*heard(listener).await, b"first \0\n");
        assert_eq!(&*heard(listener).await, b"second");
    }
}

/// Says something until every listener hears: a connection for notes is made beside everything else.
pub(super) async fn attentive(subject: &Subject, listeners: &mut [broadcast::Receiver<Arc<[u8]>>]) {
    let calls = async {
        for listener in &mut *listeners {
            while timeout(Duration::from_millis(50), listener.recv()).await.is_err() {
                let call = Swap { note: Some(b"hello?".to_vec()), ..swap(key(), None, "x") };
                done(&subject.one, call).await;
            }
        }
    };
    timeout(PATIENCE, calls).await.expect("somebody hears nothing");
    // What was called in vain may still be under way: a last word ends it.
    let last = Swap { note: Some(b"so".to_vec()), ..swap(key(), None, "x") };
    done(&subject.one, last).await;
    for listener in listeners {
        while &*heard(listener).await != b"so" {}
    }
}

async fn heard(listener: &mut broadcast::Receiver<Arc<[u8]>>) -> Arc<[u8]> {
    timeout(PATIENCE, listener.recv()).await.expect("no note came").unwrap()
}

/// What is in the log after `cursor`, and its end.
pub(super) async fn all_entries(store: &Arc<dyn Store>, cursor: Cursor) -> (Vec<Vec<u8>>, Cursor) {
    let (mut all, mut cursor) = (Vec::new(), cursor);
    loop {
        let batch = store.entries(cursor, Duration::ZERO).await.unwrap();
        cursor = batch.cursor;
        if batch.entries.is_empty() {
            return (all, cursor);
        }
        all.extend(batch.entries);
    }
}

async fn the_log_keeps_its_order_and_its_places(subject: &Subject) {
    let (_, start) = all_entries(&subject.one, Cursor::default()).await;
    for entry in ["a", "b", "c"] {
        subject.one.append(entry.into(), HOUR).await.unwrap();
    }
    let Batch { entries, cursor, now } = subject.two.entries(start.clone(), Duration::ZERO).await.unwrap();
    assert_eq!(entries, [b"a", b"b", b"c"]);
    assert!(now >= subject.two.read(key()).await.unwrap().now.minus(PATIENCE));
    let nothing = subject.two.entries(cursor.clone(), Duration::ZERO).await.unwrap();
    assert_eq!(nothing.entries, [[0; 0]; 0]);
    subject.two.append(b"d".to_vec(), HOUR).await.unwrap();
    assert_eq!(subject.one.entries(cursor, Duration::ZERO).await.unwrap().entries, [b"d"]);
    assert_eq!(subject.one.entries(nothing.cursor, Duration::ZERO).await.unwrap().entries, [b"d"]);
    assert_eq!(all_entries(&subject.one, start).await.0, [b"a", b"b", b"c", b"d"]);
    assert!(all_entries(&subject.one, Cursor::default()).await.0.ends_with(&[b"c".to_vec(), b"d".to_vec()]));
}

async fn a_long_log_comes_in_batches_without_a_gap(subject: &Subject) {
    let (_, start) = all_entries(&subject.one, Cursor::default()).await;
    let expected: Vec<Vec<u8>> = (0..1100).map(|number| format!("entry {number}").into_bytes()).collect();
    for some in expected.chunks(50) {
        for appended in join_all(some.iter().map(|entry| subject.one.append(entry.clone(), HOUR))).await {
            appended.unwrap();
        }
    }
    let first = subject.two.entries(start.clone(), Duration::ZERO).await.unwrap().entries;
    assert!(!first.is_empty() && first.len() < expected.len(), "{}", first.len());
    let mut found = all_entries(&subject.two, start).await.0;
    // What was appended at once has no order.
    let number = |entry: &Vec<u8>| String::from_utf8(entry[6..].to_vec()).unwrap().parse::<u32>().unwrap();
    found.sort_by_key(number);
    assert_eq!(found, expected);
}

async fn whoever_waits_for_the_log_is_woken(subject: &Subject) {
    let (_, end) = all_entries(&subject.one, Cursor::default()).await;
    let began = Instant::now();
    let append = async {
        // A wait under way is what is to be woken; where it is not yet, it finds the entry there.
        let quick = subject.two.entries(end.clone(), Duration::from_millis(100)).await;
        assert_eq!(quick.unwrap().entries, [[0; 0]; 0]);
        subject.two.append(b"wake".to_vec(), HOUR).await.unwrap();
    };
    let (woken, ()) = tokio::join!(subject.one.entries(end.clone(), PATIENCE * 2), append);
    assert_eq!(woken.unwrap().entries, [b"wake"]);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

async fn patience_ends(subject: &Subject) {
    let (_, end) = all_entries(&subject.one, Cursor::default()).await;
    let (patience, began) = (Duration::from_millis(300), Instant::now());
    let batch = subject.one.entries(end.clone(), patience).await.unwrap();
    assert_eq!(batch.entries, [[0; 0]; 0]);
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    // A wait does not hold up who has something to do.
    let others = async {
        for _ in 0..20 {
            subject.one.read(key()).await.unwrap();
        }
    };
    tokio::select! {
        _ = subject.one.entries(batch.cursor, PATIENCE) => panic!("twenty reads took longer than {PATIENCE:?}"),
        () = others => {}
    }
}

async fn an_entry_stays_for_its_own_time(subject: &Subject) {
    let (_, start) = all_entries(&subject.one, Cursor::default()).await;
    let shortly = Duration::from_millis(300);
    subject.one.append(b"long".to_vec(), HOUR).await.unwrap();
    for _ in 0..3 {
        subject.one.append(b"short".to_vec(), shortly).await.unwrap();
    }
    subject.pass(shortly * 2).await;
    // Whoever asks for a short life last shortens nobody else's.
    subject.two.append(b"short".to_vec(), shortly).await.unwrap();
    let found = all_entries(&subject.two, start).await.0;
    assert_eq!(found.first().map(Vec::as_slice), Some(&b"long"[..]));
    assert_eq!(found.last().map(Vec::as_slice), Some(&b"short"[..]));
}

async fn entries_that_are_over_leave_nothing_out(subject: &Subject) {
    let (_, mut cursor) = all_entries(&subject.one, Cursor::default()).await;
    let shortly = Duration::from_millis(100);
    // The place of a reader is over and gone each time; what came after it is not.
    for round in 0..4_u8 {
        subject.one.append(vec![round, 1], shortly).await.unwrap();
        let batch = subject.two.entries(cursor, PATIENCE).await.unwrap();
        assert_eq!(batch.entries, [[round, 1]]);
        subject.pass(shortly * 2).await;
        subject.one.append(vec![round, 2], HOUR).await.unwrap();
        let batch = subject.two.entries(batch.cursor, PATIENCE).await.unwrap();
        assert_eq!(batch.entries.last().map(Vec::as_slice), Some(&[round, 2][..]));
        cursor = batch.cursor;
    }
}

const HOUR: Duration = Duration::from_secs(3600);

//! What a newer release left, what another key sealed, what was damaged.

use super::*;
use crate::base::secret::Secret;
use crate::session::refresh::record::Refused;
use crate::session::settings::{AfterUnknown, Key as RingKey};

/// A change of a sealed value.
type Spoil = fn(&mut Vec<u8>);

/// A sealed value as a newer release would write it.
fn newer(value: &mut Vec<u8>) {
    value.splice(..1, *b"2");
}

/// One under a key that this replica does not have yet.
fn other_key(value: &mut Vec<u8>) {
    value.splice(2..3, *b"new");
}

fn flipped(value: &mut Vec<u8>) {
    let last = value.pop().unwrap();
    value.push(if last == b'A' { b'B' } else { b'A' });
}

fn cut(value: &mut Vec<u8>) {
    value.truncate(value.len() / 2);
}

fn emptied(value: &mut Vec<u8>) {
    value.clear();
}

impl World {
    async fn found(&self, sid: SessionId) -> Found {
        self.store.read(Key::new("session", sid.as_bytes())).await.unwrap()
    }

    /// Makes something else of a session's record.
    async fn spoil(&self, sid: SessionId, spoil: Spoil) -> Vec<u8> {
        let (seen, mut value) = self.found(sid).await.record.unwrap();
        spoil(&mut value);
        let swap = Swap {
            key: Key::new("session", sid.as_bytes()),
            seen: Some(seen),
            version: Version::new(),
            value: value.clone(),
            keep_for: Duration::from_secs(7200),
            note: None,
        };
        assert!(matches!(self.store.swap(swap).await.unwrap(), Swapped::Done(_)));
        value
    }

    /// A session that was refreshed once and shown, by a replica that is gone.
    async fn used(&self) -> Arc<Session> {
        let (first, gone) = (self.session(), self.replica());
        refresh(&gone, &first).await.unwrap();
        let second = gone.shared().registry.newest(&first.sid).unwrap();
        assert_eq!((second.generation, self.provider.refreshes()), (2, 1));
        second
    }
}

fn refused(came: Admitted) -> Refused {
    match came {
        Admitted::Refused { refused, .. } => refused,
        Admitted::Ticket(_) | Admitted::Nobody => panic!("{came:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_newer_release_or_another_key_is_waited_for_and_left_alone() {
    for spoil in [newer as Spoil, other_key] {
        let world = World::new();
        let session = world.used().await;
        let left = world.spoil(session.sid, spoil).await;
        let old = world.replica();
        let headers = cookies(&old, &session);
        assert!(matches!(admit(&old, &headers).await, Admitted::Ticket(_)), "its token is good");
        sleep(Duration::from_secs(400)).await;
        // Its token ran out: the newer release answers soon.
        let came = refused(admit(&old, &headers).await);
        assert!(matches!(came, Refused::StoreUnavailable(_) | Refused::Unavailable(_)), "{came:?}");
        // It does not: an older release runs again. A login helps, and what is there stays.
        let deadline = Instant::now() + Duration::from_secs(1200);
        loop {
            sleep(Duration::from_secs(20)).await;
            let came = refused(admit(&old, &headers).await);
            if came == Refused::RefreshUnknown {
                break;
            }
            assert!(matches!(came, Refused::StoreUnavailable(_) | Refused::Unavailable(_)), "{came:?}");
            assert!(Instant::now() < deadline, "nobody is kept waiting for ever");
        }
        assert_eq!(world.provider.refreshes(), 1, "no token is spent on a guess");
        assert_eq!(world.found(session.sid).await.record.unwrap().1, left);
        let text = old.shared().metrics_text();
        assert!(text.contains("bearward_store_unreadable_total{what=\"record\""), "{text}");
        assert!(text.contains("bearward_refreshes_total{outcome=\"unreadable\"}"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_seems_over_is_not_ended_while_only_others_can_read_its_record() {
    for spoil in [newer as Spoil, other_key, flipped] {
        let world = World::new();
        let session = world.used().await;
        world.spoil(session.sid, spoil).await;
        let old = world.replica();
        sleep(Duration::from_secs(3601)).await;
        let came = refused(admit(&old, &cookies(&old, &session)).await);
        assert!(matches!(came, Refused::StoreUnavailable(_) | Refused::RefreshUnknown), "{came:?}");
        assert!(world.store.entries(Cursor::default(), Duration::ZERO).await.unwrap().entries.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_logout_at_a_replica_that_cannot_read_the_record_is_one_for_all() {
    let world = World::new();
    let session = world.used().await;
    let left = world.spoil(session.sid, newer).await;
    let (old, other) = (world.replica(), world.replica());
    let headers = cookies(&old, &session);
    assert!(matches!(admit(&other, &headers).await, Admitted::Ticket(_)));
    old.end(&Jar::read(&headers, old.names()), EndCause::Logout).unwrap();
    sleep(follow::PROMPT).await;
    assert_eq!(refused(admit(&other, &headers).await), Refused::Ended(EndCause::Logout));
    assert_eq!(world.found(session.sid).await.record.unwrap().1, left);
    let log = world.store.entries(Cursor::default(), Duration::ZERO).await.unwrap();
    assert_eq!(log.entries.len(), 1, "told once");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_an_unknown_outcome_after_one_lease() {
    for spoil in [flipped as Spoil, cut, emptied] {
        let world = World::new();
        let session = world.used().await;
        world.spoil(session.sid, spoil).await;
        let replicas = [world.replica(), world.replica()];
        let headers = cookies(&replicas[0], &session);
        sleep(Duration::from_secs(400)).await;
        let began = Instant::now();
        let served = until("a token", || async {
            for replica in &replicas {
                match admit(replica, &headers).await {
                    Admitted::Ticket(ticket) => return Some(ticket),
                    Admitted::Nobody => panic!(),
                    Admitted::Refused { refused, .. } => {
                        let waits = matches!(refused, Refused::StoreUnavailable(_) | Refused::Unavailable(_));
                        assert!(waits, "{refused:?}");
                    }
                }
            }
            None
        });
        assert_eq!(served.await.session.generation, 3);
        let waited = began.elapsed();
        assert!(waited >= Duration::from_secs(17 + 2) && waited < Duration::from_secs(40), "{waited:?}");
        assert_eq!(world.provider.refreshes(), 2, "one replica sent it, once");
        let stored = world.stored(&replicas[1], session.sid).await.unwrap();
        assert_eq!(stored.newest, 3, "the record is whole again");
        let text: String = replicas.iter().map(|replica| replica.shared().metrics_text()).collect();
        let met = text.lines().filter(|line| line.starts_with("bearward_store_unreadable_total")).count();
        assert_eq!(met, 1, "one replica met it, once: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_no_reason_to_send_a_token_again_where_that_is_forbidden() {
    let world = World::new();
    let session = world.used().await;
    world.spoil(session.sid, flipped).await;
    let careful = world.replica_with(Settings { after_unknown: AfterUnknown::Login, ..settings() });
    sleep(Duration::from_secs(400)).await;
    assert_eq!(refused(admit(&careful, &cookies(&careful, &session)).await), Refused::RefreshUnknown);
    assert_eq!(world.provider.refreshes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_moved_from_another_session_is_damage() {
    // std:87
    let world = World::new();
    let session = world.used().await;
    let (_, value) = world.found(session.sid).await.record.unwrap();
    let other = SessionId::from_bytes([8; 16]);
    let key = Key::new("session", other.as_bytes());
    let keep_for = Duration::from_secs(7200);
    let swap = Swap { key, seen: None, version: Version::new(), value, keep_for, note: None };
    assert!(matches!(world.store.swap(swap).await.unwrap(), Swapped::Done(_)));
    let stored = world.stored(&world.replica(), other).await.unwrap();
    assert!(stored.is_damaged() && stored.sid == other && stored.successor.is_none(), "{stored:?}");
}

#[tokio::test(start_paused = true)]
async fn the_log_and_notes_are_followed_past_what_cannot_be_read() {
    let world = World::new();
    let first = world.session();
    let old = world.replica();
    let fleet = Arc::clone(old.shared().fleet.as_ref().unwrap());
    let sealed = |sid| {
        let denial = Denial::Session { sid, cause: EndCause::Logout.into() };
        wire::seal_denial(&fleet.sealer, &denial).unwrap()
    };
    for spoil in [newer as Spoil, other_key, flipped, cut, emptied] {
        let mut entry = sealed(first.sid);
        spoil(&mut entry);
        world.store.append(entry.clone(), Duration::from_secs(7200)).await.unwrap();
        let key = Key::new("other", &entry);
        let (version, value) = (Version::new(), Vec::new());
        let swap =
            Swap { key, seen: None, version, value, keep_for: Duration::from_secs(9), note: Some(entry) };
        world.store.swap(swap).await.unwrap();
    }
    let headers = cookies(&old, &first);
    sleep(follow::PROMPT).await;
    assert!(matches!(admit(&old, &headers).await, Admitted::Ticket(_)), "nobody is logged out by it");
    world.store.append(sealed(first.sid), Duration::from_secs(7200)).await.unwrap();
    sleep(follow::PROMPT).await;
    assert_eq!(refused(admit(&old, &headers).await), Refused::Ended(EndCause::Logout));
    assert_eq!(*old.following().borrow(), follow::Following::Loaded);
}

#[tokio::test(start_paused = true)]
async fn a_cookie_of_a_newer_release_is_no_session_here_and_is_not_deleted() {
    let world = World::new();
    let session = world.used().await;
    let key = |id: &str, byte| RingKey { id: id.to_owned(), bytes: Secret::new([byte; 32]) };
    let old = world.replica();
    let ahead = world.replica_with(Settings { keys: vec![key("new", 9), key("k", 7)], ..settings() });
    let (sealed, _) = old.shared().seal_for_all(&session).unwrap();
    let mut newer_seal = sealed.clone().into_bytes();
    newer(&mut newer_seal);
    let mut newer_layout = codec::encode(&session).unwrap();
    newer_layout[0] = 2;
    let sealer = Sealer::new(&settings().keys, Purpose::Session, "__Host-bearward").unwrap();
    let newer_layout = sealer.seal(newer_layout).unwrap();
    let (newer_key, _) = ahead.shared().seal_for_all(&session).unwrap();
    for (value, why) in [
        (String::from_utf8(newer_seal).unwrap(), "unknown_version"),
        (newer_layout, "unknown_version"),
        (newer_key, "unknown_key"),
    ] {
        let mut headers = HeaderMap::new();
        let cookie = format!("__Host-bearward={value}");
        headers.insert(COOKIE, HeaderValue::from_str(&cookie).unwrap());
        // `Nobody` is answered by a login, and sets no cookie.
        assert!(matches!(admit(&old, &headers).await, Admitted::Nobody));
        let text = old.shared().metrics_text();
        assert!(text.contains(&format!("bearward_cookies_rejected_total{{why=\"{why}\"}}")), "{text}");
    }
    assert!(matches!(admit(&ahead, &cookies(&ahead, &session)).await, Admitted::Ticket(_)));
    let log = world.store.entries(Cursor::default(), Duration::ZERO).await.unwrap();
    assert_eq!((log.entries.len(), world.provider.refreshes()), (0, 1), "nothing was ended or spent");
}

#[tokio::test(start_paused = true)]
async fn a_successor_of_a_newer_release_is_waited_for() {
    let world = World::new();
    let first = world.session();
    let old = world.replica();
    let headers = cookies(&old, &first);
    // The form of the cookie is newer, that of the record is not.
    let fleet = Arc::clone(old.shared().fleet.as_ref().unwrap());
    let ask = fleet.ask(&first, Repeat::First);
    assert!(matches!(fleet.claim(&ask).await.unwrap(), Claimed::Granted(_)));
    assert!(matches!(fleet.finish(&ask, "2.k.AAAA").await.unwrap(), Written::Kept));
    sleep(Duration::from_secs(400)).await;
    let came = refused(admit(&old, &headers).await);
    assert!(matches!(came, Refused::StoreUnavailable(_)), "{came:?}");
    sleep(Duration::from_secs(3601)).await;
    let came = refused(admit(&old, &headers).await);
    assert!(matches!(came, Refused::StoreUnavailable(_) | Refused::RefreshUnknown), "{came:?}");
    assert_eq!(world.provider.refreshes(), 0);
}

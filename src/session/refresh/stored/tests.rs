//! Table tests of every step on a record; a property over interleavings.

use proptest::prelude::*;

use super::*;
use crate::session::refresh::record::tests::START;

const TERM: Duration = Duration::from_secs(17);
const GRACE: Duration = Duration::from_secs(300);

fn sid() -> SessionId {
    SessionId::from_bytes([9; 16])
}

fn ask(holder: u64, generation: Generation) -> Ask {
    Ask {
        sid: sid(),
        generation,
        process: Process { holder, alone_since: None },
        attempt: holder * 1000 + generation,
        repeat: Repeat::First,
        term: TERM,
        after_unknown: AfterUnknown::RetryOnce,
    }
}

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

#[track_caller]
fn granted(found: Option<&Stored>, ask: &Ask, now: Timestamp) -> (Stored, Repeat) {
    match Stored::claim(found, ask, now) {
        Claim::Granted(record, repeat) => (*record, repeat),
        other @ (Claim::Wait(_) | Claim::Newer | Claim::Ended(_) | Claim::Spent) => panic!("{other:?}"),
    }
}

#[track_caller]
fn written(kept: Kept) -> Stored {
    match kept {
        Kept::Write(record) => *record,
        other @ (Kept::Newer | Kept::Ended(_)) => panic!("{other:?}"),
    }
}

#[test]
fn one_replica_gets_the_lease_and_the_others_wait_for_it() {
    // Rule 1.
    let (record, repeat) = granted(None, &ask(1, 1), at(0));
    assert_eq!(repeat, Repeat::First);
    assert_eq!(Stored::claim(Some(&record), &ask(2, 1), at(1)), Claim::Wait(at(17)));
    let prolonged = record.renew(ask(1, 1).attempt, TERM, at(6)).unwrap();
    assert_eq!(Stored::claim(Some(&prolonged), &ask(2, 1), at(17)), Claim::Wait(at(23)));
    assert_eq!(record.renew(ask(2, 1).attempt, TERM, at(6)), None, "nobody prolongs another's");
}

#[test]
fn what_was_kept_is_taken_once_its_holder_is_done_or_dead() {
    // Rule 3.
    let first = ask(1, 1);
    let (record, _) = granted(None, &first, at(0));
    let kept = written(Stored::keep(Some(&record), &first, "kept".into()));
    assert_eq!(Stored::claim(Some(&kept), &ask(2, 1), at(1)), Claim::Wait(at(17)), "still being judged");
    assert_eq!(Stored::claim(Some(&kept), &ask(2, 1), at(17)), Claim::Newer, "its holder died");
    assert_eq!(granted(Some(&kept), &ask(2, 2), at(17)).1, Repeat::First, "the kept token was never sent");
    let login = Ask { after_unknown: AfterUnknown::Login, ..ask(2, 2) };
    assert_eq!(granted(Some(&kept), &login, at(17)).1, Repeat::First);
    let finished = written(Stored::finish(Some(&kept), &first, "final".into()));
    assert_eq!(Stored::claim(Some(&finished), &ask(2, 1), at(1)), Claim::Newer);
    assert_eq!((finished.newest, finished.successor.as_deref()), (2, Some("final")));
    assert_eq!(granted(Some(&finished), &ask(2, 2), at(1)).1, Repeat::First, "the next generation is free");
}

#[test]
fn what_is_still_judged_is_nobody_elses() {
    let first = ask(1, 1);
    let (record, _) = granted(None, &first, at(0));
    let kept = written(Stored::keep(Some(&record), &first, "kept".into()));
    let finished = written(Stored::finish(Some(&kept), &first, "final".into()));
    let (leased, _) = granted(Some(&finished), &ask(2, 2), at(1));
    for (what, record, now, expected) in [
        ("spent by somebody, nothing kept", &record, 1, None),
        ("kept", &kept, 1, Some(at(17))),
        ("kept by somebody who died", &kept, 17, None),
        ("final", &finished, 1, None),
        ("final, and its own token is being spent", &leased, 2, None),
    ] {
        assert_eq!(record.judged_until(ask(3, 1).process, at(now)), expected, "{what}");
    }
    assert_eq!(Stored::claim(Some(&leased), &ask(3, 1), at(2)), Claim::Newer, "it is as it stays");
    assert_eq!(Stored::claim(Some(&kept), &Ask { attempt: 77, ..first }, at(1)), Claim::Newer, "given up");
}

#[test]
fn a_lease_without_a_result_is_an_unknown_outcome() {
    // Rule 1: not a licence for everyone to spend the token again.
    let (record, _) = granted(None, &ask(1, 1), at(0));
    assert_eq!(Stored::claim(Some(&record), &ask(2, 1), at(17)), Claim::Wait(at(19)), "a pause first");
    let (again, repeat) = granted(Some(&record), &ask(2, 1), at(19));
    assert_eq!(repeat, Repeat::AfterUnknown);
    assert_eq!(Stored::claim(Some(&again), &ask(3, 1), at(20)), Claim::Wait(at(36)), "one repeats it");
    assert_eq!(Stored::claim(Some(&again), &ask(3, 1), at(36)), Claim::Spent, "and nobody a third time");
    let login = Ask { after_unknown: AfterUnknown::Login, ..ask(2, 1) };
    assert_eq!(
        Stored::claim(Some(&record), &login, at(60)),
        Claim::Spent,
        "nor once, where that is configured"
    );
}

#[test]
fn a_lease_of_a_process_that_must_be_dead_is_over_at_once() {
    // The file of one process at a time was opened at 5, by process 2.
    let alone = |holder, generation| {
        let ask = ask(holder, generation);
        Ask { process: Process { holder, alone_since: Some(at(5)) }, ..ask }
    };
    let (record, _) = granted(None, &ask(1, 1), at(0));
    assert_eq!(Stored::claim(Some(&record), &alone(2, 1), at(5)), Claim::Wait(at(7)), "a pause, and no more");
    let (again, repeat) = granted(Some(&record), &alone(2, 1), at(7));
    assert_eq!(repeat, Repeat::AfterUnknown);
    let login = Ask { after_unknown: AfterUnknown::Login, ..alone(2, 1) };
    assert_eq!(Stored::claim(Some(&record), &login, at(5)), Claim::Spent);
    // What it took itself is held, whoever asks.
    assert_eq!(again.judged_until(alone(2, 1).process, at(8)), None);
    let kept = written(Stored::keep(Some(&again), &alone(2, 1), "kept".into()));
    assert_eq!(kept.judged_until(alone(2, 1).process, at(8)), Some(at(24)));
    assert_eq!(kept.judged_until(Process { holder: 3, alone_since: Some(at(8)) }, at(8)), None);
    // A second process that died over it leaves nothing to repeat.
    let third = Ask { process: Process { holder: 3, alone_since: Some(at(9)) }, ..ask(3, 1) };
    assert_eq!(Stored::claim(Some(&again), &third, at(9)), Claim::Spent);
    // Nor is what was kept before it died asked for again.
    assert_eq!(Stored::claim(Some(&kept), &third, at(9)), Claim::Newer);
    assert_eq!(granted(Some(&kept), &Ask { generation: 2, ..third }, at(9)).1, Repeat::First);
    // A lease that was over before is not younger for it.
    let late = Ask { process: Process { holder: 2, alone_since: Some(at(30)) }, ..ask(2, 1) };
    assert_eq!(Stored::claim(Some(&record), &late, at(18)), Claim::Wait(at(19)));
}

#[test]
fn a_process_knows_how_its_own_attempt_ended() {
    let (record, _) = granted(None, &ask(1, 1), at(0));
    let next = Ask { attempt: 77, ..ask(1, 1) };
    assert_eq!(granted(Some(&record), &next, at(1)).1, Repeat::First, "nothing was sent: no need to wait");
    let unknown = Ask { repeat: Repeat::AfterUnknown, ..next };
    assert_eq!(granted(Some(&record), &unknown, at(1)).1, Repeat::AfterUnknown);
}

#[test]
fn attempts_that_bring_nothing_leave_the_record_as_they_should() {
    let first = ask(1, 1);
    let (record, _) = granted(None, &first, at(0));
    let free = record.release(&first, Release::Unspent, at(1)).unwrap();
    assert_eq!(granted(Some(&free), &ask(2, 1), at(1)).1, Repeat::First);
    let unknown = record.release(&first, Release::Unknown, at(1)).unwrap();
    assert_eq!(Stored::claim(Some(&unknown), &ask(2, 1), at(2)), Claim::Wait(at(3)));
    let second = ask(2, 1);
    let (again, repeat) = granted(Some(&unknown), &second, at(3));
    assert_eq!(repeat, Repeat::AfterUnknown);
    // A repetition that never left: one is still allowed. One that was not answered: none.
    let unsent = again.release(&second, Release::Unspent, at(4)).unwrap();
    assert_eq!(granted(Some(&unsent), &ask(3, 1), at(6)).1, Repeat::AfterUnknown);
    let spent = again.release(&second, Release::Unknown, at(4)).unwrap();
    assert_eq!(Stored::claim(Some(&spent), &ask(3, 1), at(600)), Claim::Spent);
    assert_eq!(
        again.release(&first, Release::Unspent, at(4)),
        None,
        "a lease that was lost is not given back"
    );
}

#[test]
fn a_late_result_never_overwrites_a_newer_one() {
    let (slow, fast) = (ask(1, 1), ask(2, 1));
    let (record, _) = granted(None, &slow, at(0));
    let (record, _) = granted(Some(&record), &fast, at(19));
    let record = written(Stored::finish(Some(&record), &fast, "fast".into()));
    assert_eq!(Stored::keep(Some(&record), &slow, "slow".into()), Kept::Newer);
    assert_eq!(Stored::finish(Some(&record), &slow, "slow".into()), Kept::Newer);
}

#[test]
fn a_late_result_is_kept_where_nobody_has_another() {
    // The repetition will be refused by the provider; what the first attempt brought is the session's life.
    let (slow, fast) = (ask(1, 1), ask(2, 1));
    let (record, _) = granted(None, &slow, at(0));
    let (record, _) = granted(Some(&record), &fast, at(19));
    let record = written(Stored::keep(Some(&record), &slow, "slow".into()));
    assert_eq!(Stored::claim(Some(&record), &ask(3, 1), at(20)), Claim::Newer);
    assert_eq!(Stored::keep(Some(&record), &fast, "fast".into()), Kept::Newer);
}

#[test]
fn writing_again_after_a_lost_answer_changes_nothing() {
    let first = ask(1, 1);
    let (record, _) = granted(None, &first, at(0));
    let kept = written(Stored::keep(Some(&record), &first, "kept".into()));
    assert_eq!(written(Stored::keep(Some(&kept), &first, "kept".into())), kept);
    let finished = written(Stored::finish(Some(&kept), &first, "final".into()));
    assert_eq!(written(Stored::finish(Some(&finished), &first, "final".into())), finished);
    assert_eq!(granted(Some(&record), &first, at(1)).0.newest, 1);
}

#[test]
fn results_survive_a_store_that_forgot() {
    let first = ask(1, 1);
    assert_eq!(written(Stored::keep(None, &first, "kept".into())).newest, 2);
    assert_eq!(written(Stored::finish(None, &first, "final".into())).newest, 2);
    let older = Stored::new(sid(), 1);
    assert_eq!(granted(Some(&older), &ask(1, 5), at(0)).0.newest, 5, "the cookie is authentic");
}

#[test]
fn ending_wins_over_every_step() {
    // Rule 5.
    let first = ask(1, 1);
    let (record, _) = granted(None, &first, at(0));
    let ended = Stored::end(Some(&record), sid(), EndCause::Logout).unwrap();
    assert_eq!(Stored::keep(Some(&ended), &first, "late".into()), Kept::Ended(EndCause::Logout));
    assert_eq!(Stored::finish(Some(&ended), &first, "late".into()), Kept::Ended(EndCause::Logout));
    assert_eq!(Stored::claim(Some(&ended), &ask(2, 1), at(1)), Claim::Ended(EndCause::Logout));
    assert_eq!(ended.renew(first.attempt, TERM, at(1)), None);
    assert_eq!(Stored::end(Some(&ended), sid(), EndCause::Rollback), None, "the first cause stays");
    assert_eq!(Stored::acknowledge(Some(&ended), (sid(), 2), || None, at(1), GRACE), None);
    assert_eq!(Stored::catch_up(Some(&ended), &Stored::new(sid(), 9)), None);
    assert_eq!(ended.successor, None);
    for &cause in EndCause::ALL {
        assert_eq!(EndCause::from(Cause::from(cause)), cause);
    }
}

#[test]
fn acknowledgements_are_remembered_with_their_time() {
    let sealed = || Some("sealed".to_owned());
    let record = Stored::acknowledge(None, (sid(), 2), sealed, at(0), GRACE).unwrap();
    assert_eq!((record.newest, record.successor.as_deref()), (2, Some("sealed")));
    let record = Stored::acknowledge(Some(&record), (sid(), 3), sealed, at(10), GRACE).unwrap();
    assert_eq!(Stored::acknowledge(Some(&record), (sid(), 3), sealed, at(11), GRACE), None, "known");
    let mut seen = record.generations;
    use crate::session::refresh::record::generations::Standing;
    assert_eq!(seen.present(2, at(309), GRACE), Standing::Current);
    assert_eq!(seen.present(2, at(310), GRACE), Standing::Superseded);
}

#[test]
fn what_was_made_alone_is_brought_where_it_is_newer() {
    let made = Stored { successor: Some("alone".into()), ..Stored::new(sid(), 3) };
    assert_eq!(Stored::catch_up(None, &made).unwrap(), made);
    let (leased, _) = granted(None, &ask(1, 2), at(0));
    assert_eq!(Stored::catch_up(Some(&leased), &made).unwrap().newest, 3);
    assert_eq!(Stored::catch_up(Some(&made), &made), None);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Claim(u64),
    Rotate(u64),
    Fail(u64),
    Lose(u64),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = 1..4_u64;
    let step = prop_oneof![
        4 => replica.clone().prop_map(Step::Claim),
        2 => replica.clone().prop_map(Step::Rotate),
        1 => replica.clone().prop_map(Step::Fail),
        1 => replica.prop_map(Step::Lose),
        2 => (1..25_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn no_token_is_spent_twice_but_after_an_unknown_outcome(steps in steps()) {
        let mut record: Option<Stored> = None;
        let mut held: [Option<(Ask, Repeat, Timestamp)>; 4] = Default::default();
        let mut sent: std::collections::HashMap<Generation, u32> = std::collections::HashMap::new();
        let mut now = at(0);
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Wait(seconds) => now = now.plus(Duration::from_secs(seconds)),
                Step::Claim(replica) => {
                    let slot = usize::try_from(replica).unwrap();
                    if held[slot].is_some() {
                        continue;
                    }
                    let generation = record.as_ref().map_or(1, |record| record.newest);
                    let attempt = u64::try_from(number).unwrap();
                    let ask = Ask { attempt, ..ask(replica, generation) };
                    if let Claim::Granted(written, repeat) = Stored::claim(record.as_ref(), &ask, now) {
                        let times = sent.entry(generation).or_default();
                        *times += 1;
                        prop_assert!(*times <= 1 || repeat == Repeat::AfterUnknown, "sent {times} times");
                        prop_assert!(*times <= 2, "a third time");
                        record = Some(*written);
                        held[slot] = Some((ask, repeat, now.plus(TERM)));
                    }
                }
                Step::Rotate(replica) => {
                    let slot = usize::try_from(replica).unwrap();
                    // An answer comes within the lease, which is prolonged while it may, or never.
                    if let Some((ask, ..)) = held[slot].take_if(|(.., until)| now < *until)
                        && let Kept::Write(written) = Stored::finish(record.as_ref(), &ask, "x".into())
                    {
                        record = Some(*written);
                    }
                }
                Step::Fail(replica) => {
                    if let Some((ask, ..)) = held[usize::try_from(replica).unwrap()].take()
                        && let Some(left) = &record
                        && let Some(written) = left.release(&ask, Release::Unknown, now)
                    {
                        record = Some(written);
                    }
                }
                // The replica dies and comes back as another process, whose lease is nobody's.
                Step::Lose(replica) => {
                    let slot = usize::try_from(replica).unwrap();
                    if held[slot].take().is_some() && let Some(record) = record.as_mut()
                        && let Refresh::Leased(lease) = &mut record.refresh
                        && lease.holder == replica
                    {
                        lease.holder = 0;
                    }
                }
            }
        }
    }
}

//! Table tests of every row of the protocol; a property over random histories.
#![expect(clippy::wildcard_enum_match_arm, reason = "the arm is the failure of the test")]

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Map;

use super::*;
use crate::base::secret::Secret;
use crate::session::model::{Identity, SessionId, Tokens, bearer};

pub(crate) const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const LIFE: Duration = Duration::from_secs(300);

pub(crate) fn session(generation: Generation) -> Session {
    session_living(generation, LIFE)
}

pub(crate) fn session_living(generation: Generation, life: Duration) -> Session {
    made_at(generation, START, life)
}

fn made_at(generation: Generation, at: Timestamp, life: Duration) -> Session {
    Session {
        sid: SessionId::from_bytes([9; 16]),
        generation,
        identity: Identity {
            issuer: "https://id.example.com".into(),
            subject: "alice".into(),
            provider_sid: None,
            auth_time: None,
            nonce: "n".into(),
        },
        login_at: START,
        refreshed_at: at,
        seen_at: at,
        expires_at: START.plus(Duration::from_secs(12 * 3600)),
        tokens: Tokens {
            bearer: bearer(&format!("at-{generation}")).unwrap(),
            access_expires_at: at.plus(life),
            refresh: Some(Secret::new(format!("rt-{generation}"))),
            id_token: None,
            scope: "openid".into(),
        },
        claims: Map::new(),
    }
}

fn policy() -> Policy {
    Policy {
        lifetime: Duration::from_secs(12 * 3600),
        grace: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(3600),
        rollback: Rollback::End,
        after_unknown: AfterUnknown::RetryOnce,
    }
}

/// One session under test, with a clock.
struct Bench {
    record: Record,
    policy: Policy,
    now: Timestamp,
}

impl Bench {
    fn new() -> Self {
        Self { record: Record::adopt(Arc::new(session(1))), policy: policy(), now: START }
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self
    }

    fn present(&mut self, generation: Generation) -> Admission {
        self.ask(generation, Ask::Usual).0
    }

    fn ask(&mut self, generation: Generation, ask: Ask) -> (Admission, Aftermath) {
        let seen_at = self.record.last_seen().min(self.now);
        self.record.present((generation, seen_at), ask, self.now, &self.policy, |_| false)
    }

    fn end(&mut self, cause: EndCause) -> Aftermath {
        self.record.end(cause, &self.policy)
    }

    fn settle(&mut self, from: Generation, outcome: Outcome) -> Aftermath {
        self.record.settle(from, outcome, self.now, &self.policy)
    }

    /// Rotates once: an attempt from the newest generation that succeeds.
    fn rotate(&mut self) -> Generation {
        let newest = self.record.newest().unwrap();
        let (from, presented) = (newest.generation, newest.generation);
        self.now = newest.tokens.access_expires_at;
        let admission = self.present(presented);
        assert!(matches!(admission, Admission::Wait(Some(_))), "{admission:?}");
        self.settle(from, Outcome::Rotated(Arc::new(made_at(from + 1, self.now, LIFE))));
        from + 1
    }

    fn cookie(&mut self, presented: Generation) -> Option<Generation> {
        self.record.cookie_due(presented, self.now, &self.policy).map(|session| session.generation)
    }
}

#[track_caller]
fn served(admission: Admission) -> Generation {
    match admission {
        Admission::Serve(session, _) => session.generation,
        other => panic!("not served: {other:?}"),
    }
}

#[track_caller]
fn refused(admission: Admission) -> Refused {
    match admission {
        Admission::Refuse(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_fresh_token_is_served_without_asking_the_provider() {
    let mut bench = Bench::new();
    let admission = bench.present(1);
    assert!(matches!(admission, Admission::Serve(_, None)), "{admission:?}");
    assert_eq!(bench.cookie(1), None);
}

#[test]
fn a_due_token_is_served_beside_one_refresh() {
    let mut bench = Bench::new();
    bench.wait(299);
    assert!(matches!(bench.present(1), Admission::Serve(_, Some(_))));
    assert!(matches!(bench.present(1), Admission::Serve(_, None)), "rule 1: the second starts nothing");
}

#[test]
fn an_expired_token_waits_for_the_one_refresh() {
    let mut bench = Bench::new();
    bench.wait(300);
    assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
    for _ in 0..200 {
        assert!(matches!(bench.present(1), Admission::Wait(None)), "rule 1");
    }
    bench.settle(1, Outcome::Rotated(Arc::new(made_at(2, bench.now, LIFE))));
    assert_eq!(served(bench.present(1)), 2);
    assert_eq!(bench.cookie(1), Some(2));
}

#[test]
fn successors_under_way_are_served_however_many_were_made() {
    let mut bench = Bench::new();
    for expected in 2..=6 {
        // The browser never receives an answer: it presents generation 1 each time.
        bench.now = bench.record.newest().unwrap().tokens.access_expires_at;
        assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
        bench.settle(expected - 1, Outcome::Rotated(Arc::new(made_at(expected, bench.now, LIFE))));
    }
    assert_eq!(served(bench.present(1)), 6);
    assert_eq!(bench.cookie(1), Some(6));
    assert!(
        !bench.record.is_evictable(bench.now, &bench.policy),
        "rule 3: an unacknowledged successor stays"
    );
}

#[test]
fn a_superseded_cookie_works_for_the_grace_from_the_acknowledgement() {
    let mut bench = Bench::new();
    bench.rotate();
    bench.wait(200);
    assert_eq!(served(bench.present(1)), 2, "made, not acknowledged: nothing better can be there");
    assert_eq!(served(bench.present(2)), 2);
    bench.wait(30);
    assert_eq!(served(bench.present(1)), 2);
    assert_eq!(bench.cookie(1), Some(2), "and is sent the newest again");
    // The grace of 300 s is counted from the acknowledgement, 200 s after generation 2 was made.
    bench.rotate();
    assert_eq!(served(bench.present(1)), 3);
    bench.wait(250);
    let (admission, aftermath) = bench.ask(1, Ask::Usual);
    assert_eq!(refused(admission), Refused::Ended(EndCause::Rollback));
    assert_eq!(aftermath.ended, Some(EndCause::Rollback));
    assert_eq!(aftermath.token_to_revoke().unwrap().expose(), "rt-3");
    assert_eq!(refused(bench.present(3)), Refused::Ended(EndCause::Rollback), "for every holder");
}

#[test]
fn a_rollback_may_be_refused_instead() {
    let mut bench = Bench::new();
    bench.policy.rollback = Rollback::Reject;
    bench.rotate();
    assert_eq!(served(bench.present(2)), 2);
    bench.rotate();
    bench.wait(299);
    assert_eq!(refused(bench.present(1)), Refused::RolledBack);
    assert_eq!(bench.cookie(1), None, "and its bearer is not handed the newest cookie");
    assert!(matches!(bench.present(3), Admission::Serve(..)), "the session lives on");
}

#[test]
fn each_generation_has_a_grace_of_its_own() {
    let mut bench = Bench::new();
    bench.policy.rollback = Rollback::Reject;
    for generation in 1..=3 {
        bench.present(generation);
        bench.rotate();
    }
    // 1 was superseded by 2 (300 s), 2 by 3 (600 s), 3 by nothing yet; the clock stands at 900 s.
    assert_eq!(refused(bench.present(1)), Refused::RolledBack);
    assert_eq!(refused(bench.present(2)), Refused::RolledBack);
    assert_eq!(served(bench.present(3)), 4);
}

#[test]
fn a_newer_cookie_from_elsewhere_is_adopted() {
    let mut bench = Bench::new();
    assert!(bench.record.lacks(5));
    bench.record.raise(Arc::new(made_at(5, bench.now, LIFE)));
    assert_eq!(served(bench.present(5)), 5);
    assert_eq!(served(bench.present(1)), 5, "the older one is within its grace");
}

#[test]
fn a_flight_from_an_older_generation_changes_nothing() {
    let mut bench = Bench::new();
    bench.wait(300);
    assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
    bench.record.raise(Arc::new(made_at(5, bench.now, LIFE)));
    let aftermath = bench.settle(1, Outcome::InvalidGrant);
    assert_eq!(aftermath.ended, None, "rule 6: a newer generation is known");
    assert_eq!(served(bench.present(5)), 5);
}

#[test]
fn only_invalid_grant_ends_a_session() {
    // Rule 6.
    let mut bench = Bench::new();
    bench.wait(300);
    for outcome in
        [Outcome::Failed { wait: None }, Outcome::LoginRequired("access_denied".into()), Outcome::Unknown]
    {
        let mut bench = Bench::new();
        bench.wait(300);
        bench.present(1);
        assert_eq!(bench.settle(1, outcome).ended, None);
        assert!(bench.record.newest().is_some());
    }
    bench.present(1);
    let aftermath = bench.settle(1, Outcome::InvalidGrant);
    assert_eq!(aftermath.ended, Some(EndCause::InvalidGrant));
    assert!(aftermath.revoke.is_none(), "the provider has ended it already");
    assert_eq!(refused(bench.present(1)), Refused::Ended(EndCause::InvalidGrant));
}

#[test]
fn pauses_double_from_one_to_ten_seconds() {
    let mut bench = Bench::new();
    bench.wait(300);
    for pause in [1, 2, 4, 8, 10, 10] {
        assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
        bench.settle(1, Outcome::Failed { wait: None });
        bench.wait(pause - 1);
        assert_eq!(refused(bench.present(1)), Refused::Unavailable(Duration::from_secs(1)));
        bench.wait(1);
    }
}

#[test]
fn a_provider_that_asks_for_time_gets_it_up_to_the_longest_pause() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::Failed { wait: Some(Duration::from_secs(3600)) });
    assert_eq!(refused(bench.present(1)), Refused::Unavailable(LONGEST_PAUSE));
}

#[test]
fn a_good_token_is_served_while_the_provider_fails() {
    let mut bench = Bench::new();
    bench.wait(290);
    assert!(matches!(bench.present(1), Admission::Serve(_, Some(_))));
    bench.settle(1, Outcome::Failed { wait: None });
    assert!(matches!(bench.present(1), Admission::Serve(_, None)));
    bench.wait(10);
    assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
}

#[test]
fn an_unanswered_refresh_is_repeated_once_after_a_pause() {
    // Rule 1, the exception.
    let mut bench = Bench::new();
    bench.wait(290);
    bench.present(1);
    bench.settle(1, Outcome::Unknown);
    assert!(matches!(bench.present(1), Admission::Serve(_, None)));
    bench.wait(2);
    let Admission::Serve(_, Some(attempt)) = bench.present(1) else { panic!("no repeat") };
    assert_eq!(attempt.repeat, Repeat::AfterUnknown);
    bench.settle(1, Outcome::Unknown);
    bench.wait(5);
    assert!(matches!(bench.present(1), Admission::Serve(_, None)), "never a third time");
    bench.wait(10);
    assert_eq!(refused(bench.present(1)), Refused::RefreshUnknown);
    assert!(bench.record.newest().is_some(), "rule 6: not ended");
}

#[test]
fn a_repeat_that_was_not_sent_is_still_owed() {
    let mut bench = Bench::new();
    bench.wait(290);
    bench.present(1);
    bench.settle(1, Outcome::Unknown);
    bench.wait(2);
    bench.present(1);
    bench.settle(1, Outcome::Failed { wait: None });
    bench.wait(1);
    let Admission::Serve(_, Some(attempt)) = bench.present(1) else { panic!("no repeat") };
    assert_eq!(attempt.repeat, Repeat::AfterUnknown, "and still counts as the one repeat");
}

#[test]
fn an_unanswered_refresh_may_ask_for_a_login_instead() {
    let mut bench = Bench::new();
    bench.policy.after_unknown = AfterUnknown::Login;
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::Unknown);
    bench.wait(10);
    assert_eq!(refused(bench.present(1)), Refused::RefreshUnknown);
}

#[test]
fn tokens_that_arrive_expired_are_kept_but_not_chased() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::Rotated(Arc::new(made_at(2, START, LIFE))));
    assert_eq!(refused(bench.present(1)), Refused::Unavailable(Duration::from_secs(1)));
    bench.wait(1);
    let Admission::Wait(Some(attempt)) = bench.present(1) else { panic!("no attempt") };
    assert_eq!(attempt.from.generation, 2, "rule 1: the newest refresh token is the one that is spent");
}

#[test]
fn a_kept_successor_survives_the_loss_of_what_followed() {
    // Rule 3: kept before the ID token is looked at.
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.record.keep(Arc::new(made_at(2, bench.now, LIFE)));
    assert!(matches!(bench.present(1), Admission::Wait(None)), "not used before it is judged");
    bench.settle(1, Outcome::Unknown);
    assert_eq!(served(bench.present(1)), 2);
}

#[test]
fn a_rejected_id_token_ends_the_session_and_revokes_what_came() {
    // Rule 7.
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.record.keep(Arc::new(made_at(2, bench.now, LIFE)));
    let aftermath = bench.settle(1, Outcome::IdTokenRejected);
    assert_eq!(aftermath.ended, Some(EndCause::IdTokenMismatch));
    assert_eq!(aftermath.token_to_revoke().unwrap().expose(), "rt-2");
}

#[test]
fn ending_wins_over_a_flight() {
    // Rule 5.
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    let aftermath = bench.end(EndCause::Logout);
    assert_eq!(aftermath.ended, Some(EndCause::Logout));
    assert!(aftermath.revoke.is_none(), "the flight is spending it");
    let aftermath = bench.settle(1, Outcome::Rotated(Arc::new(made_at(2, bench.now, LIFE))));
    assert_eq!(aftermath.token_to_revoke().unwrap().expose(), "rt-2", "what still arrives is revoked");
    assert_eq!(refused(bench.present(1)), Refused::Ended(EndCause::Logout));
    assert_eq!(refused(bench.present(2)), Refused::Ended(EndCause::Logout));
    assert_eq!(bench.cookie(1), None, "and sets no cookie");
    bench.record.raise(Arc::new(made_at(3, bench.now, LIFE)));
    assert_eq!(refused(bench.present(3)), Refused::Ended(EndCause::Logout));
}

#[test]
fn an_ended_session_whose_flight_fails_revokes_what_the_flight_held() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.end(EndCause::Logout);
    assert!(!bench.record.is_over(bench.now.plus(Duration::from_secs(100_000)), &bench.policy));
    let aftermath = bench.settle(1, Outcome::Failed { wait: None });
    assert_eq!(aftermath.token_to_revoke().unwrap().expose(), "rt-1");
}

#[test]
fn a_replaced_session_is_not_revoked() {
    let mut bench = Bench::new();
    let aftermath = bench.end(EndCause::Replaced);
    assert!(aftermath.revoke.is_none(), "some providers would end the new session with it");
    assert_eq!(bench.end(EndCause::Logout).ended, None, "the first cause stays");
    assert_eq!(refused(bench.present(1)), Refused::Ended(EndCause::Replaced));
}

#[test]
fn sessions_end_by_lifetime_and_by_idleness() {
    // std:80
    let mut bench = Bench::new();
    bench.wait(3599);
    assert!(!matches!(bench.present(1), Admission::Refuse(_)));
    bench.wait(3600);
    assert_eq!(refused(bench.present(1)), Refused::Ended(EndCause::Idle));

    let mut bench = Bench::new();
    let (mut newest, mut end) = (1, None);
    for _ in 0..1000 {
        bench.wait(100);
        match bench.present(newest) {
            Admission::Serve(session, None) => newest = session.generation,
            Admission::Serve(_, Some(_)) | Admission::Wait(Some(_)) => {
                let next = Arc::new(made_at(newest + 1, bench.now, LIFE));
                bench.settle(newest, Outcome::Rotated(next));
                newest += 1;
            }
            other => {
                end = Some(other);
                break;
            }
        }
    }
    assert_eq!(refused(end.unwrap()), Refused::Ended(EndCause::Lifetime), "rotation does not extend it");
    assert_eq!(bench.now.since(START), Duration::from_secs(12 * 3600));
}

#[test]
fn a_request_without_refresh_starts_none() {
    // Rule 8.
    let mut bench = Bench::new();
    bench.wait(299);
    assert!(matches!(bench.ask(1, Ask::NoRefresh).0, Admission::Serve(_, None)));
    bench.wait(1);
    assert_eq!(refused(bench.ask(1, Ask::NoRefresh).0), Refused::RefreshNotAllowed);
    bench.present(1);
    assert!(matches!(bench.ask(1, Ask::NoRefresh).0, Admission::Wait(None)), "it waits for another's");
}

#[test]
fn a_refresh_on_demand_has_a_cool_down() {
    let mut bench = Bench::new();
    assert!(matches!(bench.ask(1, Ask::RefreshNow).0, Admission::Serve(_, None)));
    bench.wait(5);
    assert!(matches!(bench.ask(1, Ask::RefreshNow).0, Admission::Wait(Some(_))));
    assert!(matches!(bench.ask(1, Ask::RefreshNow).0, Admission::Wait(None)));
}

#[test]
fn a_session_without_a_refresh_token_ends_with_its_access_token() {
    let mut session = session(1);
    session.tokens.refresh = None;
    let mut bench = Bench::new();
    bench.record = Record::adopt(Arc::new(session));
    bench.wait(299);
    assert!(matches!(bench.present(1), Admission::Serve(_, None)));
    bench.wait(1);
    assert_eq!(refused(bench.present(1)), Refused::NoRefreshToken);
}

#[test]
fn a_login_that_the_provider_wants_is_told_when_the_token_has_run_out() {
    let mut bench = Bench::new();
    bench.wait(299);
    bench.present(1);
    bench.settle(1, Outcome::LoginRequired("interaction_required".into()));
    assert!(matches!(bench.present(1), Admission::Serve(_, None)), "the token is still good");
    bench.wait(1);
    assert_eq!(refused(bench.present(1)), Refused::LoginRequired("interaction_required".into()));
}

#[test]
fn the_cookie_is_sealed_anew_in_long_use() {
    let mut bench = Bench::new();
    bench.record = Record::adopt(Arc::new(session_living(1, Duration::from_secs(36_000))));
    bench.wait(899);
    assert_eq!(bench.cookie(1), None);
    bench.wait(1);
    assert_eq!(bench.cookie(1), Some(1));
    assert_eq!(bench.cookie(1), None, "once");
    assert_eq!(bench.record.newest().unwrap().seen_at, bench.now);
}

/// A browser that may lose any response, and a strict provider, against one record.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u16),
    /// The browser sends a request; its response arrives or is lost.
    Request {
        lost: bool,
    },
    /// A copy of the cookie as of some requests ago arrives late.
    Late(u8),
    Answer(u8),
    Logout,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u16..400).prop_map(Step::Wait),
        8 => any::<bool>().prop_map(|lost| Step::Request { lost }),
        1 => any::<u8>().prop_map(Step::Late),
        6 => any::<u8>().prop_map(Step::Answer),
        1 => Just(Step::Logout).prop_filter("rarely", |_| true),
    ]
}

/// The world around the record: what a strict provider and one browser would say of it.
struct World {
    bench: Bench,
    browser: Generation,
    flight: Option<(Generation, Repeat)>,
    sent: HashMap<Generation, u32>,
    unanswered: HashMap<Generation, u32>,
    logged_out: bool,
    history: Vec<Generation>,
}

impl World {
    fn request(&mut self, generation: Generation, lost: bool) {
        let (admission, _) = self.bench.ask(generation, Ask::Usual);
        if let Admission::Serve(session, _) = &admission {
            assert!(!self.logged_out, "rule 5: served after logout");
            assert!(self.bench.now < session.tokens.access_expires_at, "an expired bearer was forwarded");
        }
        if let Admission::Serve(_, Some(attempt)) | Admission::Wait(Some(attempt)) = &admission {
            assert!(self.flight.is_none(), "rule 1: two flights at once");
            *self.sent.entry(attempt.from.generation).or_default() += 1;
            self.flight = Some((attempt.from.generation, attempt.repeat));
        }
        let due = self.bench.cookie(generation);
        assert!(due.is_none() || !self.logged_out, "rule 5: a cookie after logout");
        if let Some(due) = due {
            assert!(due >= generation, "rule 4: an older cookie overwrites a newer one");
            if !lost {
                self.browser = self.browser.max(due);
                self.history.push(due);
            }
        }
    }

    fn answer(&mut self, how: u8) {
        let Some((from, repeat)) = self.flight.take() else { return };
        let first_presentation = repeat == Repeat::First;
        let outcome = match how % 8 {
            0 => {
                *self.unanswered.entry(from).or_default() += 1;
                Outcome::Unknown
            }
            1 => {
                // Not sent after all: the provider has not seen the token.
                *self.sent.entry(from).or_default() -= 1;
                Outcome::Failed { wait: None }
            }
            _ => Outcome::Rotated(Arc::new(made_at(from + 1, self.bench.now, LIFE))),
        };
        assert!(first_presentation || self.unanswered.contains_key(&from));
        self.bench.settle(from, outcome);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(seconds) => drop(self.bench.wait(u64::from(seconds))),
            Step::Request { lost } => self.request(self.browser, lost),
            Step::Late(back) => {
                let at = self.history.len().saturating_sub(usize::from(back % 4) + 1);
                let generation = self.history.get(at).copied().unwrap_or(1);
                self.request(generation, true);
            }
            Step::Answer(how) => self.answer(how),
            Step::Logout => {
                self.bench.end(EndCause::Logout);
                self.logged_out = true;
            }
        }
        for (generation, sent) in &self.sent {
            let allowed = 1 + u32::from(self.unanswered.contains_key(generation));
            assert!(*sent <= allowed, "rule 1: generation {generation} was sent {sent} times");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn random_histories_keep_the_rules(steps in proptest::collection::vec(step(), 1..120)) {
        let mut bench = Bench::new();
        bench.policy.rollback = Rollback::Reject;
        let mut world = World {
            bench,
            browser: 1,
            flight: None,
            sent: HashMap::new(),
            unanswered: HashMap::new(),
            logged_out: false,
            history: vec![1],
        };
        for step in steps {
            world.step(step);
        }
    }
}

#[test]
fn a_refusal_is_believed_for_a_minute_and_then_asked_again() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::LoginRequired("access_denied".into()));
    bench.wait(59);
    assert_eq!(refused(bench.present(1)), Refused::LoginRequired("access_denied".into()));
    bench.wait(1);
    assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
}

#[test]
fn a_clock_that_is_set_back_prolongs_no_pause() {
    for outcome in [Outcome::Failed { wait: None }, Outcome::Unknown] {
        let mut bench = Bench::new();
        bench.wait(3000);
        bench.present(1);
        bench.settle(1, outcome);
        bench.now = START.plus(Duration::from_secs(400));
        assert!(matches!(bench.present(1), Admission::Wait(Some(_))));
    }
}

#[test]
fn a_session_s_own_failure_is_not_shortened_by_the_provider_s_health() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::RotatedOnly(Arc::new(made_at(2, START, LIFE))));
    let asked = |bench: &mut Bench| {
        bench.record.present((2, bench.now), Ask::Usual, bench.now, &bench.policy, |_| true).0
    };
    assert!(matches!(asked(&mut bench), Admission::Refuse(Refused::Unavailable(_))));
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.settle(1, Outcome::Failed { wait: Some(Duration::from_secs(9)) });
    let admission = bench.record.present((1, bench.now), Ask::Usual, bench.now, &bench.policy, |_| true).0;
    assert!(
        matches!(admission, Admission::Wait(Some(_))),
        "the provider's own fault is over for everyone at once"
    );
}

#[test]
fn what_an_unanswered_refresh_left_behind_is_not_forgotten() {
    // Rule 1
    let mut bench = Bench::new();
    bench.wait(1000);
    for _ in 0..2 {
        bench.present(1);
        bench.settle(1, Outcome::Unknown);
        bench.wait(400);
        assert!(!bench.record.is_evictable(bench.now, &bench.policy));
    }
}

#[test]
fn a_replaced_session_s_late_token_is_not_revoked_either() {
    let mut bench = Bench::new();
    bench.wait(300);
    bench.present(1);
    bench.end(EndCause::Replaced);
    let aftermath = bench.settle(1, Outcome::Rotated(Arc::new(made_at(2, bench.now, LIFE))));
    assert!(aftermath.revoke.is_none());
}

#[test]
fn a_denial_lasts_as_long_as_any_cookie_of_the_session() {
    let mut short = session(1);
    short.expires_at = START.plus(Duration::from_secs(600));
    let mut bench = Bench::new();
    bench.record = Record::adopt(Arc::new(short));
    bench.end(EndCause::Logout);
    assert!(!bench.record.is_over(START.plus(Duration::from_secs(12 * 3600 - 1)), &bench.policy));
    assert!(bench.record.is_over(START.plus(Duration::from_secs(12 * 3600)), &bench.policy));
}

#[test]
fn while_the_process_ends_a_refresh_is_made_only_where_nothing_else_helps() {
    let mut bench = Bench::new();
    bench.wait(299);
    assert!(matches!(bench.ask(1, Ask::OnlyIfExpired).0, Admission::Serve(_, None)));
    bench.wait(1);
    assert!(matches!(bench.ask(1, Ask::OnlyIfExpired).0, Admission::Wait(Some(_))));
}

#[test]
fn what_is_learnt_is_never_older() {
    // Rule 4: whoever knows generation 3 takes over nothing that was made before.
    let mut record = Record::adopt(Arc::new(session(3)));
    let lesson = |generation| Lesson {
        newest: Some(Arc::new(session(generation))),
        generations: Generations::new(generation),
    };
    record.learn(lesson(2));
    assert_eq!(record.newest().unwrap().generation, 3);
    record.learn(lesson(4));
    assert_eq!(record.newest().unwrap().generation, 4);
}

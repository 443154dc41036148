//! Histories that broke a rule once, as short as they were found.
//!
//! Each failed before what its name tells was mended.

use super::plan::{Fate, Kind, Op, Overlap, Plan, Profile, Setup, Still, StoreFault, Then};
use super::run::run;
use crate::session::mutation::{self, Mutation};
use crate::session::refresh::record::Ask;
use crate::session::settings::{AfterUnknown, Rollback};
use crate::store::settings::{Denials, RefreshAlone};

fn setup(seed: u64, profile: Profile) -> Setup {
    Setup {
        seed,
        profile,
        replicas: 3,
        browsers: 2,
        life: 20,
        overlap: Overlap::None,
        keeps: 0,
        rollback: Rollback::End,
        after_unknown: AfterUnknown::RetryOnce,
        alone: RefreshAlone::Wait,
        denials: Denials::Closed,
        skews: vec![0; 8],
        padding: 0,
    }
}

fn asks(browser: usize, replica: usize) -> Op {
    let (ask, kind, fate) = (Ask::Usual, Kind::Page, Fate::Arrives(50));
    Op::Request { browser, replica, ask, kind, fate, upstream: 5 }
}

fn lost(browser: usize, replica: usize) -> Op {
    Op::Request { browser, replica, ask: Ask::Usual, kind: Kind::Script, fate: Fate::Lost, upstream: 5 }
}

#[track_caller]
fn holds(setup: Setup, events: Vec<(u64, Op)>) {
    let report = run(&Plan { setup, events });
    assert_eq!(report.broken, None, "{:#?}", report.trace);
}

#[test]
fn a_session_is_not_stuck_after_a_request_that_was_refused_blindly() {
    let cut = Op::Store(Some(StoreFault::Cut(u32::MAX)));
    holds(setup(16, Profile::Store), vec![(1_000, asks(0, 0)), (7_000, cut), (16_000, asks(0, 0))]);
}

#[test]
fn a_login_before_anything_else_goes_by_the_store_s_clock() {
    let skews = vec![50_000, -30_000, 0, 0, 0, 0, 0, 0];
    let setup = Setup { skews, ..setup(1, Profile::Calm) };
    holds(setup, vec![(5_000, asks(0, 0)), (35_000, asks(0, 2)), (40_000, asks(0, 2))]);
}

#[test]
fn a_copy_past_its_time_ends_no_session_that_is_in_use() {
    let killed = Op::InFlight { replica: 0, after: 596, then: Then::Kill(10_456) };
    let events = vec![(213_016, asks(1, 0)), (438_911, killed), (616_640, lost(1, 0)), (872_996, lost(0, 0))];
    let setup = Setup { life: 300, ..setup(20, Profile::Kills) };
    mutation::set(Some(Mutation::StaleCopyEnds));
    let broken = run(&Plan { setup: setup.clone(), events: events.clone() }).broken;
    mutation::set(None);
    assert!(broken.is_some_and(|how| how.starts_with("R6")));
    holds(setup, events);
}

#[test]
fn a_kept_successor_is_good_though_its_lease_ran_out() {
    for seed in 0..40 {
        let setup = Setup { after_unknown: AfterUnknown::Login, ..setup(seed, Profile::Storm) };
        let lossy = Op::Store(Some(StoreFault::Lossy(40)));
        holds(setup, vec![(1_000, asks(0, 1)), (11_000, lossy), (12_000, lost(0, 2)), (70_000, lost(1, 0))]);
    }
}

#[test]
fn a_logout_while_a_flight_waits_for_its_lease_revokes_the_token() {
    let killed = Op::InFlight { replica: 0, after: 24, then: Then::Kill(15_641) };
    let logout = Op::Logout { browser: 0, replica: 1, fate: Fate::Arrives(64) };
    let events = vec![
        (1_000, asks(0, 1)),
        (8_000, killed),
        (14_000, asks(0, 0)),
        (14_040, lost(0, 1)),
        (17_000, logout),
    ];
    holds(setup(16, Profile::Kills), events);
}

#[test]
fn a_lease_that_could_not_be_given_back_ends_nothing() {
    let weather = super::plan::Weather { unreachable: 100, ..super::plan::Weather::default() };
    for seed in 0..20 {
        let mut events = vec![(1_000, asks(0, 0)), (11_000, Op::Weather(weather))];
        for at in 0..8 {
            let began = 13_000 + at * 30_000;
            events.push((began - 50, lost(0, usize::try_from(at % 3).unwrap())));
            events.push((began + 60, Op::Store(Some(StoreFault::Cut(u32::MAX)))));
            events.push((began + 5_000, Op::Store(None)));
        }
        holds(setup(seed, Profile::Store), events);
    }
}

#[test]
fn a_claim_from_before_a_stop_is_no_lease_that_ran_out() {
    for seed in 0..30 {
        let setup = Setup { after_unknown: AfterUnknown::Login, ..setup(seed, Profile::Stops) };
        let still = Still { length: 20_000, noticed: 0 };
        let events = vec![
            (1_000, asks(0, 0)),
            (2_000, asks(0, 1)),
            (26_000, Op::StopInLook { replica: 0, after: 1, still }),
            (27_000, asks(0, 0)),
            (47_002 + seed, asks(0, 1)),
        ];
        holds(setup, events);
    }
}

#[test]
fn who_waited_through_a_stop_is_not_served_before_ends_are_heard_of() {
    for seed in [105, 134, 139, 140, 155, 229, 232, 274] {
        let still = Still { length: 20_000, noticed: 0 };
        let stopped = Op::InFlight { replica: 0, after: seed * 5 % 200, then: Then::Stop(still) };
        let logout = Op::Logout { browser: 0, replica: 1, fate: Fate::Arrives(64) };
        let events = vec![
            (1_000, asks(0, 0)),
            (2_000, asks(0, 1)),
            (50_000, stopped),
            (51_000, asks(0, 0)),
            (56_000, logout),
            (80_000, asks(1, 0)),
        ];
        holds(Setup { life: 45, ..setup(seed, Profile::Stops) }, events);
    }
}

#[test]
fn a_clock_is_put_right_by_an_answer_that_took_long() {
    let skews = vec![21_057, -5_700, 0, 0, 0, 0, 0, 0];
    let setup = Setup { replicas: 2, browsers: 4, keeps: 100, skews, ..setup(18, Profile::Stops) };
    let login = Op::Login { browser: 2, replica: 0, fate: Fate::Arrives(50) };
    holds(setup, vec![(5_574, login), (27_154, asks(2, 1))]);
}

//! Whether the simulation would notice: each rule is broken, one at a time.

use std::fmt::Write as _;

use super::plan::{Plan, Profile};
use super::run::run;
use super::{SEEDS, asked};
use crate::session::mutation::{self, Mutation};

/// The faults with which a broken rule shows soonest.
fn home(mutation: Mutation) -> Profile {
    use Mutation as M;
    match mutation {
        M::LeaseForEverybody
        | M::FlightForEachRequest
        | M::SpendsTheOld
        | M::FlightOfTheClient
        | M::KeptHereOnly
        | M::SuccessorIgnored
        | M::CookieOfTheTicket
        | M::FlightUndoesEnd
        | M::LateTokenLives
        | M::EndKeptToItself
        | M::AdoptsTheDenied
        | M::LogWithGaps
        | M::RefreshTokenForgotten
        | M::RefreshForAnybody
        | M::StoreOnTheWay
        | M::DrainLeavesFlights
        | M::AcknowledgementLost
        | M::OwnClock => Profile::Calm,
        M::LostLeaseIsFree | M::KeptAfterUse | M::StaleCopyEnds => Profile::Kills,
        M::UnknownIsForgotten | M::SilenceEnds => Profile::Provider,
        M::LogLeftBehind | M::RefusalIsFinal | M::CatchUpOverwrites | M::NothingIsBrought => Profile::Store,
        M::LearnsBackwards | M::LateResultWins => Profile::Stops,
    }
}

/// Runs seeds with one rule broken until a run fails: how many runs it took, and what was said.
fn noticed(mutation: Mutation, seeds: u64) -> Option<(u64, String)> {
    (1..=seeds).find_map(|seed| {
        let plan = Plan::new(seed, home(mutation));
        mutation::set(Some(mutation));
        let broken = run(&plan).broken;
        mutation::set(None);
        Some((seed, broken?))
    })
}

#[test]
fn a_rule_that_is_broken_is_noticed() {
    let seeds = asked("SEEDS").unwrap_or(2 * SEEDS);
    let (mut table, mut missed) = (String::new(), Vec::new());
    #[expect(clippy::disallowed_methods, reason = "a mutation for a run by hand")]
    let only = std::env::var("MUTATION").ok();
    let sought = |mutation| only.as_ref().is_none_or(|only| *only == format!("{mutation:?}"));
    for &(rule, mutation) in mutation::ALL.iter().filter(|(_, mutation)| sought(*mutation)) {
        let (name, profile) = (format!("{mutation:?}"), home(mutation));
        match noticed(mutation, seeds) {
            Some((runs, how)) => {
                let said = how.split(':').next().unwrap_or_default();
                writeln!(table, "| {rule} | `{name}` | {profile:?} | {runs} | {said} |").unwrap();
            }
            None => {
                writeln!(table, "| {rule} | `{name}` | {profile:?} | not in {seeds} | |").unwrap();
                missed.push(name);
            }
        }
    }
    println!("| rule | mutation | profile | seeds | invariant |\n|---|---|---|---|---|\n{table}");
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

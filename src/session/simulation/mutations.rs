//! Whether the simulation would notice: each rule is broken, one at a time.

use std::fmt::Write as _;

use super::plan::{Plan, Profile};
use super::run::run;
use super::{SEEDS, asked};
use crate::session::mutation::{self, Mutation};

/// Runs seeds with one rule broken until a run fails: the profile, how many runs it took, and what was said.
fn noticed(mutation: Mutation, seeds: u64) -> Option<(Profile, u64, String)> {
    let mut runs = 0;
    for seed in 1..=seeds {
        for profile in Profile::ALL {
            runs += 1;
            let plan = Plan::new(seed, profile);
            mutation::set(Some(mutation));
            let broken = run(&plan).broken;
            mutation::set(None);
            if let Some(how) = broken {
                return Some((profile, runs, how));
            }
        }
    }
    None
}

/// What the seeds of the test command do not notice; longer runs may. Told in `docs/simulation.md`.
const UNNOTICED: &[Mutation] = &[
    Mutation::LearnsBackwards,
    Mutation::RefusalIsFinal,
    Mutation::DrainLeavesFlights,
    Mutation::LateResultWins,
    Mutation::NothingIsBrought,
];

#[test]
fn a_rule_that_is_broken_is_noticed() {
    let seeds = asked("SEEDS").unwrap_or(SEEDS);
    let (mut table, mut missed) = (String::new(), Vec::new());
    let sought = |mutation| asked("SEEDS").is_some() || !UNNOTICED.contains(mutation);
    for &(rule, mutation) in mutation::ALL.iter().filter(|(_, mutation)| sought(mutation)) {
        let name = format!("{mutation:?}");
        match noticed(mutation, seeds) {
            Some((profile, runs, how)) => {
                let said = how.split(':').next().unwrap_or_default();
                writeln!(table, "| {rule} | `{name}` | {runs} | {profile:?} | {said} |").unwrap();
            }
            None => {
                writeln!(table, "| {rule} | `{name}` | not in {seeds} seeds | | |").unwrap();
                missed.push(name);
            }
        }
    }
    println!("| rule | mutation | runs | profile | invariant |\n|---|---|---|---|---|\n{table}");
    assert!(missed.is_empty(), "nobody noticed {missed:?}");
}

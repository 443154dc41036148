//! The protocol from a seed, in search of the history that loses a session.
//!
//! Replicas, browsers, a strict provider and a store.
//!
//! The code under test is the real one: sealed cookies, registry, flights, leases, the tasks that follow the store.
//! Only its edges are simulated, and time. `docs/simulation.md` says what is, what is not, and how a seed is run
//! again.

mod answers;
mod checks;
mod ledger;
mod line;
mod mutations;
mod plan;
mod provider;
mod reproductions;
mod run;
mod sights;
mod store;
mod world;

use plan::{Plan, Profile};
use run::run;

/// How many seeds each profile gets where nobody asks for more.
const SEEDS: u64 = 20;

#[expect(clippy::disallowed_methods, reason = "a number for a run by hand")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Makes a failing plan as short as it still fails, for the same rule.
fn shrunk(plan: &Plan, rule: &str) -> Plan {
    let fails = |plan: &Plan| run(plan).broken.is_some_and(|how| how.starts_with(rule));
    let mut best = plan.clone();
    let mut piece = best.events.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < best.events.len() {
            let mut shorter = best.clone();
            let end = (at + piece).min(shorter.events.len());
            shorter.events.drain(at..end);
            if fails(&shorter) {
                best = shorter;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    best
}

/// The story of a failure.
fn told(plan: &Plan, rule: &str) -> String {
    let short = shrunk(plan, rule);
    let report = run(&short);
    let mut lines = vec![
        format!("{:#?}", short.setup),
        format!("{} of {} events:", short.events.len(), plan.events.len()),
    ];
    lines.extend(short.events.iter().map(|(at, op)| format!("    ({at}, Op::{op:?}),")));
    lines.push("what happened:".to_owned());
    // Other sessions than the one that it is about do not matter.
    let grants = |text: &str| text.split("grant ").nth(1)?.split([' ', ':']).next().map(str::to_owned);
    let about = report.broken.as_deref().and_then(grants);
    let matters = |text: &str| about.is_none() || grants(text).is_none_or(|grant| Some(grant) == about);
    let told = report.trace.iter().filter(|(_, what)| matters(what)).take(200);
    lines.extend(told.map(|(at, what)| format!("    {at:>7} {what}")));
    lines.push(format!(
        "again: SEED={} PROFILE={:?} cargo test --lib simulation::seeds -- --nocapture",
        plan.setup.seed, plan.setup.profile
    ));
    lines.join("\n")
}

#[test]
fn seeds() {
    #[expect(clippy::disallowed_methods, reason = "a profile for a run by hand")]
    let only = std::env::var("PROFILE").ok();
    let seeds = match asked("SEED") {
        Some(seed) => seed..seed + 1,
        None => 1..asked("SEEDS").unwrap_or(SEEDS) + 1,
    };
    let mut failures = Vec::new();
    for profile in Profile::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{profile:?}")) {
            continue;
        }
        let (mut steps, mut counts) = (0, std::collections::BTreeMap::new());
        for seed in seeds.clone() {
            let plan = Plan::new(seed, profile);
            let report = run(&plan);
            steps += report.trace.len();
            for (what, number) in report.counts {
                *counts.entry(what).or_insert(0) += number;
            }
            if let Some(how) = report.broken {
                println!("{profile:?} {seed}: {how}");
                failures.push((plan, how));
            }
        }
        println!("{profile:?}: {steps} steps, {counts:?}");
    }
    let Some((plan, how)) = failures.first() else { return };
    let rule = how.split(':').next().unwrap();
    panic!("{} runs broke a rule; the first: {how}\n{}", failures.len(), told(plan, rule));
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    // Who waits for a flight is woken in an order that tokio throws; after a stop it may matter who is first.
    let told = Profile::ALL.into_iter().filter(|profile| !profile.stops());
    for (profile, seed) in told.flat_map(|profile| [(profile, 7), (profile, 24)]) {
        let plan = Plan::new(seed, profile);
        let (first, second) = (run(&plan), run(&plan));
        assert_eq!(first.broken, second.broken);
        for (first, second) in first.trace.iter().zip(&second.trace) {
            assert_eq!(first, second, "{profile:?}");
        }
        assert_eq!(first.trace.len(), second.trace.len(), "{profile:?}");
    }
}

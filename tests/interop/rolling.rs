//! A rolling restart under load: every replica is replaced, and nobody notices.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::support::browser::Browser;
use crate::support::fleet::Fleet;
use crate::support::redis::Persistence;
use crate::support::{Setup, http, signed_in};

/// A balancer: it knows which replicas are ready, and tries another where a connection is refused.
struct Balancer {
    replicas: Vec<(u16, String, AtomicBool)>,
    turn: AtomicUsize,
}

impl Balancer {
    fn before(fleet: &Fleet) -> Arc<Self> {
        let replica = |gateway: &crate::support::gateway::Gateway| {
            (gateway.port, gateway.readiness(), AtomicBool::new(true))
        };
        Arc::new(Self { replicas: fleet.replicas.iter().map(replica).collect(), turn: AtomicUsize::new(0) })
    }

    /// Asks for readiness five times a second.
    async fn watch(self: Arc<Self>) {
        loop {
            for (_, readiness, ready) in &self.replicas {
                let answer = http::get(readiness).await;
                ready.store(answer.is_ok_and(|answer| answer.status == 200), Ordering::Relaxed);
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn fetch(&self, browser: &Browser) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..self.replicas.len() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let ready: Vec<u16> = self
                .replicas
                .iter()
                .filter(|(.., ready)| ready.load(Ordering::Relaxed))
                .map(|r| r.0)
                .collect();
            let Some(port) = ready.get(turn % ready.len().max(1)) else {
                return Err("no replica".to_owned());
            };
            match browser.through(*port).try_fetch("/api/whoami").await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => return Err(answer.text()),
                // Nothing was sent.
                Err(error) if error.contains("refused") => why = error,
                Err(error) => return Err(error),
            }
        }
        Err(why)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_restarted_one_after_the_other_and_no_request_fails() {
    // `ROLLING=200x500`: so many sessions, so many requests a second.
    let wanted = std::env::var("ROLLING").unwrap_or_else(|_| "30x60".to_owned());
    let (sessions, rate) = wanted.split_once('x').expect("sessions x rate");
    let (sessions, rate): (usize, u64) = (sessions.parse().unwrap(), rate.parse().unwrap());
    let more = "drain: { accept: 2s, limit: 10s }";
    let setup = Setup { token_life: 5, delay: (100, 400), provider: "", more: "" };
    let Some(mut fleet) = Fleet::start(2, Persistence::Nothing, Setup { more, ..setup }).await else {
        return;
    };
    let url = fleet.replicas[0].url.clone();
    let browsers = join_all((0..sessions).map(|_| signed_in(&url, "alice"))).await;
    let balancer = Balancer::before(&fleet);
    let watch = tokio::spawn(Arc::clone(&balancer).watch());
    let failures = Arc::new(Mutex::new(Vec::new()));
    let sent = Arc::new(AtomicUsize::new(0));
    let load = {
        let (balancer, browsers) = (Arc::clone(&balancer), browsers.clone());
        let (failures, sent) = (Arc::clone(&failures), Arc::clone(&sent));
        tokio::spawn(async move {
            let mut tick = interval(Duration::from_micros(1_000_000 / rate));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut requests = JoinSet::new();
            loop {
                tick.tick().await;
                let number = sent.fetch_add(1, Ordering::Relaxed);
                let (balancer, browser) = (Arc::clone(&balancer), browsers[number % browsers.len()].clone());
                let failures = Arc::clone(&failures);
                requests.spawn(async move {
                    if let Err(why) = balancer.fetch(&browser).await {
                        failures.lock().unwrap().push(why);
                    }
                });
                while requests.try_join_next().is_some() {}
            }
        })
    };
    let begun = Instant::now();
    sleep(Duration::from_secs(3)).await;
    for number in 0..2 {
        fleet.replicas[number].terminate().await;
        fleet.replicas[number].start_again().await;
        sleep(Duration::from_secs(3)).await;
    }
    load.abort();
    watch.abort();
    let failures = failures.lock().unwrap().clone();
    let sent = sent.load(Ordering::Relaxed);
    assert!(failures.is_empty(), "{} of {sent} failed: {:?}", failures.len(), failures.first());
    let seconds = begun.elapsed().as_secs_f64();
    println!("{sent} requests of {sessions} sessions in {seconds:.1} s");
    assert!(sent > 100, "{sent}");
    let seen = fleet.provider.seen().await;
    assert_eq!(seen.spent_twice(), [""; 0]);
    assert!(seen.grants.iter().all(|grant| grant.alive), "a grant was revoked");
    assert_eq!(seen.grants.len(), sessions, "somebody had to log in again");
    assert!(seen.refreshed("ok") > sessions, "every session was refreshed");
    assert_eq!(fleet.upstream.violations(), [""; 0]);
    for browser in &browsers {
        assert_eq!(browser.deletions(), [""; 0]);
    }
}

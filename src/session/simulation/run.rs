//! Runs a plan: its events in their time, then quiet, then what must hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::plan::{Kind, Op, Plan, Weather};
use super::world::{Replica, World};
use crate::session::refresh::record::{Ask, EndCause};
use crate::session::sessions::Selected;
use crate::session::settings::AfterUnknown;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    /// The rule that was broken, and how.
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<(u64, String)>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// What a run does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Kill(usize, u64),
    Start(usize),
}

struct Run {
    world: Arc<World>,
    begun: Instant,
    replicas: Vec<Option<Replica>>,
    lives: u64,
    later: BTreeMap<(u64, u64), Later>,
    numbered: u64,
    dooms: mpsc::UnboundedReceiver<(usize, u64)>,
    away: BTreeMap<usize, u64>,
}

/// Runs `plan` to its end, or to the first rule that is broken.
pub(super) fn run(plan: &Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let around = crate::base::secret::seeded::replace(Some(plan.setup.seed));
    let report = runtime.unwrap().block_on(async {
        let world = Arc::new(World::new(&plan.setup));
        let dooms = world.provider.dooms();
        let mut run = Run {
            replicas: vec![None; plan.setup.replicas],
            world,
            begun: Instant::now(),
            lives: 0,
            later: BTreeMap::new(),
            numbered: 0,
            dooms,
            away: BTreeMap::new(),
        };
        for replica in 0..plan.setup.replicas {
            run.start(replica);
        }
        for (at, op) in &plan.events {
            run.until(*at).await;
            if run.world.ledger.verdict().is_some() {
                break;
            }
            run.happen(*op);
        }
        if run.world.ledger.verdict().is_none() {
            run.quiet().await;
        }
        let ledger = &run.world.ledger;
        Report { broken: ledger.verdict(), trace: ledger.trace(), counts: ledger.counts() }
    });
    crate::base::secret::seeded::replace(around);
    report
}

impl Run {
    fn start(&mut self, replica: usize) {
        self.lives += 1;
        self.replicas[replica] = Some(self.world.start(replica, self.lives));
    }

    fn plan(&mut self, at: u64, later: Later) {
        self.numbered += 1;
        self.later.insert((at, self.numbered), later);
    }

    /// Lets everything happen until `at`.
    async fn until(&mut self, at: u64) {
        loop {
            let next = self.later.first_key_value().map_or(at, |((when, _), _)| (*when).min(at));
            // Cancel safety: receiving from a channel and waiting for a time lose nothing.
            tokio::select! {
                biased;
                Some((replica, when)) = self.dooms.recv() => {
                    let away = self.away.remove(&replica).unwrap_or(1_000);
                    self.plan(when, Later::Kill(replica, away));
                    continue;
                }
                () = sleep_until(self.begun + Duration::from_millis(next)) => {}
            }
            while let Some(entry) = self.later.first_entry()
                && entry.key().0 <= next
            {
                match entry.remove() {
                    Later::Kill(replica, away) => self.kill(replica, away),
                    Later::Start(replica) => self.start(replica),
                }
            }
            if next == at {
                return;
            }
        }
    }

    fn kill(&mut self, replica: usize, away: u64) {
        let Some(killed) = self.replicas[replica].take() else { return };
        if self.world.ledger.setup.after_unknown == AfterUnknown::Login {
            // Nobody can tell whether the token had been sent, and with this policy it is not sent again.
            for sid in killed.sessions.shared().registry.flying() {
                if let Some(case) = self.world.ledger.case(&sid) {
                    self.world.ledger.excuse(case.grant, "killed with a lease");
                }
            }
        }
        killed.kill();
        self.world.ledger.note(format!("replica {replica} is killed"));
        self.world.ledger.gone(replica, 2_000);
        self.world.provider.killed(replica);
        let at = self.world.ledger.now() + away;
        self.plan(at, Later::Start(replica));
    }

    /// The replica that a balancer sends a request to.
    fn ready(&self, replica: usize) -> Option<&Replica> {
        let (before, after) = self.replicas.split_at(replica);
        after.iter().chain(before).flatten().find(|replica| replica.is_ready())
    }

    fn happen(&mut self, op: Op) {
        let world = Arc::clone(&self.world);
        let ledger = &world.ledger;
        match op {
            Op::Request { browser, replica, ask, kind, fate, upstream } => {
                let Some(replica) = self.ready(replica).cloned() else { return };
                let state = world.browsers()[browser].clone();
                if state.cookies.is_empty() || state.must_login {
                    world.browsers()[browser].must_login = false;
                    let work = Arc::clone(&world).log_in(replica.clone(), browser, state.cookies);
                    return world.send(&replica, browser, fate, work);
                }
                ledger.note(format!("browser {browser} asks replica {}: {ask:?}", replica.number));
                let work = Arc::clone(&world).answer(replica.clone(), (state.cookies, ask, kind), upstream);
                world.send(&replica, browser, fate, work);
            }
            Op::Login { browser, replica, fate } => {
                let Some(replica) = self.ready(replica) else { return };
                let cookies = world.browsers()[browser].cookies.clone();
                world.send(
                    replica,
                    browser,
                    fate,
                    Arc::clone(&world).log_in(replica.clone(), browser, cookies),
                );
            }
            Op::Logout { browser, replica, fate } => {
                let Some(replica) = self.ready(replica) else { return };
                let cookies = world.browsers()[browser].cookies.clone();
                world.send(replica, browser, fate, Arc::clone(&world).log_out(replica.clone(), cookies));
            }
            Op::Copy { from, to } => {
                let mut browsers = world.browsers();
                browsers[to] = browsers[from].clone();
                ledger.note(format!("browser {to} has the cookies of browser {from}"));
            }
            Op::Operator { browser, replica } => self.operate(browser, replica),
            Op::Kill { replica, away } => self.kill(replica, away),
            Op::KillInFlight { replica, after, away } => {
                self.away.insert(replica, away);
                world.provider.doom(replica, after);
            }
            Op::Drain { replica } => self.drain(replica),
            Op::Clock { replica, by } => {
                if let Some(replica) = &self.replicas[replica] {
                    replica.clock.ahead.fetch_add(by, Ordering::Relaxed);
                }
            }
            Op::Weather(weather) => {
                ledger.note(format!("{weather:?}"));
                world.provider.set_weather(weather);
            }
            Op::Store(fault) => {
                ledger.note(format!("the store: {fault:?}"));
                world.store.fail(fault);
            }
            Op::Forget => {
                ledger.note("the store forgets".to_owned());
                world.store.forget();
            }
        }
    }

    fn operate(&self, browser: Option<usize>, replica: usize) {
        let Some(replica) = self.ready(replica).cloned() else { return };
        let (world, user) = (Arc::clone(&self.world), browser.map(|browser| browser % 3));
        let selected = user.map_or(Selected::Everyone, |user| Selected::Subject(format!("user-{user}")));
        world.ledger.note(format!("an operator ends {selected:?} at replica {}", replica.number));
        let tasks = replica.tasks.clone();
        drop(tasks.spawn_endless(async move {
            loop {
                let now = world.ledger.now();
                for (sid, case) in world.ledger.cases() {
                    if user.is_some_and(|user| user != case.user) {
                        continue;
                    }
                    if case.is_older_than(now.saturating_sub(1_000)) {
                        world.ledger.ended(&sid, replica.number, EndCause::Operator);
                    } else {
                        world.ledger.excuse(case.grant, "an operator, in the moment of the login");
                    }
                }
                if replica.sessions.end_selected(&selected).await.is_ok() {
                    return;
                }
                sleep(Duration::from_secs(1)).await;
            }
        }));
    }

    /// As a process does on SIGTERM: requests finish, flights finish, a new one takes over.
    fn drain(&mut self, number: usize) {
        let Some(replica) = self.replicas[number].take_if(|replica| replica.is_ready()) else { return };
        self.world.ledger.note(format!("replica {number} drains"));
        replica.draining.store(true, Ordering::Relaxed);
        replica.sessions.drain();
        let world = Arc::clone(&self.world);
        // The next process does not wait for the last one to be gone.
        let at = world.ledger.now() + 500;
        self.plan(at, Later::Start(number));
        drop(self.world.wires.spawn_endless(async move {
            replica.edge.finish(Duration::from_secs(12)).await;
            if !replica.sessions.finish(Duration::from_secs(30)).await {
                world.ledger.broken("R10", &format!("replica {number} does not come to rest"));
            }
            world.ledger.note(format!("replica {number} is at rest"));
            if replica.tasks.in_flight() > 0 {
                world.ledger.broken("R10", &format!("replica {number} rests with work under way"));
            }
            // What it could not tell the store dies with it.
            world.ledger.gone(number, if world.store.fails() { u64::MAX } else { 0 });
            replica.kill();
        }));
    }

    /// All faults are over: nobody is stuck, browsers have the newest, what was ended stays ended.
    async fn quiet(&mut self) {
        let world = Arc::clone(&self.world);
        world.provider.set_weather(Weather::default());
        world.provider.spare();
        world.store.fail(None);
        world.ledger.note("quiet".to_owned());
        let calm_at = world.ledger.now() + 60_000;
        self.until(calm_at).await;
        world.ledger.settled();
        for browser in 0..world.ledger.setup.browsers {
            for number in 0..self.replicas.len() {
                self.works(browser, number).await;
            }
        }
        let copies = world.copies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (sid, case) in world.ledger.cases() {
            if case.ended.is_none() {
                continue;
            }
            if let Some(cookies) = copies.get(sid.as_bytes()) {
                for replica in self.replicas.iter().flatten() {
                    let asked = (cookies.clone(), Ask::Usual, Kind::Page);
                    drop(replica.edge.spawn(Arc::clone(&world).answer(replica.clone(), asked, 0)).await);
                }
            }
            let next = world.ledger.now() + 1_000;
            self.until(next).await;
            let has_copy = usize::from(copies.contains_key(sid.as_bytes()));
            world.ledger.revoked(&case, world.provider.dead(case.grant), has_copy);
        }
    }

    /// Rules I3 and I6: a reload works, or leads to the login and works then.
    async fn works(&mut self, browser: usize, number: usize) {
        let world = Arc::clone(&self.world);
        let mut good = 0;
        for _ in 0..12 {
            let Some(replica) = self.ready(number).cloned() else { continue };
            let state = world.browsers()[browser].clone();
            let login = state.cookies.is_empty() || state.must_login;
            let task = if login {
                world.browsers()[browser].must_login = false;
                replica.edge.spawn(Arc::clone(&world).log_in(replica.clone(), browser, state.cookies))
            } else {
                let asked = (state.cookies, Ask::Usual, Kind::Page);
                replica.edge.spawn(Arc::clone(&world).answer(replica.clone(), asked, 0))
            };
            let Ok(response) = task.await else { continue };
            let newest = |world: &World| {
                let (sid, generation) = world.read(&world.browsers()[browser].cookies)?;
                let newest = replica.sessions.shared().registry.newest(&sid)?.generation;
                Some((generation, newest))
            };
            let newest_before = newest(&world);
            world.arrive(browser, &response);
            good = if response.status == 200 { good + 1 } else { 0 };
            if good == 3 {
                if let (Some((_, newest_then)), Some((has, _))) = (newest_before, newest(&world))
                    && has < newest_then
                {
                    world.ledger.broken("I3", &format!("browser {browser} has {has}, not {newest_then}"));
                }
                return;
            }
            let next = world.ledger.now() + 2_500;
            self.until(next).await;
        }
        world.ledger.broken("I6", &format!("browser {browser} is stuck at replica {number}"));
    }
}

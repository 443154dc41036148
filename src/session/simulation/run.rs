//! Runs a plan: its events in their time, then quiet, then what must hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::ledger::LOSES_LEASE;
use super::plan::{Dice, Fate, Kind, Op, Plan, Still, Then, Weather};
use super::provider::Doom;
use super::store::Look;
use super::world::{Cookies, Replica, World};
use crate::session::refresh::record::{Ask, EndCause};
use crate::session::sessions::Selected;

/// What came of a run.
#[derive(Debug)]
pub(super) struct Report {
    /// The rule that was broken, and how.
    pub(super) broken: Option<String>,
    pub(super) trace: Vec<(u64, String)>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

/// What a run does by itself.
#[derive(Debug, Clone)]
enum Later {
    Kill(usize, u64),
    Drain(usize),
    Logout(u64, usize),
    Start(usize),
    Stop(usize, Still),
    /// This process goes on.
    GoOn(usize),
    /// What this process had sent has arrived: its leases run out.
    Lapse(Replica, &'static str),
}

struct Run {
    world: Arc<World>,
    begun: Instant,
    replicas: Vec<Option<Replica>>,
    lives: usize,
    later: BTreeMap<(u64, u64), Later>,
    numbered: u64,
    dooms: mpsc::UnboundedReceiver<Doom>,
    /// What happens to each replica's next token request.
    then: BTreeMap<usize, Then>,
    looks: mpsc::UnboundedReceiver<Look>,
    /// Who stands still in the next look at the store.
    in_look: BTreeMap<usize, Still>,
    backups: BTreeMap<usize, Cookies>,
}

/// Runs `plan` to its end, or to the first rule that is broken.
pub(super) fn run(plan: &Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let around = crate::base::secret::seeded::replace(Some(plan.setup.seed));
    let report = runtime.unwrap().block_on(async {
        let world = Arc::new(World::new(&plan.setup));
        let (dooms, looks) = (world.provider.dooms(), world.store.looks());
        let mut run = Run {
            replicas: vec![None; plan.setup.replicas],
            world,
            begun: Instant::now(),
            lives: 0,
            later: BTreeMap::new(),
            numbered: 0,
            dooms,
            then: BTreeMap::new(),
            looks,
            in_look: BTreeMap::new(),
            backups: BTreeMap::new(),
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
        let process = self.world.start(replica, self.lives);
        self.world.serves(replica, Some(&process));
        self.replicas[replica] = Some(process);
    }

    fn plan(&mut self, at: u64, later: Later) {
        self.numbered += 1;
        self.later.insert((at, self.numbered), later);
    }

    /// Lets everything happen up to a moment.
    async fn until(&mut self, until: u64) {
        loop {
            let next = self.later.first_key_value().map_or(until, |((when, _), _)| (*when).min(until));
            // Cancel safety: receiving from a channel and waiting for a time lose nothing.
            tokio::select! {
                biased;
                Some(Doom { replica, grant, at }) = self.dooms.recv() => {
                    let later = match self.then.remove(&replica) {
                        Some(Then::Kill(away)) => Later::Kill(replica, away),
                        Some(Then::Drain) | None => Later::Drain(replica),
                        Some(Then::Logout(elsewhere)) => Later::Logout(grant, elsewhere),
                        Some(Then::Stop(still)) => Later::Stop(replica, still),
                    };
                    self.plan(at, later);
                    continue;
                }
                Some(Look { replica, at }) = self.looks.recv() => {
                    if let Some(still) = self.in_look.remove(&replica) {
                        self.plan(at, Later::Stop(replica, still));
                    }
                    continue;
                }
                () = sleep_until(self.begun + Duration::from_millis(next)) => {}
            }
            while let Some(entry) = self.later.first_entry()
                && entry.key().0 <= next
            {
                match entry.remove() {
                    Later::Kill(replica, away) => self.kill(replica, away),
                    Later::Drain(replica) => self.drain(replica),
                    Later::Logout(grant, replica) => self.log_out(grant, replica),
                    Later::Start(replica) => self.start(replica),
                    Later::Stop(replica, still) => self.stop(replica, still),
                    Later::GoOn(number) => self.go_on(number),
                    Later::Lapse(replica, why) => self.world.lapse(&replica, why),
                }
            }
            if next == until {
                return;
            }
        }
    }

    fn kill(&mut self, replica: usize, away: u64) {
        let Some(killed) = self.replicas[replica].take() else { return };
        self.world.may_hold_leases(&killed, "killed with a lease");
        killed.kill();
        self.world.serves(replica, None);
        self.world.ledger.note(format!("replica {} is killed", killed.number));
        self.world.ledger.gone(killed.number, 2_000);
        self.world.provider.killed(killed.number);
        self.plan(self.world.ledger.now() + ON_THE_WAY, Later::Lapse(killed, "killed with a lease"));
        let at = self.world.ledger.now() + away;
        self.plan(at, Later::Start(replica));
    }

    /// The replica that a balancer sends a request to.
    fn ready(&self, replica: usize) -> Option<&Replica> {
        let (before, after) = self.replicas.split_at(replica);
        let shunned = |replica: &&Replica| replica.shunned.load(Ordering::Relaxed) <= self.world.ledger.now();
        after.iter().chain(before).flatten().find(|replica| replica.is_ready() && !shunned(replica))
    }

    /// A browser asks; where it was sent to the login, it goes there.
    fn request(&self, browser: usize, replica: usize, (ask, kind, upstream): (Ask, Kind, u64), fate: Fate) {
        let world = Arc::clone(&self.world);
        let ledger = &world.ledger;
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

    fn happen(&mut self, op: Op) {
        let world = Arc::clone(&self.world);
        let ledger = &world.ledger;
        match op {
            Op::Request { browser, replica, ask, kind, fate, upstream } => {
                self.request(browser, replica, (ask, kind, upstream), fate);
            }
            Op::Login { browser, replica, fate } => {
                let Some(replica) = self.ready(replica) else { return };
                let cookies = world.browsers()[browser].cookies.clone();
                let work = Arc::clone(&world).log_in(replica.clone(), browser, cookies);
                world.send(replica, browser, fate, work);
            }
            Op::Logout { browser, replica, fate } => {
                let Some(replica) = self.ready(replica) else { return };
                let cookies = world.browsers()[browser].cookies.clone();
                world.send(replica, browser, fate, Arc::clone(&world).log_out(replica.clone(), cookies));
            }
            Op::Backup { browser } => {
                let cookies = world.browsers()[browser].cookies.clone();
                self.backups.insert(browser, cookies);
            }
            Op::Restore { browser } => {
                if let Some(cookies) = self.backups.remove(&browser) {
                    world.browsers()[browser].cookies = cookies;
                    ledger.note(format!("browser {browser} has its old cookies again"));
                }
            }
            Op::Copy { from, to } => {
                let mut browsers = world.browsers();
                browsers[to] = browsers[from].clone();
                ledger.note(format!("browser {to} has the cookies of browser {from}"));
            }
            Op::Operator { browser, replica } => self.operate(browser, replica),
            Op::Kill { replica, away } => self.kill(replica, away),
            Op::InFlight { replica, after, then } => {
                self.then.insert(replica, then);
                world.provider.doom(replica, after);
            }
            Op::Stop { replica, still } => self.stop(replica, still),
            Op::StopInLook { replica, after, still } => self.stop_in_look(replica, after, still),
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

    /// A process stands still; what is under way to it and from it is not.
    fn stop(&mut self, place: usize, still: Still) {
        let Some(replica) = self.replicas[place].clone().filter(|replica| !replica.is_still()) else {
            return;
        };
        let ledger = &self.world.ledger;
        let until = ledger.now() + still.length;
        ledger.note(format!("replica {} stands still", replica.number));
        ledger.stands(replica.number, until);
        replica.stop(ledger.now() + still.noticed);
        if still.length >= LOSES_LEASE {
            self.plan(ledger.now() + ON_THE_WAY, Later::Lapse(replica.clone(), "stood still with a lease"));
        }
        self.plan(until, Later::GoOn(replica.number));
    }

    fn stop_in_look(&mut self, replica: usize, after: u64, still: Still) {
        self.in_look.insert(replica, still);
        self.world.store.doom(replica, after);
    }

    fn stands_until(&self, place: usize) -> Option<u64> {
        let replica = self.replicas[place].as_ref().filter(|replica| replica.is_still())?;
        self.world.ledger.stands_until(replica.number)
    }

    fn go_on(&self, number: usize) {
        let ledger = &self.world.ledger;
        // One that was killed meanwhile does not.
        let still =
            self.replicas.iter().flatten().find(|replica| replica.number == number && replica.is_still());
        let Some(replica) = still else { return };
        ledger.note(format!("replica {number} goes on"));
        ledger.goes_on(number);
        replica.go_on(Dice::of(ledger.setup.seed, "goes on", ledger.now()).next());
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

    /// Whoever has the session of `grant` logs out.
    fn log_out(&self, grant: u64, replica: usize) {
        let Some(replica) = self.ready(replica) else { return };
        let world = &self.world;
        let browsers = world.browsers().clone();
        let is_its = |cookies| {
            let case = world.read(cookies).and_then(|(sid, _)| world.ledger.case(&sid));
            case.is_some_and(|case| case.grant == grant)
        };
        let Some(browser) = browsers.iter().position(|browser| is_its(&browser.cookies)) else { return };
        let work = Arc::clone(world).log_out(replica.clone(), browsers[browser].cookies.clone());
        world.send(replica, browser, Fate::Arrives(100), work);
    }

    /// As a process does on SIGTERM: requests finish, flights finish, a new one takes over.
    fn drain(&mut self, place: usize) {
        if let Some(until) = self.stands_until(place) {
            // A signal is seen when it goes on.
            return self.plan(until, Later::Drain(place));
        }
        let Some(replica) = self.replicas[place].take_if(|replica| replica.is_ready()) else { return };
        let number = replica.number;
        self.world.ledger.note(format!("replica {number} drains"));
        replica.draining.store(true, Ordering::Relaxed);
        replica.sessions.drain();
        let world = Arc::clone(&self.world);
        // The next process does not wait for the last one to be gone.
        let at = world.ledger.now() + 500;
        self.plan(at, Later::Start(place));
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
        world.store.spare();
        world.store.fail(None);
        self.then.clear();
        self.later.retain(|_, later| !matches!(later, Later::Stop(..)));
        for number in self.replicas.iter().flatten().map(|replica| replica.number).collect::<Vec<_>>() {
            self.go_on(number);
        }
        world.ledger.note("quiet".to_owned());
        let calm_at = world.ledger.now() + 60_000;
        self.until(calm_at).await;
        world.ledger.settled();
        for (sid, case) in world.ledger.cases() {
            for replica in self.replicas.iter().flatten().filter(|_| case.ended.is_none()) {
                world.store_knows(replica, &sid, &case).await;
            }
        }
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

/// Within which what was sent to the store is there.
const ON_THE_WAY: u64 = 25;

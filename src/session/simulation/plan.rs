//! What happens in one run, as data: made from a seed, shortened where it fails.

use crate::base::secret::seeded;
use crate::session::refresh::record::Ask;
use crate::session::settings::{AfterUnknown, Rollback};
use crate::store::settings::{Denials, RefreshAlone};

/// Numbers from a seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Those that belong to `name` and nothing else, so that a run without some of its events has the same others.
    pub(super) fn of(seed: u64, name: &str, number: u64) -> Self {
        let mut state = seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d);
        for byte in name.bytes() {
            state = seeded::next(&mut state) ^ u64::from(byte);
        }
        Self(state)
    }

    pub(super) fn next(&mut self) -> u64 {
        seeded::next(&mut self.0)
    }

    /// From `from` to `to`, both included.
    pub(super) fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }
}

/// Which faults happen, and so what is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Profile {
    /// Responses get lost and come late, clients leave, cookies are copied, replicas are drained, clocks differ.
    Calm,
    /// The same, and replicas are killed.
    Kills,
    /// The same as `Calm`, and the provider fails in every way.
    Provider,
    /// The same as `Calm`, and the store fails in every way but one: it forgets nothing.
    Store,
    /// The same as `Store`, and the store forgets.
    Amnesia,
    /// The same as `Calm`, and replicas stand still for longer than a lease and go on.
    Stops,
    /// Everything but standing still.
    Storm,
}

impl Profile {
    pub(super) const ALL: [Self; 7] =
        [Self::Calm, Self::Kills, Self::Provider, Self::Store, Self::Amnesia, Self::Stops, Self::Storm];

    pub(super) const fn kills(self) -> bool {
        matches!(self, Self::Kills | Self::Storm)
    }

    pub(super) const fn stops(self) -> bool {
        matches!(self, Self::Stops)
    }

    pub(super) const fn provider_fails(self) -> bool {
        matches!(self, Self::Provider | Self::Storm)
    }

    pub(super) const fn store_fails(self) -> bool {
        matches!(self, Self::Store | Self::Amnesia | Self::Storm)
    }

    pub(super) const fn store_forgets(self) -> bool {
        matches!(self, Self::Amnesia | Self::Storm)
    }
}

/// What a provider does with a refresh token that it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// The grant is dead.
    None,
    /// For some seconds it gets what the first use got.
    Same,
    /// For some seconds each use gets tokens of its own.
    Fork,
    /// It is refused, and nothing follows.
    Refuse,
    /// It may be used so often.
    Count(usize),
}

/// What is the same during a run.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) profile: Profile,
    pub(super) replicas: usize,
    pub(super) browsers: usize,
    /// Seconds that an access token lives.
    pub(super) life: u64,
    pub(super) overlap: Overlap,
    /// In how many of a hundred answers the refresh token stays.
    pub(super) keeps: u64,
    pub(super) rollback: Rollback,
    pub(super) after_unknown: AfterUnknown,
    pub(super) alone: RefreshAlone,
    pub(super) denials: Denials,
    /// Milliseconds by which each replica's clock is ahead.
    pub(super) skews: Vec<i64>,
    /// Bytes of padding that make cookies long enough to be split.
    pub(super) padding: usize,
}

/// What becomes of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It arrives after so many milliseconds.
    Arrives(u64),
    /// It does not.
    Lost,
    /// The client leaves after so many milliseconds, and the request is dropped.
    Abandoned(u64),
}

/// What a request is, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A navigation.
    Page,
    /// A script's.
    Script,
}

/// The weather at the provider: chances in a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Weather {
    pub(super) unreachable: u64,
    pub(super) busy: u64,
    pub(super) misconfigured: u64,
    pub(super) lost_before: u64,
    pub(super) lost_after: u64,
    pub(super) slow: u64,
}

/// How the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreFault {
    /// Some replicas cannot reach it: a bit for each.
    Cut(u32),
    /// In so many of a hundred operations no answer comes, whether it happened or not; notes get lost and doubled.
    Lossy(u64),
}

/// A replica stands still: a stopped process, a machine that is moved. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Still {
    pub(super) length: u64,
    /// After so long the balancer sends requests elsewhere.
    pub(super) noticed: u64,
}

/// What happens while a token request is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Its replica is gone, for so many milliseconds.
    Kill(u64),
    /// Its replica is drained.
    Drain,
    /// Its session's user logs out at this replica.
    Logout(usize),
    /// Its replica stands still.
    Stop(Still),
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// A browser logs in.
    Login { browser: usize, replica: usize, fate: Fate },
    /// A browser asks.
    Request { browser: usize, replica: usize, ask: Ask, kind: Kind, fate: Fate, upstream: u64 },
    /// A browser logs out.
    Logout { browser: usize, replica: usize, fate: Fate },
    /// A browser's cookies are put aside.
    Backup { browser: usize },
    /// They come back.
    Restore { browser: usize },
    /// Somebody takes over a browser's cookies.
    Copy { from: usize, to: usize },
    /// An operator ends the sessions of a browser's user, or all.
    Operator { browser: Option<usize>, replica: usize },
    /// A replica is gone, for so many milliseconds.
    Kill { replica: usize, away: u64 },
    /// A replica is drained, and started anew.
    Drain { replica: usize },
    /// Something happens so many milliseconds after a replica's next token request has reached the provider.
    InFlight { replica: usize, after: u64, then: Then },
    /// A replica stands still, and goes on with what it had in hand.
    Stop { replica: usize, still: Still },
    /// The same, so many milliseconds after a replica has asked the store for something of a session.
    StopInLook { replica: usize, after: u64, still: Still },
    /// A replica's clock is moved by milliseconds.
    Clock { replica: usize, by: i64 },
    /// The provider's weather changes.
    Weather(Weather),
    /// The store fails from now on, or no more.
    Store(Option<StoreFault>),
    /// The store forgets everything.
    Forget,
}

/// A run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) setup: Setup,
    /// What happens when, in milliseconds, ascending.
    pub(super) events: Vec<(u64, Op)>,
}

/// How long events go on, in milliseconds.
const LENGTH: u64 = 600_000;

impl Plan {
    /// The run of a seed.
    pub(super) fn new(seed: u64, profile: Profile) -> Self {
        let mut dice = Dice::of(seed, "plan", 0);
        let setup = setup(seed, profile, &mut dice);
        let mut events = Vec::new();
        for browser in 0..setup.browsers {
            visits(&setup, browser, &mut dice, &mut events);
        }
        happenings(&setup, &mut dice, &mut events);
        // A stable sort: events of one moment stay as they were made.
        events.sort_by_key(|(at, _)| *at);
        Self { setup, events }
    }
}

fn setup(seed: u64, profile: Profile, dice: &mut Dice) -> Setup {
    let replicas = usize::try_from(dice.range(2, 4)).unwrap();
    let overlaps = [
        Overlap::None,
        Overlap::None,
        Overlap::None,
        Overlap::Same,
        Overlap::Fork,
        Overlap::Refuse,
        Overlap::Refuse,
        Overlap::Count(2),
    ];
    let skewed = dice.percent(50);
    Setup {
        seed,
        profile,
        replicas,
        browsers: usize::try_from(dice.range(2, 5)).unwrap(),
        life: dice.one(&[10, 20, 20, 45, 300]),
        overlap: dice.one(&overlaps),
        keeps: dice.one(&[0, 0, 0, 20, 100]),
        rollback: dice.one(&[Rollback::End, Rollback::Reject]),
        after_unknown: dice.one(&[AfterUnknown::RetryOnce, AfterUnknown::RetryOnce, AfterUnknown::Login]),
        alone: dice.one(&[RefreshAlone::Local, RefreshAlone::Wait]),
        denials: dice.one(&[Denials::Open, Denials::Closed]),
        skews: (0..8)
            .map(|_| if skewed { i64::try_from(dice.range(0, 120_000)).unwrap() - 60_000 } else { 0 })
            .collect(),
        padding: dice.one(&[0, 0, 0, 4000]),
    }
}

/// A browser's requests: bursts of several at once, pauses between, rarely a long one.
fn visits(setup: &Setup, browser: usize, dice: &mut Dice, events: &mut Vec<(u64, Op)>) {
    let mut at = dice.range(1_000, 8_000);
    let quiet = dice.percent(15);
    events.push((at, Op::Login { browser, replica: dice.index(setup.replicas), fate: Fate::Arrives(50) }));
    while at < LENGTH {
        at += match dice.range(0, 99) {
            0 => dice.range(100_000, 540_000),
            1..=9 => dice.range(15_000, 70_000),
            _ => dice.range(500, 9_000),
        };
        for _ in 0..dice.one(&[1, 1, 2, 3, 6]) {
            let ask = match dice.range(0, 99) {
                0..=7 => Ask::NoRefresh,
                8..=10 => Ask::RefreshNow,
                _ if quiet => Ask::NoRefresh,
                _ => Ask::Usual,
            };
            let op = Op::Request {
                browser,
                replica: dice.index(setup.replicas),
                ask,
                kind: dice.one(&[Kind::Page, Kind::Script]),
                fate: fate(dice),
                upstream: dice.one(&[0, 5, 40, 800, 8_000]),
            };
            events.push((at + dice.range(0, 150), op));
        }
    }
}

fn fate(dice: &mut Dice) -> Fate {
    match dice.range(0, 99) {
        0..=14 => Fate::Lost,
        15..=24 => Fate::Abandoned(dice.range(0, 600)),
        25..=39 => Fate::Arrives(dice.range(1_000, 30_000)),
        _ => Fate::Arrives(dice.range(5, 400)),
    }
}

/// What happens to browsers, replicas, provider and store.
fn happenings(setup: &Setup, dice: &mut Dice, events: &mut Vec<(u64, Op)>) {
    let (profile, replicas, browsers) = (setup.profile, setup.replicas, setup.browsers);
    let mut several = |most, make: &mut dyn FnMut(&mut Dice) -> Op| several(most, (dice, events), make);
    several(2, &mut |dice| Op::Logout {
        browser: dice.index(browsers),
        replica: dice.index(replicas),
        fate: fate(dice),
    });
    several(2, &mut |dice| Op::Login {
        browser: dice.index(browsers),
        replica: dice.index(replicas),
        fate: fate(dice),
    });
    several(3, &mut |dice| Op::Copy { from: dice.index(browsers), to: dice.index(browsers) });
    several(1, &mut |dice| {
        let browser = Some(dice.index(browsers)).filter(|_| dice.percent(70));
        Op::Operator { browser, replica: dice.index(replicas) }
    });
    several(2, &mut |dice| Op::Drain { replica: dice.index(replicas) });
    several(10, &mut |dice| {
        let then = if dice.percent(60) { Then::Drain } else { Then::Logout(dice.index(replicas)) };
        Op::InFlight { replica: dice.index(replicas), after: dice.range(0, 300), then }
    });
    several(2, &mut |dice| Op::Clock { replica: dice.index(replicas), by: dice.one(&[-150, -60, 60, 150]) });
    if profile.kills() {
        several(6, &mut |dice| Op::Kill { replica: dice.index(replicas), away: dice.range(0, 40_000) });
        several(30, &mut |dice| {
            let then = Then::Kill(dice.range(0, 40_000));
            Op::InFlight { replica: dice.index(replicas), after: dice.range(0, 800), then }
        });
    }
    if profile.stops() {
        stops(replicas, dice, events);
    }
    backups(browsers, dice, events);
    if profile.provider_fails() {
        weathers(dice, events);
    }
    if profile.store_fails() {
        let mut at = dice.range(5_000, 60_000);
        while at < LENGTH {
            let fault = match dice.range(0, 3) {
                0 => StoreFault::Cut(u32::MAX),
                1 | 2 => StoreFault::Cut(u32::try_from(dice.range(1, (1 << replicas) - 1)).unwrap()),
                _ => StoreFault::Lossy(dice.range(5, 40)),
            };
            events.push((at, Op::Store(Some(fault))));
            at += dice.one(&[300, 3_000, 20_000, 30_000, 60_000]);
            events.push((at, Op::Store(None)));
            at += dice.range(5_000, 60_000);
        }
    }
    if profile.store_forgets() {
        for _ in 0..dice.range(1, 3) {
            events.push((dice.range(20_000, LENGTH), Op::Forget));
        }
    }
}

fn several(
    most: u64,
    (dice, events): (&mut Dice, &mut Vec<(u64, Op)>),
    make: &mut dyn FnMut(&mut Dice) -> Op,
) {
    for _ in 0..dice.range(0, most) {
        events.push((dice.range(5_000, LENGTH), make(dice)));
    }
}

/// Replicas stand still: at any time, in flight, during a look at the store.
fn stops(replicas: usize, dice: &mut Dice, events: &mut Vec<(u64, Op)>) {
    let mut several = |most, make: &mut dyn FnMut(&mut Dice) -> Op| several(most, (dice, events), make);
    several(6, &mut |dice| Op::Stop { replica: dice.index(replicas), still: still(dice) });
    several(30, &mut |dice| {
        let then = Then::Stop(still(dice));
        Op::InFlight { replica: dice.index(replicas), after: dice.range(0, 600), then }
    });
    several(30, &mut |dice| {
        let (replica, after) = (dice.index(replicas), dice.range(0, 40));
        Op::StopInLook { replica, after, still: still(dice) }
    });
}

/// Mostly longer than a lease.
fn still(dice: &mut Dice) -> Still {
    let length = match dice.range(0, 9) {
        0 => dice.range(100, 10_000),
        1 => dice.range(40_000, 120_000),
        _ => dice.range(18_000, 40_000),
    };
    Still { length, noticed: dice.one(&[3_000, 15_000, 120_000]) }
}

/// Cookies that were put aside come back, at times long after their session went on.
fn backups(browsers: usize, dice: &mut Dice, events: &mut Vec<(u64, Op)>) {
    for _ in 0..dice.range(0, 3) {
        let (browser, at) = (dice.index(browsers), dice.range(10_000, LENGTH - 60_000));
        events.push((at, Op::Backup { browser }));
        events.push((at + dice.range(10_000, 550_000), Op::Restore { browser }));
    }
}

fn weathers(dice: &mut Dice, events: &mut Vec<(u64, Op)>) {
    let mut at = dice.range(5_000, 60_000);
    while at < LENGTH {
        let mut weather = Weather::default();
        match dice.range(0, 5) {
            0 => weather.unreachable = 100,
            1 => weather.busy = dice.range(20, 100),
            2 => weather.misconfigured = 100,
            3 => weather.lost_before = dice.range(10, 60),
            4 => weather.lost_after = dice.range(5, 30),
            _ => weather.slow = dice.range(10, 80),
        }
        events.push((at, Op::Weather(weather)));
        at += dice.range(1_000, 40_000);
        events.push((at, Op::Weather(Weather::default())));
        at += dice.range(5_000, 90_000);
    }
}

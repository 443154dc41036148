//! What really happened, and which rule it breaks.
//!
//! Knows the truth that no replica knows: every session's end, every first sight of a generation, every token that
//! the provider received. Each judgement names the rule that it holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::{Overlap, Profile, Setup};
use crate::base::time::{Clock, Timestamp};
use crate::session::model::{Generation, SessionId};
use crate::session::refresh::record::{Ask, EndCause, Refused};
use crate::session::settings::Rollback;
use crate::store::settings::Denials;

/// When every run begins.
pub(super) const EPOCH: Timestamp = Timestamp::from_secs(1_750_000_000);
/// See [`crate::session::settings::Settings`].
pub(super) const GRACE: u64 = 60_000;
pub(super) const IDLE: u64 = 480_000;
pub(super) const LIFETIME: u64 = 1_500_000;
/// What clocks and ways may blur.
const BLUR: u64 = 2_000;
/// Within which denials reach every replica.
const PROMPT: u64 = 5_000;
/// Who has not heard from the store for so long serves no session, with `denials: closed`.
const CLOSED: u64 = 7_000;
/// What is left of a lease at any moment, at least: it is prolonged every third of its term, which is 17 s.
pub(super) const LOSES_LEASE: u64 = 11_000;

/// The truth about a run.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) setup: Setup,
    begun: Instant,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    cases: BTreeMap<[u8; 16], Case>,
    by_grant: BTreeMap<u64, [u8; 16]>,
    /// Cookies of sessions that were ended, as some browser last had them.
    trace: Vec<(u64, String)>,
    broken: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    /// Whether all faults are over for long.
    settled: bool,
    /// When each process stood still: from when, until when.
    stops: BTreeMap<usize, Vec<(u64, u64)>>,
}

/// A session.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) grant: u64,
    pub(super) user: usize,
    login_at: u64,
    pub(super) ended: Option<End>,
    /// Why its end is nobody's fault.
    pub(super) excuse: Option<&'static str>,
    /// When each generation was first served anywhere, and when it was first presented.
    shown: BTreeMap<Generation, u64>,
    presented: BTreeMap<Generation, u64>,
    last_use: u64,
    /// When each replica last served it, since it was started.
    used: BTreeMap<usize, u64>,
    /// When tokens last came for it.
    refreshed: u64,
    may_refresh: u64,
}

/// How a session was ended on purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    at: u64,
    replica: usize,
    pub(super) cause: EndCause,
    /// Whether every replica must know it: not where the one that ended it was cut off or killed.
    pub(super) certain: bool,
    /// Whether it may be known to nobody.
    untold: bool,
}

/// A cookie that came to a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    pub(super) replica: usize,
    pub(super) sid: SessionId,
    pub(super) generation: Generation,
    /// When it was sealed, as far as it says.
    pub(super) seen_at: u64,
    pub(super) ask: Ask,
}

/// What it got.
#[derive(Debug)]
pub(super) enum Got<'a> {
    /// It was served: with the tokens of this grant, which are good until then.
    Served { grant: Option<u64>, good_until: u64 },
    /// It was not.
    Refused(&'a Refused),
    /// It was not understood.
    Nobody,
}

impl Ledger {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup, begun: Instant::now(), book: Mutex::default() }
    }

    /// Milliseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of the run.
    pub(super) fn note(&self, text: String) {
        let now = self.now();
        self.book().trace.push((now, text));
    }

    /// Counts what a run should have met at least sometimes.
    pub(super) fn count(&self, what: &'static str) {
        *self.book().counts.entry(what).or_default() += 1;
    }

    /// A rule is broken. The first one counts: what follows may be its consequence.
    pub(super) fn broken(&self, rule: &str, how: &str) {
        let now = self.now();
        let mut book = self.book();
        book.trace.push((now, format!("BROKEN {rule}: {how}")));
        book.broken.get_or_insert_with(|| format!("{rule}: {how} (at {now} ms)"));
    }

    pub(super) fn verdict(&self) -> Option<String> {
        self.book().broken.clone()
    }

    /// Everything that happened. Within one moment the order of tasks is the runtime's, and not told.
    pub(super) fn trace(&self) -> Vec<(u64, String)> {
        let mut trace = self.book().trace.clone();
        trace.sort();
        trace
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.book().counts.clone()
    }

    /// A login made a session.
    pub(super) fn login(&self, sid: SessionId, grant: u64, user: usize) {
        let now = self.now();
        let case = Case {
            grant,
            user,
            login_at: now,
            ended: None,
            excuse: None,
            shown: BTreeMap::from([(1, now)]),
            presented: BTreeMap::new(),
            last_use: now,
            used: BTreeMap::new(),
            refreshed: now,
            may_refresh: now,
        };
        let mut book = self.book();
        book.cases.insert(*sid.as_bytes(), case);
        book.by_grant.insert(grant, *sid.as_bytes());
    }

    pub(super) fn case(&self, sid: &SessionId) -> Option<Case> {
        self.book().cases.get(sid.as_bytes()).cloned()
    }

    pub(super) fn cases(&self) -> Vec<(SessionId, Case)> {
        let book = self.book();
        book.cases.iter().map(|(sid, case)| (SessionId::from_bytes(*sid), case.clone())).collect()
    }

    /// A session was ended on purpose at `replica`.
    pub(super) fn ended(&self, sid: &SessionId, replica: usize, cause: EndCause) {
        let at = self.now();
        let certain = !self.setup.profile.store_fails();
        if let Some(case) = self.book().cases.get_mut(sid.as_bytes()) {
            case.ended.get_or_insert(End { at, replica, cause, certain, untold: false });
        }
    }

    /// A replica is gone: what it knew alone is known to nobody. Killed, it was perhaps about to tell.
    pub(super) fn gone(&self, replica: usize, within: u64) {
        let now = self.now();
        for case in self.book().cases.values_mut() {
            case.used.remove(&replica);
            if let Some(end) = &mut case.ended
                && end.replica == replica
                && now - end.at < within
            {
                end.certain = false;
                end.untold = true;
            }
        }
    }

    /// A process stands still, until a moment as far as is known.
    pub(super) fn stands(&self, replica: usize, until: u64) {
        let now = self.now();
        self.count("stood still");
        self.book().stops.entry(replica).or_default().push((now, until));
    }

    /// It goes on.
    pub(super) fn goes_on(&self, replica: usize) {
        let now = self.now();
        if let Some((_, until)) = self.book().stops.get_mut(&replica).and_then(|stops| stops.last_mut()) {
            *until = now;
        }
    }

    pub(super) fn stands_until(&self, replica: usize) -> Option<u64> {
        self.book().stops.get(&replica).and_then(|stops| stops.last()).map(|(_, until)| *until)
    }

    /// How a process stood still, where that began before `until` and was not over at `from`.
    fn stood(&self, replica: usize, (from, until): (u64, u64)) -> Vec<(u64, u64)> {
        let book = self.book();
        let stops = book.stops.get(&replica).into_iter().flatten().copied();
        stops.filter(|(begins, ends)| *begins < until && *ends > from).collect()
    }

    /// From when on a process goes for `time` without standing still, at `from` or later.
    fn after_stops(&self, replica: usize, from: u64, time: u64) -> u64 {
        let stops = self.stood(replica, (from, u64::MAX));
        stops.iter().fold(from, |from, (begins, ends)| if *begins <= from + time { *ends } else { from })
    }

    /// Whether a process stood still within a time, for so long that others may take its lease.
    pub(super) fn lost_its_lease(&self, replica: usize, within: (u64, u64)) -> bool {
        let now = self.now();
        let lost = |(begins, ends): &(u64, u64)| now.min(*ends) - begins >= LOSES_LEASE;
        self.stood(replica, within).iter().any(lost)
    }

    /// Tokens came for a grant.
    pub(super) fn refreshed(&self, grant: u64) {
        let now = self.now();
        let mut book = self.book();
        let Some(sid) = book.by_grant.get(&grant).copied() else { return };
        if let Some(case) = book.cases.get_mut(&sid) {
            case.refreshed = now;
        }
    }

    /// From now on the end of the session of `grant` is explained.
    pub(super) fn excuse(&self, grant: u64, why: &'static str) {
        let now = self.now();
        let mut book = self.book();
        let Some(sid) = book.by_grant.get(&grant).copied() else { return };
        if let Some(case) = book.cases.get_mut(&sid)
            && case.excuse.is_none()
        {
            case.excuse = Some(why);
            book.trace.push((now, format!("grant {grant} excused: {why}")));
            *book.counts.entry(why).or_default() += 1;
        }
    }

    /// Whether requests of late have been such that `replica` may have a refresh under way (rule 8).
    pub(super) fn may_refresh(&self, grant: u64, replica: usize) -> bool {
        let now = self.now();
        let allowed = {
            let book = self.book();
            let case = book.by_grant.get(&grant).and_then(|sid| book.cases.get(sid));
            case.map_or(now, |case| case.may_refresh)
        };
        let stops = self.stood(replica, (allowed, now));
        let stood: u64 = stops.iter().map(|(from, until)| now.min(*until) - from).sum();
        now - allowed < 50_000 + stood
    }

    /// A cookie came; it is judged when it has got something.
    pub(super) fn came(&self, came: &Came) {
        let now = self.now();
        if let Some(case) = self.book().cases.get_mut(came.sid.as_bytes()) {
            case.presented.entry(came.generation).or_insert(now);
            if came.ask != Ask::NoRefresh {
                case.may_refresh = now;
            }
        }
    }

    /// Judges what a cookie got.
    pub(super) fn judge(&self, came: &Came, got: &Got<'_>) {
        let now = self.now();
        self.came(came);
        let Some(case) = self.case(&came.sid) else {
            return self.broken("I5", "a cookie of no session opened");
        };
        let what = format!("grant {} generation {} at replica {}", case.grant, came.generation, came.replica);
        match got {
            Got::Served { grant, good_until } => {
                self.note(format!("{what} served"));
                self.served(came, &case, (*grant, *good_until));
            }
            Got::Refused(refused) => {
                self.note(format!("{what} refused: {refused:?}"));
                self.refused(came, &case, refused);
            }
            Got::Nobody => self.broken("R6", &format!("{what} was not understood")),
        }
        if let Got::Served { .. } = got
            && let Some(case) = self.book().cases.get_mut(came.sid.as_bytes())
        {
            case.shown.entry(came.generation).or_insert(now);
            case.last_use = now;
            case.used.insert(came.replica, now);
        }
    }

    fn served(&self, came: &Came, case: &Case, (grant, good_until): (Option<u64>, u64)) {
        let now = self.now();
        self.count("served");
        let what = format!("grant {} generation {} at replica {}", case.grant, came.generation, came.replica);
        if grant != Some(case.grant) {
            self.broken("I5", &format!("{what} was served with the tokens of grant {grant:?}"));
        }
        if now >= good_until {
            self.broken("I6", &format!("{what} was served with a bearer that ran out at {good_until}"));
        }
        if let Some(reason) = self.denied_by_now(case, came.replica) {
            self.broken("R5", &format!("{what} was served after its end: {reason}"));
        }
        if self.is_closed_to(case) {
            self.broken(
                "R5",
                &format!("{what} was served by one that had not heard of its end: {:?}", case.ended),
            );
        }
        let late = superseded(&case.shown, came.generation).is_some_and(|at| now - at > GRACE + PROMPT);
        if late && self.setup.profile == Profile::Calm {
            self.broken("rollback", &format!("{what} was served long after it was superseded"));
        }
    }

    /// When the store was told of an end: who stood still meanwhile told it when it went on.
    fn told_at(&self, end: End) -> u64 {
        self.after_stops(end.replica, end.at, BLUR)
    }

    /// Whether nobody may be served a session who has not heard of its end by now, whatever kept it from hearing.
    fn is_closed_to(&self, case: &Case) -> bool {
        let heard_within = CLOSED + BLUR;
        let over = |end: End| end.certain && self.now() > self.told_at(end) + heard_within;
        self.setup.denials == Denials::Closed && case.ended.is_some_and(over)
    }

    /// Why `replica` must know that a session was ended.
    pub(super) fn denied_by_now(&self, case: &Case, replica: usize) -> Option<String> {
        let (now, end) = (self.now(), case.ended?);
        let here = end.replica == replica && end.certain && now > end.at;
        // Who stood still hears of it when it goes on.
        let heard = self.after_stops(replica, self.told_at(end), PROMPT);
        let everywhere = end.certain && now > heard + PROMPT;
        // However long the store was away: it is back.
        let profile = self.setup.profile;
        let at_last = self.book().settled && !end.untold && !profile.kills() && !profile.store_forgets();
        (here || everywhere || at_last)
            .then(|| format!("{:?} at {} ms at replica {}", end.cause, end.at, end.replica))
    }

    fn refused(&self, came: &Came, case: &Case, refused: &Refused) {
        let now = self.now();
        let what = format!("grant {} generation {} at replica {}", case.grant, came.generation, came.replica);
        let (rollback, profile) = (self.setup.rollback, self.setup.profile);
        match refused {
            Refused::Unavailable(_) | Refused::StoreUnavailable(_) => {
                self.count("unavailable");
                if profile == Profile::Calm && case.excuse.is_none() && case.ended.is_none() {
                    self.broken("I6", &format!("{what} got {refused:?} although nothing was down"));
                }
                return;
            }
            Refused::RefreshNotAllowed => {
                if came.ask != Ask::NoRefresh {
                    self.broken("R8", &format!("{what} might have refreshed and was not let"));
                }
                return;
            }
            Refused::Ended(_)
            | Refused::RolledBack
            | Refused::NoRefreshToken
            | Refused::LoginRequired(_)
            | Refused::RefreshUnknown => {}
        }
        self.count("login");
        if case.ended.is_some() || case.excuse.is_some() {
            return;
        }
        let superseded =
            superseded(&case.presented, came.generation).is_some_and(|at| now - at + BLUR >= GRACE);
        if superseded && rollback == Rollback::End {
            self.excuse(case.grant, "rollback");
        } else if superseded && *refused == Refused::RolledBack {
            self.count("rejected");
        } else if now - case.login_at + BLUR >= LIFETIME {
            self.excuse(case.grant, "lifetime");
        } else if now.saturating_sub(case.last_known_use(came, now, profile)) + BLUR >= IDLE {
            self.excuse(case.grant, "idle");
        } else {
            self.broken("R6", &format!("{what} lost its session: {refused:?}"));
        }
    }

    /// All faults are over for so long that everything is known everywhere.
    pub(super) fn settled(&self) {
        self.book().settled = true;
    }

    /// Rule 5: nothing that was ended on purpose lives on at the provider.
    pub(super) fn revoked(&self, case: &Case, dead: Option<&'static str>, copies: usize) {
        let Some(end) = case.ended else { return };
        let by_will = matches!(end.cause, EndCause::Logout | EndCause::Operator);
        let known = end.at.saturating_sub(case.last_use) + BLUR < IDLE / 4 * 3;
        // Who is gone may have been the only one who knew it, where no browser does.
        let known = known && !(end.cause == EndCause::Operator && copies == 0);
        // Its newest token is known to nobody.
        let known = known && (case.excuse.is_none() || self.setup.overlap != Overlap::Refuse);
        if by_will && known && end.certain && dead.is_none() && !self.setup.profile.provider_fails() {
            let how = format!("grant {} was ended by {:?} at {} ms and lives", case.grant, end.cause, end.at);
            self.broken("R5", &how);
        }
    }
}

impl Case {
    /// Whether a replica cannot take it for one that is past its time, by what it served itself and by the cookie.
    pub(super) fn is_in_use(&self, came: &Came, now: u64) -> bool {
        let served = self.used.get(&came.replica).copied().unwrap_or(0);
        now.saturating_sub(served.max(came.seen_at)) < IDLE / 2 && now - self.login_at + BLUR < LIFETIME
    }

    /// When a replica must know that it was in use: by what it served itself, by the cookie, by the store.
    fn last_known_use(&self, came: &Came, now: u64, profile: Profile) -> u64 {
        let here = self.used.get(&came.replica).copied().unwrap_or(0);
        // What came a moment ago may still be on its way to the store, which may forget it.
        let told = if now - self.refreshed < BLUR || profile.store_forgets() { 0 } else { self.refreshed };
        here.max(came.seen_at).max(told)
    }

    /// Whether its login was before `moment`.
    pub(super) fn is_older_than(&self, moment: u64) -> bool {
        self.login_at < moment
    }
}

/// When the first newer generation than `generation` appeared.
fn superseded(appeared: &BTreeMap<Generation, u64>, generation: Generation) -> Option<u64> {
    appeared.range(generation + 1..).map(|(_, at)| *at).min()
}

/// The true time of a run, by which provider and store go.
#[derive(Debug)]
pub(super) struct TrueClock(pub(super) Arc<Ledger>);

impl Clock for TrueClock {
    fn now(&self) -> Timestamp {
        EPOCH.plus(Duration::from_millis(self.0.now()))
    }
}

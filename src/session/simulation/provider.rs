//! A strict provider: it rotates, and a token seen again kills its grant.
//!
//! Fails in every way that a provider can, and remembers every token that it received, which is what rule 1 is
//! judged by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answers::refusal;
use super::ledger::Ledger;
use super::plan::{Dice, Overlap, Weather};
use super::sights::{Fate, Sight, since_it_stayed};
use crate::base::secret::Secret;
use crate::base::tasks::Tasks;
use crate::oidc::TokenAnswer;
use crate::session::settings::AfterUnknown;
use crate::store::settings::RefreshAlone;

/// The provider of a run.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) ledger: Arc<Ledger>,
    /// Where requests travel.
    pub(super) wires: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    grants: BTreeMap<u64, Grant>,
    /// Replicas that are to die, how soon after the next token request of theirs.
    doomed: BTreeMap<usize, u64>,
    doom: Option<mpsc::UnboundedSender<Doom>>,
}

#[derive(Debug, Default)]
struct Grant {
    dead: Option<&'static str>,
    /// Who was last told that a token is spent, and the grant alive.
    refused: Option<usize>,
    /// The number of the newest refresh token and of the newest access token.
    newest: u64,
    access: u64,
    /// Good until then.
    access_until: BTreeMap<u64, u64>,
    /// Whose attempts others take for sent and unanswered although nobody saw them.
    lapsed: BTreeMap<(u64, usize), u64>,
    /// Each refresh token that came: when, from whom, and how it went.
    seen: BTreeMap<u64, Vec<Sight>>,
}

/// Something that is to happen while a token request is under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doom {
    pub(super) replica: usize,
    pub(super) grant: u64,
    pub(super) at: u64,
}

impl Grant {
    /// Whether others took the attempt for unanswered that is seen now.
    fn has_lapsed(&mut self, number: u64, replica: usize, before: &[Sight]) -> bool {
        let lapsed = self.lapsed.remove(&(number, replica)).is_some();
        // Where the token stayed and comes again, everybody knows how it went before.
        let stayed = before.iter().filter(|sight| sight.kept && sight.fate == Fate::Granted);
        let known = stayed.map(|sight| sight.at).max().unwrap_or(0);
        self.lapsed.retain(|_, at| *at > known);
        lapsed
    }
}

impl Provider {
    pub(super) fn new(ledger: Arc<Ledger>, wires: Tasks) -> Self {
        Self { ledger, wires, state: Mutex::default() }
    }

    /// What the weather is.
    pub(super) fn weather(&self) -> Weather {
        self.state().weather
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// `replica` is to die `after` ms after its next token request was received.
    pub(super) fn doom(&self, replica: usize, after: u64) {
        self.state().doomed.insert(replica, after);
    }

    /// Nobody is to die any more.
    pub(super) fn spare(&self) {
        self.state().doomed.clear();
    }

    /// Tells which replicas are to die, and when.
    pub(super) fn dooms(&self) -> mpsc::UnboundedReceiver<Doom> {
        let (tell, told) = mpsc::unbounded_channel();
        self.state().doom = Some(tell);
        told
    }

    /// A login: a new grant and its first tokens.
    pub(super) fn grant(&self, sent_at: crate::base::time::Timestamp) -> (u64, TokenAnswer) {
        let life = self.ledger.setup.life;
        let mut state = self.state();
        let name = u64::try_from(state.grants.len()).unwrap() + 1;
        let until = self.ledger.now() + life * 1000;
        let grant = Grant { access_until: BTreeMap::from([(0, until)]), ..Grant::default() };
        state.grants.insert(name, grant);
        let answer = TokenAnswer {
            access_token: Secret::new(self.access_text(name, 0)),
            refresh_token: Some(Secret::new(format!("rt-{name}-0"))),
            id_token: None,
            access_expires_at: sent_at.plus(Duration::from_secs(life - 1)),
            sent_at,
            scope: None,
            session_expires_in: None,
        };
        (name, answer)
    }

    fn access_text(&self, grant: u64, number: u64) -> String {
        format!("at-{grant}-{number}-{}", "x".repeat(self.ledger.setup.padding))
    }

    /// The grant of an access token, and until when it is good.
    pub(super) fn judge(&self, access: &str) -> (Option<u64>, u64) {
        let Some((grant, number)) = numbers(access) else { return (None, 0) };
        let state = self.state();
        let until = state.grants.get(&grant).and_then(|found| found.access_until.get(&number));
        (Some(grant), until.copied().unwrap_or(0))
    }

    /// Who was last told that a token of a grant that lives is spent.
    pub(super) fn refused_last(&self, grant: u64) -> Option<usize> {
        self.state().grants.get(&grant).and_then(|grant| grant.refused)
    }

    /// Why a grant is dead, if it is.
    pub(super) fn dead(&self, grant: u64) -> Option<&'static str> {
        self.state().grants.get(&grant).and_then(|grant| grant.dead)
    }

    /// Whether a second use of a token is refused although the grant lives.
    pub(super) fn refuses(&self) -> bool {
        self.ledger.setup.overlap == Overlap::Refuse
    }

    /// A replica was killed: what it got a moment ago may not have been kept.
    pub(super) fn killed(&self, replica: usize) {
        let now = self.ledger.now();
        let (mut lost, mut unknown) = (Vec::new(), Vec::new());
        let only_once = self.ledger.setup.after_unknown == AfterUnknown::Login;
        // What cannot be written is brought when the store is back.
        let kept_within = if self.ledger.setup.profile.store_fails() { 120_000 } else { KEPT_WITHIN };
        for (name, grant) in &mut self.state().grants {
            let sights = grant
                .seen
                .iter_mut()
                .flat_map(|(number, sights)| sights.iter_mut().map(|sight| (*number, sight)));
            for (number, sight) in sights.filter(|(_, sight)| sight.replica == replica) {
                let fresh = now.saturating_sub(sight.at) < kept_within;
                if fresh || sight.fate == Fate::Under {
                    sight.fate = Fate::Unknown;
                    unknown.push((*name, number));
                    if sight.got.is_some() || only_once {
                        lost.push(*name);
                    }
                }
            }
        }
        unknown.into_iter().for_each(|token| self.is_any_attempt_left(token));
        for grant in lost {
            self.ledger.excuse(grant, "killed in flight");
        }
    }

    /// How often a refresh token was seen.
    pub(super) fn seen(&self, (name, number): (u64, u64)) -> u64 {
        let state = self.state();
        let sights = state.grants.get(&name).and_then(|grant| grant.seen.get(&number));
        u64::try_from(sights.map_or(0, Vec::len)).unwrap()
    }

    /// A refresh token arrives.
    pub(super) fn receive(&self, replica: usize, token: (u64, u64), fault: Option<u16>) -> (u16, Value) {
        let (name, number) = token;
        let setup = &self.ledger.setup;
        let now = self.ledger.now();
        self.ledger.note(format!("provider receives token {number} of grant {name} from replica {replica}"));
        self.ledger.count("refresh");
        if !self.ledger.may_refresh(name, replica) {
            self.ledger.broken("R8", &format!("grant {name} was refreshed for requests that may not"));
        }
        let mut state = self.state();
        if let Some(after) = state.doomed.remove(&(replica % 10)) {
            // Nobody listens once the run is over.
            let _unheard = state
                .doom
                .as_ref()
                .map(|doom| doom.send(Doom { replica: replica % 10, grant: name, at: now + after }).is_err());
        }
        let Some(grant) = state.grants.get_mut(&name) else { return refusal("invalid_grant") };
        let before = grant.seen.entry(number).or_default().clone();
        self.judge_repetition(&before, token);
        let mut sight =
            Sight { began: now, at: now, replica, fate: Fate::Under, got: None, lapsed: false, kept: false };
        sight.lapsed = grant.has_lapsed(number, replica, &before);
        let answer = if let Some(status) = fault {
            (status, json!({ "error": if status == 401 { "invalid_client" } else { "server_error" } }))
        } else if grant.dead.is_some() {
            refusal("invalid_grant")
        } else if let Some(first) = before.iter().find(|sight| sight.got.is_some()) {
            let soon = now - first.at < OVERLAP;
            match setup.overlap {
                Overlap::Same if soon => {
                    sight.got = first.got;
                    let got = first.got.unwrap_or_default();
                    let left = grant.access_until.get(&got.1).map_or(0, |until| until.saturating_sub(now));
                    // Zero would tell nothing of its life.
                    self.tokens(name, got, (left / 1000).max(1))
                }
                Overlap::Fork if soon => self.rotate(name, grant, &mut sight),
                Overlap::Count(most) if before.iter().filter(|sight| sight.got.is_some()).count() <= most => {
                    self.rotate(name, grant, &mut sight)
                }
                Overlap::Refuse => {
                    grant.refused = Some(replica);
                    refusal("invalid_grant")
                }
                Overlap::None | Overlap::Same | Overlap::Fork | Overlap::Count(_) => {
                    grant.dead = Some("a token was seen again");
                    self.ledger.note(format!("provider kills grant {name}"));
                    refusal("invalid_grant")
                }
            }
        } else if Dice::of(setup.seed, "keeps", name * 1000 + grant.access).percent(setup.keeps) {
            // The token stays: it may come again.
            sight.kept = true;
            grant.access += 1;
            grant.access_until.insert(grant.access, now + setup.life * 1000);
            let access = self.access_text(name, grant.access);
            (200, json!({ "access_token": access, "token_type": "Bearer", "expires_in": setup.life }))
        } else {
            self.rotate(name, grant, &mut sight)
        };
        grant.seen.entry(number).or_default().push(sight);
        answer
    }

    fn rotate(&self, name: u64, grant: &mut Grant, sight: &mut Sight) -> (u16, Value) {
        grant.newest += 1;
        grant.access += 1;
        grant.access_until.insert(grant.access, self.ledger.now() + self.ledger.setup.life * 1000);
        let got = (grant.newest, grant.access);
        sight.got = Some(got);
        self.tokens(name, got, self.ledger.setup.life)
    }

    fn tokens(&self, name: u64, (refresh, access): (u64, u64), life: u64) -> (u16, Value) {
        let access = self.access_text(name, access);
        let refresh = format!("rt-{name}-{refresh}");
        let body = json!({
            "access_token": access, "refresh_token": refresh, "token_type": "bearer", "expires_in": life,
        });
        (200, body)
    }

    /// Rule 1: a token comes a second time only after an outcome that nobody knows, and then once.
    fn judge_repetition(&self, before: &[Sight], (name, number): (u64, u64)) {
        let setup = &self.ledger.setup;
        // Where it stayed, nothing is spent by sending it again, whoever knows of the answer.
        let before = since_it_stayed(before, |sight| sight.fate != Fate::Under);
        // Who stood still until its lease was over may have the answer: for everybody else nobody knows.
        let late = |sight: &&Sight| self.is_late(sight);
        if before.iter().filter(late).any(|sight| sight.got.is_some()) {
            self.ledger.excuse(name, "repeated while who was answered stood still");
        }
        let count = |fate| before.iter().filter(|sight| sight.fate == fate && !late(sight)).count();
        let (granted, under) = (count(Fate::Granted), count(Fate::Under));
        let unknown = count(Fate::Unknown) + before.iter().filter(late).count();
        if granted == 0 && under == 0 && unknown <= self.most_unknown() {
            if unknown > 0 {
                self.ledger.count("repeated after unknown");
            }
            return;
        }
        if setup.profile.store_fails() && granted + under + unknown <= self.most_unknown() {
            // Who got the answer may be cut off: for everybody else nobody knows.
            self.ledger.excuse(name, "repeated while who was answered could not tell");
            return;
        }
        let alone = setup.profile.store_fails() && setup.alone == RefreshAlone::Local;
        if alone || setup.profile.store_forgets() {
            // What docs/sessions.md admits: replicas that go alone, and what a store forgot.
            self.ledger.excuse(name, "spent twice while the store failed");
            return;
        }
        let how = format!(
            "token {number} of grant {name}: {granted} granted, {under} under way, {unknown} unknown"
        );
        self.ledger.broken("R1", &format!("{how}, and it comes again"));
    }

    /// Whether others may have taken the lease before they could know how it went.
    fn is_late(&self, sight: &Sight) -> bool {
        let known = match sight.fate {
            Fate::Under => u64::MAX,
            Fate::Granted => sight.at + KEPT_LATE,
            Fate::Refused | Fate::Unknown => return false,
        };
        self.ledger.lost_its_lease(sight.replica, (sight.began, known))
    }

    /// `replica` cannot tell the others what became of its attempt for `grant`: they take the token for sent.
    pub(super) fn lapse(&self, token: (u64, u64), replica: usize, why: &'static str) {
        let (name, number) = token;
        if self.ledger.setup.after_unknown == AfterUnknown::Login {
            // Nobody can tell whether the token had been sent, and with this policy it is not sent again.
            return self.ledger.excuse(name, why);
        }
        if let Some(grant) = self.state().grants.get_mut(&name) {
            let now = self.ledger.now();
            // It may be known by now that nobody got its answer.
            let open = |sight: &Sight| match sight.fate {
                Fate::Under => true,
                Fate::Unknown => now - sight.at < LATELY,
                Fate::Granted | Fate::Refused => false,
            };
            let its = |sight: &&mut Sight| sight.replica == replica && open(sight);
            match grant.seen.entry(number).or_default().iter_mut().find(its) {
                Some(sight) => sight.lapsed = true,
                None => {
                    grant.lapsed.insert((number, replica), now);
                }
            }
        }
        self.is_any_attempt_left(token);
    }

    pub(super) fn settle(&self, replica: usize, (name, number): (u64, u64), fate: Fate) {
        let now = self.ledger.now();
        let mut state = self.state();
        let Some(grant) = state.grants.get_mut(&name) else { return };
        let under = |sight: &&mut Sight| sight.replica == replica && sight.fate == Fate::Under;
        if let Some(sight) = grant.seen.get_mut(&number).and_then(|sights| sights.iter_mut().find(under)) {
            let (rotated, kept) = (sight.got.is_some(), sight.kept);
            sight.fate = if fate == Fate::Granted && !rotated && !kept { Fate::Refused } else { fate };
            sight.at = now;
            drop(state);
            if fate == Fate::Granted && (rotated || kept) {
                self.ledger.refreshed(name);
            }
            if fate == Fate::Unknown && rotated {
                self.ledger.excuse(name, "an answer was lost");
            } else if fate == Fate::Unknown {
                self.is_any_attempt_left((name, number));
            }
        }
    }

    /// A token request that nobody receives, as nobody knows at the other end.
    pub(super) fn unreceived(&self, replica: usize, token: (u64, u64)) {
        let at = self.ledger.now();
        let sight =
            Sight { began: at, at, replica, fate: Fate::Unknown, got: None, lapsed: false, kept: false };
        if let Some(grant) = self.state().grants.get_mut(&token.0) {
            grant.seen.entry(token.1).or_default().push(sight);
        }
        self.is_any_attempt_left(token);
    }

    fn is_any_attempt_left(&self, (name, number): (u64, u64)) {
        let unknown = |sight: &&Sight| sight.fate == Fate::Unknown || sight.lapsed;
        let state = self.state();
        let grant = state.grants.get(&name);
        let sights = grant.and_then(|grant| grant.seen.get(&number));
        let known = |sight: &Sight| sight.fate == Fate::Granted;
        let count = sights.map_or(0, |sights| since_it_stayed(sights, known).iter().filter(unknown).count());
        let lapsed = grant.map(|grant| grant.lapsed.range((number, 0)..(number + 1, 0)).count());
        let count = count + lapsed.unwrap_or(0);
        drop(state);
        if count > self.most_unknown() {
            self.ledger.excuse(name, "no attempt is left");
        }
    }

    fn most_unknown(&self) -> usize {
        match self.ledger.setup.after_unknown {
            AfterUnknown::RetryOnce => 1,
            AfterUnknown::Login => 0,
        }
    }

    pub(super) fn revoke(&self, token: &str) {
        let Some((name, _)) = numbers(token) else { return };
        self.ledger.note(format!("provider revokes grant {name}"));
        let already = self.ledger.setup.profile.store_fails();
        if let Some(grant) = self.state().grants.get_mut(&name) {
            grant.dead.get_or_insert("revoked");
        }
        let known = self.ledger.cases().into_iter().find(|(_, case)| case.grant == name);
        if let Some((_, case)) = known
            && case.ended.is_none()
            && case.excuse.is_none()
            && !already
        {
            self.ledger.broken("R6", &format!("grant {name} was revoked, and its session was not ended"));
        }
    }
}

/// The numbers of a token.
pub(super) fn numbers(token: &str) -> Option<(u64, u64)> {
    let mut parts = token.split('-').skip(1);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// For how long providers with an overlap take a spent token, in milliseconds.
const OVERLAP: u64 = 10_000;
/// Within which an answer is in the store, where nothing fails, in milliseconds.
const KEPT_WITHIN: u64 = 60;
/// The same where the store's answers are late at times.
const KEPT_LATE: u64 = 1_500;
/// What became of a request at the moment when its replica went, in milliseconds.
const LATELY: u64 = 100;

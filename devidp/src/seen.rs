//! What the provider has seen: counters, records, and a log of events.
//!
//! For assertions, so tokens are kept in plain. Records are bounded; counters are not reset.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::clock::unix;

/// What the provider has seen.
#[derive(Debug)]
pub struct Seen {
    counts: watch::Sender<Counts>,
    records: Mutex<Records>,
}

/// How often things happened. Requests are counted when they arrive, whatever becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests for the metadata.
    pub discovery: u64,
    /// Requests for the key set.
    pub jwks: u64,
    /// Requests to the authorization endpoint, the user picker's clicks included.
    pub authorize: u64,
    /// Codes issued.
    pub logins: u64,
    /// Token requests with a code.
    pub token_code: u64,
    /// Token requests with a refresh token.
    pub token_refresh: u64,
    /// Codes redeemed.
    pub codes_redeemed: u64,
    /// Refresh grants that succeeded here, even if the answer was lost.
    pub refreshes: u64,
    /// Spent refresh tokens presented again, and grants ended for it.
    pub reuses: u64,
    /// Codes presented again.
    pub code_replays: u64,
    /// Requests to the revocation endpoint.
    pub revocations: u64,
    /// Requests to the introspection endpoint.
    pub introspections: u64,
    /// Requests for userinfo.
    pub userinfo: u64,
    /// Requests to end a session.
    pub end_sessions: u64,
}

/// One request to the token endpoint.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// When it was decided.
    pub at: Instant,
    /// What was presented.
    pub kind: GrantKind,
    /// What became of it.
    pub outcome: Outcome,
}

/// What was presented to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GrantKind {
    /// An authorization code.
    Code,
    /// A refresh token.
    Refresh,
}

/// What became of a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Tokens were issued.
    Granted,
    /// Something spent was presented; the grant was ended.
    Reused,
    /// Refused with this OAuth error code.
    Refused(&'static str),
    /// A fault answered instead; nothing was spent.
    Faulted,
}

/// One line of the event log.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: SystemTime,
    /// `login`, `code`, `rotation`, `reuse`, `code_replay`, `revocation` or `end_session`.
    pub kind: &'static str,
    /// Whom it concerns, if that is known.
    pub sub: Option<String>,
}

#[derive(Debug, Default)]
struct Records {
    token_requests: VecDeque<TokenRequest>,
    events: VecDeque<Event>,
    last_authorize: Option<Vec<(String, String)>>,
    last_token_form: Option<Vec<(String, String)>>,
    last_client_auth: Option<ClientAuth>,
    arrivals: HashMap<String, u32>,
    presentations: HashMap<String, u32>,
    revoked: BTreeSet<String>,
}

/// How a client authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { counts: watch::Sender::new(Counts::default()), records: Mutex::default() }
    }

    /// The counters as they are now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counters are as wanted, without polling.
    pub async fn wait_for(&self, wanted: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        // The sender lives in `self`, so this cannot fail; the counters of now are the honest answer anyway.
        counts.wait_for(wanted).await.map_or_else(|_closed| self.counts(), |counts| *counts)
    }

    /// The token requests in the order in which they were decided, the last 100,000.
    pub fn token_requests(&self) -> Vec<TokenRequest> {
        self.lock().token_requests.iter().cloned().collect()
    }

    /// The event log, the last 1,000.
    pub fn events(&self) -> Vec<Event> {
        self.lock().events.iter().cloned().collect()
    }

    /// The parameters of the last authorization request.
    pub fn last_authorize(&self) -> Option<Vec<(String, String)>> {
        self.lock().last_authorize.clone()
    }

    /// One parameter of the last authorization request.
    pub fn last_authorize_parameter(&self, name: &str) -> Option<String> {
        self.lock().last_authorize.as_deref().and_then(|pairs| find(pairs, name))
    }

    /// The form of the last token request.
    pub fn last_token_form(&self) -> Option<Vec<(String, String)>> {
        self.lock().last_token_form.clone()
    }

    /// How the client last authenticated with success, at whatever endpoint.
    pub fn last_client_auth(&self) -> Option<ClientAuth> {
        self.lock().last_client_auth
    }

    /// How often a refresh token arrived, requests that met a fault before it was looked at included.
    pub fn arrivals(&self, refresh_token: &str) -> u32 {
        self.lock().arrivals.get(refresh_token).copied().unwrap_or_default()
    }

    /// How often a refresh token was presented and judged.
    pub fn presentations(&self, refresh_token: &str) -> u32 {
        self.lock().presentations.get(refresh_token).copied().unwrap_or_default()
    }

    /// The most that [`Self::presentations`] says of any refresh token: 1 where each was spent once.
    pub fn max_presentations_of_one_refresh_token(&self) -> u32 {
        self.lock().presentations.values().copied().max().unwrap_or_default()
    }

    /// The tokens that the revocation endpoint was asked to revoke and did.
    pub fn revoked_tokens(&self) -> BTreeSet<String> {
        self.lock().revoked.clone()
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.counts.send_modify(change);
    }

    pub(crate) fn authorize(&self, parameters: &[(String, String)]) {
        self.lock().last_authorize = Some(parameters.to_vec());
        self.count(|counts| counts.authorize += 1);
    }

    pub(crate) fn token_arrived(&self, kind: GrantKind, form: &[(String, String)]) {
        let mut records = self.lock();
        records.last_token_form = Some(form.to_vec());
        if let Some(token) = find(form, "refresh_token") {
            *records.arrivals.entry(token).or_default() += 1;
        }
        drop(records);
        self.count(|counts| match kind {
            GrantKind::Code => counts.token_code += 1,
            GrantKind::Refresh => counts.token_refresh += 1,
        });
    }

    pub(crate) fn presented(&self, refresh_token: &str) {
        *self.lock().presentations.entry(refresh_token.to_owned()).or_default() += 1;
    }

    pub(crate) fn token_decided(&self, kind: GrantKind, outcome: Outcome) {
        push(
            &mut self.lock().token_requests,
            TokenRequest { at: Instant::now(), kind, outcome },
            MOST_REQUESTS,
        );
        self.count(|counts| match (kind, outcome) {
            (GrantKind::Code, Outcome::Granted) => counts.codes_redeemed += 1,
            (GrantKind::Refresh, Outcome::Granted) => counts.refreshes += 1,
            (GrantKind::Code, Outcome::Reused) => counts.code_replays += 1,
            (GrantKind::Refresh, Outcome::Reused) => counts.reuses += 1,
            (_, Outcome::Refused(_) | Outcome::Faulted) => {}
        });
    }

    pub(crate) fn client_authenticated(&self, method: ClientAuth) {
        self.lock().last_client_auth = Some(method);
    }

    pub(crate) fn revoked(&self, token: &str) {
        self.lock().revoked.insert(token.to_owned());
    }

    pub(crate) fn event(&self, at: SystemTime, kind: &'static str, sub: Option<&str>) {
        push(&mut self.lock().events, Event { at, kind, sub: sub.map(str::to_owned) }, MOST_EVENTS);
    }

    pub(crate) fn events_as_json(&self) -> Value {
        let records = self.lock();
        let line = |event: &Event| json!({ "at": unix(event.at), "kind": event.kind, "sub": event.sub });
        Value::Array(records.events.iter().map(line).collect())
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

fn find(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

/// Enough for a soak of hours, and a few megabytes.
const MOST_REQUESTS: usize = 100_000;
/// What somebody reads in a browser.
const MOST_EVENTS: usize = 1_000;

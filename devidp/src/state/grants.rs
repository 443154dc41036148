//! Codes, grants, and the tokens that hang on them.
//!
//! A grant is alive until it is ended: by reuse of a refresh token, by replay of its code, by revocation, by
//! its user's end. A token is live while it has neither expired nor been revoked and its grant is alive.
//! A refresh token goes unspent → spent; in overlap mode it is accepted for a while after that, too.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::State;
use crate::crypto::{random_string, same, sha256};
use crate::settings::{Rotation, User};

/// Codes, grants and tokens.
#[derive(Debug, Default)]
pub(super) struct Grants {
    codes: HashMap<String, Code>,
    grants: Vec<Grant>,
    refresh: HashMap<String, RefreshToken>,
    access: HashMap<String, AccessToken>,
}

/// What a code is issued for.
#[derive(Debug, Clone)]
pub(crate) struct NewCode {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) scope: String,
    pub(crate) sub: String,
    pub(crate) sid: String,
    pub(crate) auth_time: SystemTime,
}

#[derive(Debug)]
struct Code {
    new: NewCode,
    expires_at: SystemTime,
    used: Option<Option<usize>>,
}

#[derive(Debug, Clone)]
struct Grant {
    client_id: String,
    sub: String,
    scope: String,
    sid: String,
    auth_time: SystemTime,
    alive: bool,
    newest_refresh: Option<String>,
}

#[derive(Debug)]
struct RefreshToken {
    grant: usize,
    expires_at: SystemTime,
    spent_at: Option<SystemTime>,
}

#[derive(Debug)]
struct AccessToken {
    grant: Option<usize>,
    client_id: String,
    sub: String,
    scope: String,
    expires_at: SystemTime,
    revoked: bool,
}

/// What tokens are to be made for.
#[derive(Debug, Clone)]
pub(crate) struct Granted {
    pub(crate) grant: usize,
    pub(crate) client_id: String,
    pub(crate) user: User,
    pub(crate) scope: String,
    pub(crate) sid: String,
    pub(crate) auth_time: SystemTime,
    pub(crate) nonce: Option<String>,
    pub(crate) refresh_token: Option<String>,
}

/// Why a code or refresh token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Never issued, expired, for another client, or it does not fit the request.
    Invalid,
    /// Spent before: its grant is ended now.
    Reused,
    /// More scope than was granted.
    Scope,
}

/// How a refresh token is treated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RefreshRules {
    pub(crate) rotation: Rotation,
    pub(crate) life: Duration,
    pub(crate) now: SystemTime,
}

/// What a token turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveToken {
    pub(crate) kind: TokenKind,
    pub(crate) client_id: String,
    pub(crate) sub: String,
    pub(crate) scope: String,
    pub(crate) expires_at: SystemTime,
}

/// The two kinds of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Access,
    Refresh,
}

impl State {
    pub(crate) fn issue_code(&mut self, new: NewCode, expires_at: SystemTime) -> String {
        let code = random_string();
        self.grants.codes.insert(code.clone(), Code { new, expires_at, used: None });
        code
    }

    /// Checks and spends a code in one go. Any presentation by its client spends it.
    pub(crate) fn redeem(
        &mut self,
        code: &str,
        client_id: &str,
        redirect_uri: &str,
        verifier: &str,
        rules: RefreshRules,
    ) -> Result<Granted, Refusal> {
        let entry = self.grants.codes.get_mut(code).ok_or(Refusal::Invalid)?;
        if entry.new.client_id != client_id {
            return Err(Refusal::Invalid);
        }
        // RFC 6749 §4.1.2: a code that comes twice revokes what the first time gave.
        if let Some(first) = entry.used {
            if let Some(grant) = first {
                self.grants.end(grant);
            }
            return Err(Refusal::Reused);
        }
        entry.used = Some(None);
        let new = entry.new.clone();
        let fits = new.redirect_uri == redirect_uri && same(&new.challenge, &sha256(verifier));
        if !fits || entry.expires_at <= rules.now {
            return Err(Refusal::Invalid);
        }
        let user = self.user(&new.sub).ok_or(Refusal::Invalid)?.clone();
        let grant = self.grants.open(&new);
        if let Some(entry) = self.grants.codes.get_mut(code) {
            entry.used = Some(Some(grant));
        }
        let offline = new.scope.split(' ').any(|scope| scope == "offline_access");
        let refresh_token = offline.then(|| self.grants.issue_refresh(grant, rules));
        let NewCode { client_id, nonce, scope, sid, auth_time, .. } = new;
        Ok(Granted { grant, client_id, user, scope, sid, auth_time, nonce, refresh_token })
    }

    /// Checks and spends a refresh token in one go.
    pub(crate) fn refresh(
        &mut self,
        token: &str,
        client_id: &str,
        scope: Option<&str>,
        rules: RefreshRules,
    ) -> Result<Granted, Refusal> {
        let entry = self.grants.refresh.get(token).ok_or(Refusal::Invalid)?;
        let (index, expires_at, spent_at) = (entry.grant, entry.expires_at, entry.spent_at);
        let grant = self.grants.grants.get(index).ok_or(Refusal::Invalid)?.clone();
        if grant.client_id != client_id || !grant.alive {
            return Err(Refusal::Invalid);
        }
        if spent_at.is_some_and(|spent_at| !overlaps(rules, spent_at)) {
            self.grants.end(index);
            return Err(Refusal::Reused);
        }
        let Some(user) = self.user(&grant.sub).cloned() else {
            self.grants.end(index);
            return Err(Refusal::Invalid);
        };
        if expires_at <= rules.now {
            return Err(Refusal::Invalid);
        }
        let scope = narrowed(&grant.scope, scope).ok_or(Refusal::Scope)?;
        let refresh_token = match rules.rotation {
            Rotation::Off => token.to_owned(),
            Rotation::Strict | Rotation::Overlap(_) => self.grants.succeed(token, index, rules),
        };
        let Grant { client_id, sid, auth_time, .. } = grant;
        let refresh_token = Some(refresh_token);
        Ok(Granted { grant: index, client_id, user, scope, sid, auth_time, nonce: None, refresh_token })
    }

    /// Remembers an access token that was made for a grant.
    pub(crate) fn keep_access_token(
        &mut self,
        token: &str,
        granted: &Granted,
        now: SystemTime,
        life: Duration,
    ) {
        let entry = AccessToken {
            grant: Some(granted.grant),
            client_id: granted.client_id.clone(),
            sub: granted.user.sub.clone(),
            scope: granted.scope.clone(),
            expires_at: now + life,
            revoked: false,
        };
        self.grants.keep_access(token, entry, now);
    }

    /// Remembers an access token that belongs to no grant.
    pub(crate) fn keep_loose_access_token(&mut self, token: &str, live: LiveToken, now: SystemTime) {
        let LiveToken { client_id, sub, scope, expires_at, .. } = live;
        let entry = AccessToken { grant: None, client_id, sub, scope, expires_at, revoked: false };
        self.grants.keep_access(token, entry, now);
    }

    /// What a token is, if it is live.
    pub(crate) fn live_token(&self, token: &str, now: SystemTime) -> Option<LiveToken> {
        let grants = &self.grants;
        if let Some(entry) = grants.access.get(token) {
            let alive = entry.grant.is_none_or(|grant| grants.is_alive(grant));
            return (alive && !entry.revoked && now < entry.expires_at).then(|| LiveToken {
                kind: TokenKind::Access,
                client_id: entry.client_id.clone(),
                sub: entry.sub.clone(),
                scope: entry.scope.clone(),
                expires_at: entry.expires_at,
            });
        }
        let entry = grants.refresh.get(token)?;
        let grant = grants.grants.get(entry.grant)?;
        (grant.alive && entry.spent_at.is_none() && now < entry.expires_at).then(|| LiveToken {
            kind: TokenKind::Refresh,
            client_id: grant.client_id.clone(),
            sub: grant.sub.clone(),
            scope: grant.scope.clone(),
            expires_at: entry.expires_at,
        })
    }

    /// RFC 7009: an access token alone, or with a refresh token the whole grant. The subject, if it was known.
    pub(crate) fn revoke(&mut self, token: &str, client_id: &str) -> Option<String> {
        if let Some(entry) = self.grants.access.get_mut(token).filter(|entry| entry.client_id == client_id) {
            entry.revoked = true;
            return Some(entry.sub.clone());
        }
        let index = self.grants.refresh.get(token)?.grant;
        let sub = self.grants.grants.get(index).filter(|grant| grant.client_id == client_id)?.sub.clone();
        self.grants.end(index);
        Some(sub)
    }

    /// Ends all grants of a user; how many were alive.
    pub(crate) fn end_grants(&mut self, sub: &str) -> usize {
        let grants = self.grants.grants.iter_mut().filter(|grant| grant.sub == sub && grant.alive);
        grants.map(|grant| grant.alive = false).count()
    }

    /// How many grants of a user are alive.
    pub(crate) fn live_grants(&self, sub: &str) -> usize {
        self.grants.grants.iter().filter(|grant| grant.sub == sub && grant.alive).count()
    }

    /// The newest refresh token of the user's newest grant that has one.
    pub(crate) fn newest_refresh_token(&self, sub: &str) -> Option<String> {
        let mut grants = self.grants.grants.iter().rev().filter(|grant| grant.sub == sub);
        grants.find_map(|grant| grant.newest_refresh.clone())
    }
}

impl Grants {
    fn open(&mut self, new: &NewCode) -> usize {
        self.grants.push(Grant {
            client_id: new.client_id.clone(),
            sub: new.sub.clone(),
            scope: new.scope.clone(),
            sid: new.sid.clone(),
            auth_time: new.auth_time,
            alive: true,
            newest_refresh: None,
        });
        self.grants.len() - 1
    }

    fn is_alive(&self, grant: usize) -> bool {
        self.grants.get(grant).is_some_and(|grant| grant.alive)
    }

    fn end(&mut self, grant: usize) {
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.alive = false;
        }
    }

    /// Spends a refresh token and makes its successor. The first spending counts for the overlap.
    fn succeed(&mut self, token: &str, grant: usize, rules: RefreshRules) -> String {
        if let Some(entry) = self.refresh.get_mut(token) {
            entry.spent_at.get_or_insert(rules.now);
        }
        self.issue_refresh(grant, rules)
    }

    fn issue_refresh(&mut self, grant: usize, rules: RefreshRules) -> String {
        let token = random_string();
        let expires_at = rules.now + rules.life;
        if self.refresh.len() >= MOST_TOKENS && self.refresh.len().is_multiple_of(MOST_TOKENS) {
            self.refresh.retain(|_, entry| rules.now < entry.expires_at);
        }
        self.refresh.insert(token.clone(), RefreshToken { grant, expires_at, spent_at: None });
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.newest_refresh = Some(token.clone());
        }
        token
    }

    fn keep_access(&mut self, token: &str, entry: AccessToken, now: SystemTime) {
        if self.access.len() >= MOST_TOKENS && self.access.len().is_multiple_of(MOST_TOKENS) {
            self.access.retain(|_, entry| now < entry.expires_at);
        }
        self.access.insert(token.to_owned(), entry);
    }
}

fn overlaps(rules: RefreshRules, spent_at: SystemTime) -> bool {
    match rules.rotation {
        Rotation::Overlap(window) => rules.now <= spent_at + window,
        // Spent while rotation was on: spent it stays.
        Rotation::Strict | Rotation::Off => false,
    }
}

/// RFC 6749 §6: what is asked for must not exceed what was granted.
fn narrowed(granted: &str, asked: Option<&str>) -> Option<String> {
    let Some(asked) = asked else { return Some(granted.to_owned()) };
    let within = asked.split(' ').all(|scope| granted.split(' ').any(|known| known == scope));
    within.then(|| asked.to_owned())
}

/// From here on, expired tokens are dropped now and then.
const MOST_TOKENS: usize = 50_000;

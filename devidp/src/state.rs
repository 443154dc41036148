//! What the provider remembers: clients, users, logins, codes, grants and tokens.
//!
//! One lock over all of it, held for whole decisions: what is checked is spent before anybody else looks. That
//! is what makes two presentations of one refresh token always visible, however close they are. No I/O here.

mod grants;

use std::collections::HashMap;
use std::time::SystemTime;

use crate::crypto::{random_string, same};
use crate::settings::{Client, Settings, User};

pub(crate) use grants::{Granted, LiveToken, NewCode, RefreshRules, Refusal, TokenKind};

/// What the provider remembers.
#[derive(Debug)]
pub(crate) struct State {
    clients: HashMap<String, Client>,
    accounts: Vec<Account>,
    logins: HashMap<String, Login>,
    grants: grants::Grants,
}

#[derive(Debug)]
struct Account {
    user: User,
    enabled: bool,
}

/// One browser's login at the provider, found by its cookie.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) sub: String,
    pub(crate) sid: String,
    pub(crate) auth_time: SystemTime,
}

impl State {
    pub(crate) fn new(settings: &Settings) -> Self {
        let clients = settings.clients.iter().map(|client| (client.id.clone(), client.clone())).collect();
        let accounts =
            settings.users.iter().map(|user| Account { user: user.clone(), enabled: true }).collect();
        Self { clients, accounts, logins: HashMap::new(), grants: grants::Grants::default() }
    }

    pub(crate) fn register(&mut self, client: Client) {
        self.clients.insert(client.id.clone(), client);
    }

    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.get(id)
    }

    /// The client, if that is its secret.
    pub(crate) fn authenticate(&self, id: &str, secret: &str) -> Option<Client> {
        self.clients.get(id).filter(|client| same(&client.secret, secret)).cloned()
    }

    /// The user, if there is one that may log in.
    pub(crate) fn user(&self, sub: &str) -> Option<&User> {
        self.accounts
            .iter()
            .find(|account| account.user.sub == sub && account.enabled)
            .map(|account| &account.user)
    }

    pub(crate) fn users(&self) -> Vec<User> {
        self.accounts.iter().filter(|account| account.enabled).map(|account| account.user.clone()).collect()
    }

    pub(crate) fn update_user(&mut self, sub: &str, change: impl FnOnce(&mut User)) -> bool {
        let account = self.accounts.iter_mut().find(|account| account.user.sub == sub);
        account.map(|account| change(&mut account.user)).is_some()
    }

    pub(crate) fn add_user(&mut self, user: User) {
        self.accounts.retain(|account| account.user.sub != user.sub);
        self.accounts.push(Account { user, enabled: true });
    }

    pub(crate) fn set_enabled(&mut self, sub: &str, enabled: bool) -> bool {
        let account = self.accounts.iter_mut().find(|account| account.user.sub == sub);
        account.map(|account| account.enabled = enabled).is_some()
    }

    pub(crate) fn login(&self, cookie: &str) -> Option<&Login> {
        self.logins.get(cookie).filter(|login| self.user(&login.sub).is_some())
    }

    /// Logs a user in; the cookie's value, and the login.
    pub(crate) fn log_in(&mut self, sub: &str, now: SystemTime) -> (String, Login) {
        let cookie = random_string();
        let login = Login { sub: sub.to_owned(), sid: random_string(), auth_time: now };
        self.logins.insert(cookie.clone(), login.clone());
        (cookie, login)
    }

    /// Logs out whoever has this cookie or this `sid`.
    pub(crate) fn log_out(&mut self, cookie: Option<&str>, sid: Option<&str>) -> Option<Login> {
        let by_sid = || {
            self.logins.iter().find(|(_, login)| Some(login.sid.as_str()) == sid).map(|(key, _)| key.clone())
        };
        let key = cookie.filter(|&key| self.logins.contains_key(key)).map(str::to_owned).or_else(by_sid)?;
        self.logins.remove(&key)
    }
}

//! What operators hear of the store, and what they never hear.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Builder;

use super::server::{Options, Server};
use super::{done, key, open, swap, until};
use crate::base::secret::Secret;
use crate::store::StoreError;
use crate::store::settings::{Login, Redis};
use crate::telemetry::logs::tests::logged;
use crate::telemetry::settings::Settings;

/// What is logged at any level while `story` runs.
fn told(story: impl Future<Output = ()>) -> String {
    let settings = Settings { filter: Some("trace".to_owned()), ..Settings::default() };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    logged(&settings, || runtime.block_on(story))
}

#[test]
fn a_server_that_evicts_is_warned_of() {
    let mut skipped = false;
    let lines = told(async {
        let lines = ["maxmemory 100mb", "maxmemory-policy allkeys-lru"].map(str::to_owned).to_vec();
        let Some(server) = Server::start(Options { lines, ..Options::default() }).await else {
            skipped = true;
            return;
        };
        let store = open(&server.settings());
        done(&store, swap(key(), None, "x")).await;
        // The look goes on beside the first operations: the server has answered it when it was asked for.
        until("a look at the policy", || async {
            let asked: String = server.run(&["INFO", "commandstats"]);
            asked.contains("cmdstat_config|get:calls=").then_some(())
        })
        .await;
        for _ in 0..20 {
            done(&store, swap(key(), None, "x")).await;
        }
    });
    assert!(skipped || lines.contains(r#""policy":"allkeys-lru""#), "{lines}");
}

#[test]
fn a_server_that_evicts_nothing_is_not_warned_of() {
    let lines = told(async {
        let Some(server) = Server::start(Options::default()).await else { return };
        let store = open(&server.settings());
        for _ in 0..20 {
            done(&store, swap(key(), None, "x")).await;
        }
    });
    assert!(!lines.contains(r#""level":"WARN""#), "{lines}");
}

#[test]
fn no_password_no_value_and_no_answer_of_a_peer_is_logged() {
    let mut skipped = false;
    let lines = told(async {
        let lines = ["user default off", "user admin on >admin ~* &* +@all"].map(str::to_owned).to_vec();
        let Some(mut server) = Server::start(Options { lines, ..Options::default() }).await else {
            skipped = true;
            return;
        };
        let login = |password: &str| Login {
            username: Some("admin".to_owned()),
            password: Some(Secret::new(password.to_owned())),
        };
        let timeout = Duration::from_millis(300);
        let wrong = Redis { login: login("hunter2"), timeout, ..server.settings() };
        let refused = open(&wrong);
        until("a refusal", || async {
            refused.read(key()).await.err().filter(|error| *error == StoreError::Refused)
        })
        .await;
        let right = Redis { login: login("admin"), timeout, ..server.settings() };
        let store = open(&right);
        done(&store, swap(key(), None, "hunter2")).await;
        server.kill();
        until("an outage", || async { store.read(key()).await.err() }).await;
        server.begin().await;
        until("the loss to be noticed", || async { store.data_lost_at() }).await;
    });
    if !skipped {
        for told in ["login refused", "store connected", "the store has lost its data"] {
            assert!(lines.contains(told), "{told} is missing in\n{lines}");
        }
        for secret in ["hunter2", "WRONGPASS", "invalid username"] {
            assert!(!lines.contains(secret), "{secret} stands in\n{lines}");
        }
    }
}

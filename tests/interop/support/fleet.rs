//! Several gateways that share a Redis, before one provider.

use super::browser::Browser;
use super::gateway::{Gateway, Ports, free_port, make_key};
use super::provider::{self, Provider};
use super::redis::{self, Persistence, Redis};
use super::upstream::Upstream;
use super::{Setup, assert_unharmed, missing, signed_in};

/// Everything a test of a fleet talks to. Ends in this order: nobody logs what is gone already.
pub(crate) struct Fleet {
    pub(crate) replicas: Vec<Gateway>,
    pub(crate) provider: Provider,
    pub(crate) upstream: Upstream,
    pub(crate) redis: Redis,
}

impl Fleet {
    /// `None` where something of it cannot be had; that has been said then.
    pub(crate) async fn start(count: usize, persistence: Persistence, setup: Setup) -> Option<Self> {
        if let Err(why) = provider::available().and_then(|()| redis::available()) {
            missing(&why);
            return None;
        }
        let redis = Redis::start(persistence).await;
        let upstream = Upstream::start().await;
        let public = free_port();
        let provider = Provider::start(public, &setup).await;
        let store = format!("store: {{ kind: redis, url: \"{}\" }}\n{}", redis.url(), setup.more);
        let setup = Setup { more: Box::leak(store.into_boxed_str()), ..setup };
        let key = make_key();
        let mut replicas = Vec::new();
        for number in 0..count {
            let own = if number == 0 { public } else { free_port() };
            let ports = Ports { public, own };
            replicas.push(Gateway::replica(ports, &key, &provider, &upstream, &setup).await);
        }
        Some(Self { replicas, provider, upstream, redis })
    }

    /// A browser that has logged in at the first replica.
    pub(crate) async fn signed_in(&self, account: &str) -> Browser {
        signed_in(&self.replicas[0].url, account).await
    }

    /// A tab whose requests reach the replica `number`, counted round.
    pub(crate) fn tab(&self, browser: &Browser, number: usize) -> Browser {
        browser.through(self.replicas[number % self.replicas.len()].port)
    }

    /// See [`assert_unharmed`].
    pub(crate) async fn assert_unharmed(&self, browser: &Browser) {
        assert_unharmed(&self.provider, &self.upstream, browser).await;
    }
}

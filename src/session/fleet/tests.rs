//! Replicas beside each other over one store; a provider whose answers are held.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Request, Response};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::Handle;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep};

use super::*;
use crate::base::http_client::{HttpClient, Limits, TransportError};
use crate::base::tasks::Tasks;
use crate::base::time::Clock;
use crate::jwt::forge::P256;
use crate::oidc::script::{ISSUER, least_metadata};
use crate::session::codec;
use crate::session::cookie::jar::Jar;
use crate::session::cookie::seal::Purpose;
use crate::session::refresh::flight::fly;
use crate::session::refresh::record::tests::session;
use crate::session::refresh::record::{Ask as Wish, Attempt};
use crate::session::sessions::{Admitted, Sessions, Surroundings};
use crate::session::settings::Settings;
use crate::session::settings::tests::settings;
use crate::store::memory::MemoryStore;
use crate::store::{Found, Swap, Swapped, Version};

mod forgetting;
mod judging;
mod strange;

/// Time as tokio's, which tests move.
#[derive(Debug)]
struct Moved(Instant);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        START.plus(self.0.elapsed())
    }
}

/// A provider that rotates, takes a role away, and counts.
#[derive(Debug, Default)]
struct Provider {
    refreshes: AtomicUsize,
    /// Whoever holds it for writing keeps the keys from being fetched.
    keys: RwLock<()>,
}

impl Provider {
    fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::SeqCst)
    }

    fn tokens(&self, now: Timestamp) -> serde_json::Value {
        let number = self.refreshes.fetch_add(1, Ordering::SeqCst) + 2;
        let claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": "bearward", "role": "user",
            "iat": now.as_secs(), "exp": now.as_secs() + 300,
        });
        json!({
            "access_token": format!("at-{number}"), "refresh_token": format!("rt-{number}"),
            "id_token": P256.token("ES256", json!({ "kid": "a" }), &claims),
            "token_type": "Bearer", "expires_in": 300,
        })
    }
}

/// One replica's line to the provider.
#[derive(Debug)]
struct Line(Arc<Provider>, Arc<Moved>);

impl HttpClient for Line {
    fn send(
        &self,
        request: Request<Bytes>,
        _: Limits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let body = if path.ends_with("/token") {
                self.0.tokens(self.1.now())
            } else if path.ends_with("/jwks") {
                let _open = self.0.keys.read().await;
                json!({ "keys": [P256.jwk(json!({ "kid": "a" }))] })
            } else {
                least_metadata()
            };
            let response = Response::builder().header("content-type", "application/json");
            Ok(response.body(Bytes::from(body.to_string())).unwrap())
        })
    }
}

/// What replicas share.
struct World {
    clock: Arc<Moved>,
    provider: Arc<Provider>,
    store: Arc<dyn Store>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Moved(Instant::now()));
        let store = Arc::new(MemoryStore::new(Arc::clone(&clock) as Arc<dyn Clock>));
        Self { clock, provider: Arc::default(), store }
    }

    fn replica(&self) -> Sessions {
        self.replica_with(settings())
    }

    fn replica_with(&self, settings: Settings) -> Sessions {
        let clock = Arc::new(SharedClock::new(Arc::clone(&self.clock) as Arc<dyn Clock>));
        let line = Arc::new(Line(Arc::clone(&self.provider), Arc::clone(&self.clock)));
        let time: Arc<dyn Clock> = Arc::<SharedClock>::clone(&clock);
        let provider = crate::oidc::Provider::new(crate::oidc::script::settings(), line, Arc::clone(&time));
        let outage =
            Outage { denials: Denials::Open, refresh: RefreshAlone::Local, after: Duration::from_secs(10) };
        let store = Arc::clone(&self.store);
        let fleet = Some(Means { store, clock, outage, timeout: Duration::from_secs(1) });
        let tasks = Tasks::new(Handle::current());
        let surroundings = Surroundings { clock: time, tasks, metrics: Metrics::new(), fleet };
        let settings = Settings { claims: vec!["role".to_owned()], ..settings };
        Sessions::new(settings, Arc::new(provider), surroundings).unwrap()
    }

    /// A session of which only its cookie is known.
    fn session(&self) -> Arc<Session> {
        let mut first = session(1);
        first.identity.issuer = ISSUER.to_owned();
        first.claims.insert("role".to_owned(), "admin".into());
        Arc::new(first)
    }

    async fn stored(&self, replica: &Sessions, sid: SessionId) -> Option<Box<Stored>> {
        replica.shared().fleet.as_ref().unwrap().look_up(sid).await.unwrap()
    }
}

/// The cookies of `session`, as a browser sends them.
fn cookies(replica: &Sessions, session: &Session) -> HeaderMap {
    let (_, set) = replica.shared().seal_for_all(session).unwrap();
    let pairs: Vec<_> =
        set.iter().map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap()).collect();
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(&pairs.join("; ")).unwrap());
    headers
}

async fn admit(replica: &Sessions, headers: &HeaderMap) -> Admitted {
    replica.admit(&Jar::read(headers, replica.names()), Wish::Usual).await
}

/// Begins the refresh of `session` at a replica that knows it.
fn refresh(replica: &Sessions, session: &Arc<Session>) -> tokio::task::JoinHandle<()> {
    let shared = replica.shared();
    shared.registry.insert(Arc::clone(session), shared.now());
    let attempt = Attempt { from: Arc::clone(session), repeat: Repeat::First };
    Tasks::new(Handle::current()).spawn(fly(shared, attempt))
}

fn role(session: &Session) -> &str {
    session.claims["role"].as_str().unwrap()
}

/// Waits until `probe` has something.
async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut probe: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

const START: Timestamp = crate::session::refresh::record::tests::START;

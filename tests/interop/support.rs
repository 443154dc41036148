//! A provider, the gateway, an upstream and a browser, wired together.

pub(crate) mod browser;
pub(crate) mod cookies;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod provider;
pub(crate) mod redis;
pub(crate) mod upstream;

use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use browser::Browser;
use gateway::Gateway;
use provider::{Provider, Seen};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use upstream::Upstream;

/// What a test may want otherwise.
pub(crate) struct Setup {
    /// The life of an access token in seconds. The gateway uses it for one second less.
    pub token_life: u64,
    /// The provider's pause before each answer of the token endpoint, in milliseconds.
    pub delay: (u64, u64),
    /// Lines below `provider:` in the gateway's file.
    pub provider: &'static str,
    /// Lines at the top level of the gateway's file.
    pub more: &'static str,
}

impl Default for Setup {
    fn default() -> Self {
        Self { token_life: 5, delay: (100, 400), provider: "", more: "" }
    }
}

/// Everything a test talks to.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Provider,
    pub(crate) upstream: Upstream,
}

impl World {
    /// `None` where the provider cannot be had; that has been said then.
    pub(crate) async fn start(setup: Setup) -> Option<Self> {
        if let Err(why) = provider::available() {
            missing(&why);
            return None;
        }
        let upstream = Upstream::start().await;
        let port = gateway::free_port();
        let provider = Provider::start(port, &setup).await;
        let gateway = Gateway::start(port, &provider, &upstream, &setup).await;
        Some(Self { gateway, provider, upstream })
    }

    /// A browser that has logged in.
    pub(crate) async fn signed_in(&self, account: &str) -> Browser {
        signed_in(&self.gateway.url, account).await
    }

    /// See [`assert_unharmed`].
    pub(crate) async fn assert_unharmed(&self, browser: &Browser) {
        assert_unharmed(&self.provider, &self.upstream, browser).await;
    }
}

/// What must hold whatever happened: no expired bearer upstream, no refresh token spent twice, the session's cookie
/// never deleted, one login, its grant alive.
pub(crate) async fn assert_unharmed(provider: &Provider, upstream: &Upstream, browser: &Browser) {
    let seen = provider.seen().await;
    assert_eq!(upstream.violations(), [""; 0]);
    assert_eq!(seen.spent_twice(), [""; 0], "{seen:#?}");
    assert_eq!(browser.deletions(), [""; 0]);
    assert_eq!(seen.grants.len(), 1, "another login took place: {seen:#?}");
    assert!(seen.grants[0].alive, "the grant was revoked: {seen:#?}");
}

/// A browser that has logged in at the gateway of `url`.
pub(crate) async fn signed_in(url: &str, account: &str) -> Browser {
    let browser = Browser::new(url);
    let page = browser.navigate(&format!("/oauth2/login?rd=/app/&login_hint={account}")).await;
    assert_eq!((page.status, page.url.path()), (200, "/app/"), "{}", page.text());
    let told = browser.fetch("/api/whoami").await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(told.json()["sub"], account);
    browser
}

/// Says that a test cannot run here.
pub(crate) fn missing(why: &str) {
    assert!(std::env::var("CI").is_err(), "cannot run in CI: {why}");
    use std::io::Write as _;
    // Past the test harness, which hides what passing tests print.
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    drop(writeln!(std::io::stderr(), "SKIPPED {name}: {why}"));
}

/// Waits until `probe` has something, at most `limit`.
pub(crate) async fn until<T, F>(what: &str, limit: Duration, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the provider has seen what `probe` looks for.
pub(crate) async fn until_seen<T>(
    provider: &Provider,
    what: &str,
    limit: Duration,
    probe: impl Fn(&Seen) -> Option<T>,
) -> T {
    until(what, limit, || async { probe(&provider.seen().await) }).await
}

/// Waits until the access token that `answer` of the API tells of has expired.
pub(crate) async fn until_expired(answer: &Value) {
    let expires_at = answer["exp"].as_f64().unwrap();
    sleep(Duration::from_secs_f64((expires_at - wall_clock()).max(0.0))).await;
}

/// Seconds since 1970.
pub(crate) fn wall_clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

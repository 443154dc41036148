//! A session without a login: its cookie is sealed here with the gateway's key, as an older generation.

use std::sync::Arc;
use std::time::Duration;

use bearward::base::secret::Secret;
use bearward::base::tasks::Tasks;
use bearward::base::time::{Clock, SystemClock, Timestamp};
use bearward::base::{http_client, tls};
use bearward::oidc::Provider;
use bearward::oidc::settings::{ClientAuth, Settings as ProviderSettings};
use bearward::session::codec;
use bearward::session::cookie::jar::Jar;
use bearward::session::cookie::seal::{Purpose, Sealer};
use bearward::session::model::{Identity, Session, SessionId, Tokens, bearer};
use bearward::session::refresh::record::Ask;
use bearward::session::sessions::{Admitted, Sessions, Surroundings};
use bearward::session::settings::{
    AfterUnknown, Cookie, KeepIdToken, Key, Rollback, SameSite, Secure, Settings,
};
use bearward::telemetry::metrics::Metrics;
use http::{HeaderMap, HeaderValue};
use tokio::runtime::Handle;

/// What the answer to a request with [`session_cookie`] sets.
pub(crate) const NEXT_COOKIE: &str = "__Host-bearward=1.k.";

const NAME: &str = "__Host-bearward";

/// A `Cookie` line of generation 1; the gateway knows of generation 2 and sends it with every answer.
pub(crate) fn session_cookie() -> String {
    sealed(1)
}

/// A request head with the session's cookie and an origin of our own, complete.
pub(crate) fn with_session(head: &str) -> String {
    format!("{head}Origin: https://app.example\r\nCookie: {}\r\n\r\n", session_cookie())
}

/// Sessions that know one, and a provider that is never asked.
pub(crate) async fn sessions(clock: &Arc<dyn Clock>, metrics: &Metrics) -> (Sessions, Arc<Provider>) {
    let http = http_client::NetworkClient::new(&tls::trusting_nobody());
    let provider = Arc::new(Provider::new(provider(), Arc::new(http), Arc::clone(clock)));
    let tasks = Tasks::new(Handle::current());
    let sessions =
        Sessions::new(settings(), Arc::clone(&provider), surroundings(clock, tasks, metrics)).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("cookie", HeaderValue::from_str(&sealed(2)).unwrap());
    let admitted = sessions.admit(&Jar::read(&headers, sessions.names()), Ask::Usual).await;
    assert!(matches!(admitted, Admitted::Ticket(_)), "{admitted:?}");
    (sessions, provider)
}

fn surroundings(clock: &Arc<dyn Clock>, tasks: Tasks, metrics: &Metrics) -> Surroundings {
    Surroundings { clock: Arc::clone(clock), tasks, metrics: metrics.clone(), fleet: None }
}

fn key() -> Key {
    Key { id: "k".to_owned(), bytes: Secret::new([7; 32]) }
}

fn sealed(generation: u64) -> String {
    let now = SystemClock.now();
    let session = Session {
        sid: SessionId::from_bytes([3; 16]),
        generation,
        identity: Identity {
            issuer: "http://127.0.0.1:9".to_owned(),
            subject: "alice".to_owned(),
            provider_sid: None,
            auth_time: None,
            nonce: "n".to_owned(),
        },
        login_at: now,
        refreshed_at: now,
        seen_at: now,
        expires_at: now.plus(Duration::from_secs(3600)),
        tokens: Tokens {
            bearer: bearer("of-the-session").unwrap(),
            access_expires_at: Timestamp::from_millis(now.as_millis() + 3_600_000),
            refresh: None,
            id_token: None,
            scope: "openid".to_owned(),
        },
        claims: serde_json::Map::new(),
    };
    let sealer = Sealer::new(&[key()], Purpose::Session, NAME).unwrap();
    format!("{NAME}={}", sealer.seal(codec::encode(&session).unwrap()).unwrap())
}

fn settings() -> Settings {
    Settings {
        keys: vec![key()],
        cookie: Cookie { name: NAME.to_owned(), same_site: SameSite::Lax, secure: Secure::Required },
        lifetime: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(3600),
        grace: Duration::from_secs(300),
        rollback: Rollback::End,
        after_unknown: AfterUnknown::RetryOnce,
        refresh_wait: Duration::from_secs(10),
        claims: Vec::new(),
        keep_id_token: KeepIdToken::Drop,
        capacity: 100,
    }
}

fn provider() -> ProviderSettings {
    ProviderSettings {
        issuer: "http://127.0.0.1:9".to_owned(),
        client_id: "bearward".to_owned(),
        client_auth: ClientAuth::Basic(Secret::new("secret".to_owned())),
        scopes: vec!["openid".to_owned()],
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        resources: Vec::new(),
        require_refresh_token: false,
        id_token_algorithms: vec!["ES256".to_owned()],
        trusted_audiences: Vec::new(),
        clock_leeway: Duration::from_secs(60),
        ca_file: None,
        timeout: Duration::from_secs(10),
        default_token_life: Duration::from_secs(300),
        post_logout_redirect_uri: None,
        redirect_uri: "https://app.example/oauth2/callback".parse().unwrap(),
    }
}

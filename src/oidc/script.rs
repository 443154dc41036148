//! A scripted provider for tests: a reply per path, a record of what was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use url::Url;

use super::settings::{ClientAuth, Settings};
use super::{Provider, TokenAnswer};
use crate::base::http_client::{HttpClient, Limits, TransportError};
use crate::base::secret::Secret;
use crate::base::time::{Clock, ManualClock, Timestamp};
use crate::jwt::forge::P256;

pub(crate) const ISSUER: &str = "https://id.example.com/realm";
pub(super) const NOW: i64 = 1_800_000_000;

/// What the provider says at one path.
#[derive(Clone)]
pub(super) struct Reply(pub(super) Result<Said, TransportError>);

/// Status, header fields, body.
pub(super) type Said = (u16, Vec<(&'static str, String)>, String);

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self(Ok((status, vec![("content-type", "application/json".to_owned())], body.to_owned())))
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let (_, headers, _) = self.0.as_mut().unwrap();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value.to_owned()));
        self
    }
}

/// One request as it was sent.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) authorization: Option<String>,
    pub(super) form: Vec<(String, String)>,
}

impl Asked {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
pub(super) struct Script {
    replies: Mutex<HashMap<String, Reply>>,
    pub(super) asked: Mutex<Vec<Asked>>,
    /// Whoever holds it for writing stops all answers.
    pub(super) gate: RwLock<()>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) fn reply(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path == path).count()
    }

    pub(super) fn keys(&self, keys: &[Value]) {
        self.reply("/jwks", Reply::json(200, &json!({"keys": keys})));
    }
}

impl HttpClient for Script {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        assert_eq!(limits, Limits::within(Duration::from_secs(10)));
        let authorization = request.headers().get("authorization");
        let path = request.uri().path().to_owned();
        self.asked.lock().unwrap().push(Asked {
            method: request.method().to_string(),
            path: path.clone(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            form: url::form_urlencoded::parse(request.body()).into_owned().collect(),
        });
        Box::pin(async move {
            let _open = self.gate.read().await;
            let reply = self.replies.lock().unwrap().get(&path).cloned();
            let (status, headers, body) = reply.expect("a path of the script").0?;
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Bytes::from(body)).unwrap())
        })
    }
}

pub(super) struct World {
    pub(super) provider: Arc<Provider>,
    pub(super) script: Arc<Script>,
    pub(super) clock: Arc<ManualClock>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(settings())
    }

    /// A provider that publishes good metadata and the key [`P256`] as `a`.
    pub(super) fn with(settings: Settings) -> Self {
        let script = Arc::new(Script::default());
        script.reply("/realm/.well-known/openid-configuration", Reply::json(200, &metadata()));
        script.keys(&[P256.jwk(json!({"kid": "a"}))]);
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(NOW)));
        let http: Arc<dyn HttpClient> = Arc::<Script>::clone(&script);
        let time: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        Self { provider: Arc::new(Provider::new(settings, http, time)), script, clock }
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub(super) fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": "https://id.example.com/authorize?tenant=a%20b",
        "token_endpoint": "https://id.example.com/token",
        "jwks_uri": "https://keys.example.com/jwks",
        "revocation_endpoint": "https://id.example.com/revoke",
        "end_session_endpoint": "https://id.example.com/logout?x=1",
        "code_challenge_methods_supported": ["plain", "S256"],
        "something_new": {"a": [1]},
    })
}

/// What a provider must say, every endpoint below [`ISSUER`].
pub(crate) fn least_metadata() -> Value {
    json!({
        "issuer": ISSUER, "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"), "jwks_uri": format!("{ISSUER}/jwks"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
    })
}

pub(crate) fn settings() -> Settings {
    Settings {
        issuer: ISSUER.to_owned(),
        client_id: "bearward".to_owned(),
        client_auth: ClientAuth::Basic(Secret::new("client secret".to_owned())),
        scopes: vec!["openid".to_owned(), "offline_access".to_owned()],
        authorization_params: Vec::new(),
        token_params: Vec::new(),
        resources: Vec::new(),
        require_refresh_token: false,
        id_token_algorithms: vec!["RS256".to_owned(), "ES256".to_owned()],
        trusted_audiences: vec!["friend".to_owned()],
        clock_leeway: Duration::from_secs(60),
        ca_file: None,
        timeout: Duration::from_secs(10),
        default_token_life: Duration::from_secs(300),
        post_logout_redirect_uri: Some(Url::parse("https://app.example.com/bye").unwrap()),
        redirect_uri: Url::parse("https://app.example.com/oauth2/callback").unwrap(),
    }
}

pub(super) fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// Claims that hold at [`NOW`] with nonce `n`.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "alice", "aud": "bearward", "exp": NOW + 300, "iat": NOW - 1, "nonce": "n",
        "sid": "s1", "auth_time": NOW - 10,
    })
}

/// An answer with this ID token and the access token `at`.
pub(super) fn answer(id_token: Option<String>) -> TokenAnswer {
    TokenAnswer {
        access_token: secret("at"),
        refresh_token: None,
        id_token: id_token.map(Secret::new),
        access_expires_at: Timestamp::from_secs(NOW + 300),
        sent_at: Timestamp::from_secs(NOW),
        scope: None,
        session_expires_in: None,
    }
}

/// An ID token signed with [`P256`] under the key id `a`.
pub(super) fn id_token(claims: &Value) -> String {
    P256.token("ES256", json!({"kid": "a"}), claims)
}

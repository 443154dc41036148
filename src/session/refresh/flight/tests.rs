//! What a flight does that only its loss shows.

use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde_json::json;
use tokio::runtime::Handle;

use super::*;
use crate::base::http_client::{HttpClient, Limits, TransportError};
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, SystemClock};
use crate::oidc::Provider;
use crate::oidc::script::{ISSUER, least_metadata};
use crate::session::refresh::record::tests::session;
use crate::session::sessions::{Sessions, Surroundings};

/// A provider that rotates, and whose keys never arrive.
#[derive(Debug)]
struct WithoutKeys;

impl HttpClient for WithoutKeys {
    fn send(
        &self,
        request: Request<bytes::Bytes>,
        _: Limits,
    ) -> BoxFuture<'_, Result<Response<bytes::Bytes>, TransportError>> {
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let body = match path.as_str() {
                path if path.ends_with("/token") => json!({
                    "access_token": "at-2", "refresh_token": "rt-2", "id_token": id_token(),
                    "token_type": "Bearer", "expires_in": 300,
                }),
                path if path.ends_with("/jwks") => std::future::pending().await,
                _ => least_metadata(),
            };
            let response = Response::builder().header("content-type", "application/json");
            Ok(response.body(bytes::Bytes::from(body.to_string())).unwrap())
        })
    }
}

/// Every rule about claims holds; the signature is for the keys to judge.
fn id_token() -> String {
    let now = SystemClock.now().as_secs();
    let header = json!({ "alg": "ES256", "kid": "a" });
    let claims = json!({ "iss": ISSUER, "sub": "alice", "aud": "bearward", "iat": now, "exp": now + 300 });
    let encode = |part: &[u8]| base64_simd::URL_SAFE_NO_PAD.encode_to_string(part);
    let (header, claims) = (encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    format!("{header}.{claims}.{}", encode(&[7; 64]))
}

#[tokio::test]
async fn a_flight_that_is_lost_after_the_answer_loses_no_token() {
    // Rule 3: the successor is kept before its ID token is looked at.
    let provider =
        Provider::new(crate::oidc::script::settings(), Arc::new(WithoutKeys), Arc::new(SystemClock));
    let sessions = Sessions::new(
        crate::session::settings::tests::settings(),
        Arc::new(provider),
        Surroundings {
            clock: Arc::new(SystemClock),
            tasks: Tasks::new(Handle::current()),
            metrics: crate::telemetry::metrics::Metrics::new(),
            fleet: None,
        },
    )
    .unwrap();
    let shared = sessions.shared();
    let now = SystemClock.now();
    let mut first = session(1);
    first.identity.issuer = ISSUER.to_owned();
    (first.login_at, first.seen_at, first.expires_at) = (now, now, now.plus(Duration::from_secs(3600)));
    let first = Arc::new(first);
    shared.registry.insert(Arc::clone(&first), now);
    let attempt = Attempt { from: Arc::clone(&first), repeat: Repeat::First };
    let lost = tokio::time::timeout(Duration::from_millis(300), fly(Arc::clone(&shared), attempt)).await;
    assert!(lost.is_err(), "it waits for the keys");
    let newest = shared.registry.newest(&first.sid).unwrap();
    assert_eq!(newest.generation, 2);
    assert_eq!(newest.tokens.refresh.as_ref().unwrap().expose(), "rt-2");
}

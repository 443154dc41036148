//! Which certificate is shown to whom, what clients show, and both under a reload.

use std::sync::Arc;

use bearward::base::tls;
use bearward::base::tls::server::{ClientAuth, ClientAuthMode, MinVersion, Terms, UnknownName};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_rustls::FixedServerNameResolver;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::gateway::Wanted;
use crate::support::tls::{Authority, Dialed, der};
use crate::support::upstream::Upstream;

const GET: &str = "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\n\r\nx";

#[tokio::test]
async fn a_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let authority = Authority::new();
    let first = authority.sign("first", &["app.example", "127.0.0.1"]);
    let second = authority.sign("second", &["*.apps.example"]);
    let upstream = Upstream::start().await;
    for unknown_name in [UnknownName::First, UnknownName::Refuse] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.tls = Some(first.clone());
        wanted.more_certificates = vec![second.clone()];
        wanted.terms = Terms { unknown_name, ..Terms::default() };
        let gateway = wanted.start().await;
        let client = authority.client();
        for (name, files) in [("app.example", &first), ("other.apps.example", &second)] {
            let dialed = client.dial(gateway.address, name).await.unwrap();
            assert_eq!(dialed.shown(), der(&files.cert), "{name}");
            assert_eq!(dialed.call(GET).await.unwrap().1, 200);
        }
        // Whoever asks for no name.
        let unnamed = client.dial(gateway.address, "127.0.0.1").await;
        match unknown_name {
            UnknownName::First => assert_eq!(unnamed.unwrap().shown(), der(&first.cert)),
            UnknownName::Refuse => assert!(unnamed.is_err()),
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_connection_and_the_one_before_goes_on() {
    let authority = Authority::new();
    let files = authority.sign("app", &["app.example"]);
    let upstream = Upstream::start().await;
    let wanted = || {
        let mut wanted = Wanted::before(upstream.address);
        wanted.tls = Some(files.clone());
        wanted.workers = 2;
        wanted
    };
    let mut gateway = wanted().start().await;
    let client = authority.client();
    let before = client.dial(gateway.address, "app.example").await.unwrap();
    let old = before.shown();
    let (before, status, _) = before.call(GET).await.unwrap();
    assert_eq!(status, 200);
    assert!(gateway.reload(&wanted()).await.unwrap().is_empty(), "nothing has changed");
    // Half of a pair changes nothing.
    let key = std::fs::read(&files.key).unwrap();
    authority.sign("app", &["app.example"]);
    let next = std::fs::read(&files.key).unwrap();
    std::fs::write(&files.key, key).unwrap();
    assert!(gateway.reload(&wanted()).await.is_err());
    assert_eq!(client.dial(gateway.address, "app.example").await.unwrap().shown(), old);
    std::fs::write(&files.key, next).unwrap();
    assert_eq!(gateway.reload(&wanted()).await.unwrap(), [gateway.address]);
    let new = der(&files.cert);
    assert_ne!(old, new);
    // Enough connections that each worker accepts some.
    for _ in 0..8 {
        let dialed = client.dial(gateway.address, "app.example").await.unwrap();
        assert_eq!(dialed.shown(), new);
        assert_eq!(dialed.call(GET).await.unwrap().1, 200);
    }
    assert_eq!(before.call(GET).await.unwrap().1, 200);
}

#[tokio::test]
async fn versions_below_the_oldest_one_are_not_spoken() {
    let authority = Authority::new();
    let files = authority.sign("app", &["app.example"]);
    let upstream = Upstream::start().await;
    for (min_version, spoken) in [(MinVersion::V1_2, true), (MinVersion::V1_3, false)] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.tls = Some(files.clone());
        wanted.terms = Terms { min_version, ..Terms::default() };
        let gateway = wanted.start().await;
        let old = authority.client().only_1_2().dial(gateway.address, "app.example").await;
        assert_eq!(old.is_ok(), spoken, "{min_version:?}");
        assert!(authority.client().dial(gateway.address, "app.example").await.is_ok());
    }
}

/// What the upstream was told in `Client-Cert`, on the fast path and on the long one.
async fn told(dialed: Dialed) -> std::io::Result<[serde_json::Value; 2]> {
    let spoofed = |request: &str| {
        request.replacen("\r\n\r\n", "\r\nClient-Cert: :QQ==:\r\nClient-Cert-Chain: :QQ==:\r\n\r\n", 1)
    };
    let mut told = Vec::new();
    let mut dialed = Some(dialed);
    for request in [GET, POST] {
        let (again, status, body) = dialed.take().unwrap().call(&spoofed(request)).await?;
        dialed = Some(again);
        assert_eq!(status, 200);
        let seen: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(seen["headers"]["client-cert-chain"], serde_json::Value::Null);
        told.push(seen["headers"]["client-cert"].clone());
    }
    Ok(told.try_into().unwrap())
}

// RFC 9440 §2.4
#[tokio::test]
async fn a_clients_certificate_is_verified_and_told_and_never_taken_from_a_field() {
    let authority = Authority::new();
    let files = authority.sign("app", &["app.example"]);
    let own = authority.sign("client", &["client.example"]);
    let strangers = Authority::new();
    let foreign = strangers.sign("client", &["client.example"]);
    let upstream = Upstream::start().await;
    for mode in [None, Some(ClientAuthMode::Optional), Some(ClientAuthMode::Required)] {
        let mut wanted = Wanted::before(upstream.address);
        wanted.tls = Some(files.clone());
        let client_auth = mode.map(|mode| ClientAuth { ca_file: authority.ca_file(), mode });
        wanted.terms = Terms { client_auth, ..Terms::default() };
        let gateway = wanted.start().await;
        let client = authority.client();
        // TLS 1.3 tells a client only when it reads that its certificate was missing or bad.
        let called = async |client: crate::support::tls::Dialer| {
            told(client.dial(gateway.address, "app.example").await?).await
        };
        let nobody = called(client.clone()).await;
        match mode {
            Some(ClientAuthMode::Required) => assert!(nobody.is_err()),
            Some(ClientAuthMode::Optional) | None => {
                assert_eq!(nobody.unwrap(), [serde_json::Value::Null, serde_json::Value::Null]);
            }
        }
        if mode.is_none() {
            assert!(client.resumes(gateway.address, "app.example", GET).await);
            continue;
        }
        // A resumed session would not show its certificate again.
        for showing in [client.clone().showing(&own), client.clone().showing(&own).only_1_2()] {
            assert!(!showing.resumes(gateway.address, "app.example", GET).await, "{mode:?}");
        }
        let expected = base64_simd::STANDARD.encode_to_string(der(&own.cert));
        let expected = serde_json::json!([format!(":{expected}:")]);
        for client in [client.clone().showing(&own), client.clone().showing(&own).only_1_2()] {
            assert_eq!(called(client).await.unwrap(), [expected.clone(), expected.clone()], "{mode:?}");
        }
        assert!(called(client.showing(&foreign)).await.is_err(), "{mode:?}");
    }
}

// std:116, RFC 9113 §9.1.1
#[tokio::test]
async fn a_request_on_a_connection_of_another_name_is_misdirected() {
    let authority = Authority::new();
    let upstream = Upstream::start().await;
    let mut wanted = Wanted::before(upstream.address);
    wanted.tls = Some(authority.sign("first", &["app.example"]));
    wanted.more_certificates = vec![authority.sign("second", &["localhost"])];
    let gateway = wanted.start().await;
    let config = Arc::unwrap_or_clone(tls::client_config(Some(&authority.ca_file())).unwrap());
    for (name, expected) in [("localhost", 200), ("app.example", 421)] {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(name.try_into().unwrap()))
            .enable_http2()
            .build();
        let client =
            Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(connector);
        let uri = format!("https://localhost:{}/a", gateway.address.port());
        let answer = client.request(Request::get(uri).body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), expected, "{name}");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"] == "misdirected", expected == 421, "{body}");
    }
}

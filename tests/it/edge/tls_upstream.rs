//! Upstreams behind TLS. A second gateway plays the upstream.

use bearward::base::tls::server::MinVersion;
use bearward::edge::settings::TlsFiles;

use crate::support::gateway::{Wanted, certificate, certificate_for, endpoint};
use crate::support::raw::Raw;
use crate::support::tls::Authority;
use crate::support::tls_server::TlsServer;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn a_verified_upstream_is_served_in_both_versions() {
    let (_folder, cert, key) = certificate();
    let upstream = Upstream::start().await;
    let mut inner = Wanted::before(upstream.address);
    inner.tls = Some(TlsFiles { cert: cert.clone(), key });
    let inner = inner.start().await;
    for (http2, version) in [(false, "1.1 bearward-"), (true, "2 bearward-")] {
        let mut outer = Wanted::before(upstream.address);
        outer.upstream.endpoints = vec![endpoint(&format!("https://localhost:{}", inner.address.port()))];
        outer.upstream.ca_file = Some(cert.clone());
        outer.upstream.http2 = http2;
        let outer = outer.start().await;
        let mut client = Raw::connect(outer.address).await;
        for _ in 0..2 {
            let seen = client.call("GET /a?b HTTP/1.1\r\nHost: app.example\r\n\r\n").await.json();
            assert_eq!(seen["uri"], "/a?b");
            assert_eq!(seen["headers"]["host"], serde_json::json!(["app.example"]));
            // The inner one saw the outer one's Via, and its own is the second.
            let via = seen["headers"]["via"].as_array().unwrap();
            assert!(via[1].as_str().unwrap().starts_with(version), "{via:?}");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_cannot_prove_itself_is_a_502() {
    let (_folder, cert, key) = certificate();
    let (_other_folder, other, _) = certificate();
    let (_named_folder, named, named_key) = certificate_for("other.example");
    let upstream = Upstream::start().await;
    for (files, trusted, what) in [
        (TlsFiles { cert, key }, other, "an unknown issuer"),
        (TlsFiles { cert: named.clone(), key: named_key }, named, "another name"),
    ] {
        let mut inner = Wanted::before(upstream.address);
        inner.tls = Some(files);
        let inner = inner.start().await;
        let mut outer = Wanted::before(upstream.address);
        outer.upstream.endpoints = vec![endpoint(&format!("https://localhost:{}", inner.address.port()))];
        outer.upstream.ca_file = Some(trusted);
        let outer = outer.start().await;
        let mut client = Raw::connect(outer.address).await;
        assert_eq!(client.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status, 502, "{what}");
    }
    assert_eq!(upstream.requests(), 0);
}

fn before(server: &TlsServer, host: &str, authority: &Authority) -> Wanted {
    let mut wanted = Wanted::before(server.address);
    wanted.upstream.endpoints = vec![endpoint(&format!("https://{host}:{}", server.address.port()))];
    wanted.upstream.ca_file = Some(authority.ca_file());
    wanted
}

async fn status(wanted: Wanted) -> u16 {
    let gateway = wanted.start().await;
    Raw::connect(gateway.address).await.call("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status
}

#[tokio::test]
async fn an_upstream_that_demands_a_certificate_is_shown_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = TlsServer::start(
        &authority.sign("localhost", &["localhost"]),
        Some(&authority),
        rustls::ALL_VERSIONS,
    )
    .await;
    for (client, expected) in [
        (Some(authority.sign("gateway", &["gateway.example"])), 200),
        (None, 502),
        (Some(other.sign("gateway", &["gateway.example"])), 502),
        (Some(authority.sign_expired("gateway-expired", &["gateway.example"])), 502),
    ] {
        let what = format!("{client:?}");
        let mut wanted = before(&server, "localhost", &authority);
        wanted.upstream.tls.client = client;
        assert_eq!(status(wanted).await, expected, "{what}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_upstream_is_who_its_certificate_says_or_nobody() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good =
        TlsServer::start(&authority.sign("orders", &["orders.internal"]), None, rustls::ALL_VERSIONS).await;
    let old = authority.sign_expired("orders-expired", &["orders.internal"]);
    let old = TlsServer::start(&old, None, rustls::ALL_VERSIONS).await;
    for (server, host, name, trusted, expected) in [
        (&good, "localhost", Some("orders.internal"), &authority, 200),
        // An address, which the name makes possible.
        (&good, "127.0.0.1", Some("orders.internal"), &authority, 200),
        (&good, "localhost", None, &authority, 502),
        (&good, "127.0.0.1", Some("other.internal"), &authority, 502),
        (&good, "localhost", Some("orders.internal"), &other, 502),
        (&old, "localhost", Some("orders.internal"), &authority, 502),
    ] {
        let before_it = server.requests();
        let mut wanted = before(server, host, trusted);
        wanted.upstream.tls.server_name = name.map(str::to_owned);
        assert_eq!(status(wanted).await, expected, "{host} {name:?}");
        assert_eq!(server.requests() - before_it, usize::from(expected == 200));
    }
}

#[tokio::test]
async fn an_older_version_than_is_allowed_is_sent_nothing() {
    let authority = Authority::new();
    let files = authority.sign("localhost", &["localhost"]);
    let server = TlsServer::start(&files, None, &[&rustls::version::TLS12]).await;
    let mut wanted = before(&server, "localhost", &authority);
    wanted.upstream.tls.least = MinVersion::V1_3;
    assert_eq!(status(wanted).await, 502);
    assert_eq!(server.requests(), 0);
    assert_eq!(status(before(&server, "localhost", &authority)).await, 200);
    let server = TlsServer::start(&files, None, rustls::ALL_VERSIONS).await;
    let mut wanted = before(&server, "localhost", &authority);
    wanted.upstream.tls.least = MinVersion::V1_3;
    assert_eq!(status(wanted).await, 200);
}

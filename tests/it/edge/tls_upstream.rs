//! Upstreams behind TLS. A second gateway plays the upstream.

use bearward::edge::settings::TlsFiles;

use crate::support::gateway::{Wanted, certificate, certificate_for, endpoint};
use crate::support::raw::Raw;
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

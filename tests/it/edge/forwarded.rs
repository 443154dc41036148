//! Whose word is taken about where a request comes from. std:108, std:110, threat T10

use bearward::edge::settings::{Family, FastPath, Told};
use serde_json::json;

use crate::support::gateway::{Gateway, Wanted};
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;
use crate::support::world::World;

const SAID: &str = "Host: a\r\nX-Forwarded-For: 198.51.100.1, 203.0.113.7, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n\
                    X-Forwarded-Host: evil.example\r\nX-Forwarded-Uri: /evil\r\nX-Real-IP: 198.51.100.9\r\n\
                    Forwarded: for=198.51.100.2;proto=https;host=evil.example, for=203.0.113.8;proto=https\r\n\r\n";

async fn gateway(
    upstream: &Upstream,
    fast_path: FastPath,
    trusted: &[&str],
    families: (Family, Told),
) -> Gateway {
    let mut wanted = Wanted::before(upstream.address);
    wanted.fast_path = fast_path;
    wanted.forwarding.trusted = trusted.iter().map(|text| text.parse().unwrap()).collect();
    (wanted.forwarding.believe, wanted.forwarding.told) = families;
    wanted.start().await
}

#[tokio::test]
async fn proxies_of_ours_are_believed_and_nobody_else() {
    let upstream = Upstream::start().await;
    let ours = ["127.0.0.0/8", "2001:db8::/32"];
    for fast_path in [FastPath::On, FastPath::Off] {
        for (trusted, believe, client, scheme) in [
            ([].as_slice(), Family::XForwarded, "127.0.0.1", "http"),
            (&["10.0.0.0/8"], Family::XForwarded, "127.0.0.1", "http"),
            (&ours, Family::XForwarded, "203.0.113.7", "https"),
            (&ours, Family::Forwarded, "203.0.113.8", "https"),
        ] {
            let gateway = gateway(&upstream, fast_path, trusted, (believe, Told::Both)).await;
            for line in ["GET /x HTTP/1.1", "PUT /x HTTP/1.1\r\nContent-Length: 0"] {
                let mut peer = Raw::connect(gateway.address).await;
                let answer = peer.call(format!("{line}\r\n{SAID}")).await;
                let headers = &answer.json()["headers"];
                assert_eq!(headers["x-forwarded-for"], json!([client]), "{trusted:?} {line}");
                assert_eq!(headers["x-forwarded-proto"], json!([scheme]), "{trusted:?} {line}");
                // Whatever a proxy says, the host is that of the request.
                assert_eq!(headers["x-forwarded-host"], json!(["a"]));
                assert_eq!(headers["forwarded"], json!([format!("for={client};host=\"a\";proto={scheme}")]));
                let text = String::from_utf8(answer.body.clone()).unwrap();
                assert!(!text.contains("evil") && !text.contains("198.51.100"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_family_that_is_not_sent_does_not_pass() {
    let upstream = Upstream::start().await;
    for (told, kept, dropped) in [
        (Told::XForwarded, "x-forwarded-for", "forwarded"),
        (Told::Forwarded, "forwarded", "x-forwarded-for"),
    ] {
        let gateway = gateway(&upstream, FastPath::On, &["127.0.0.0/8"], (Family::XForwarded, told)).await;
        let seen = Raw::connect(gateway.address).await.call(format!("GET / HTTP/1.1\r\n{SAID}")).await.json();
        assert!(seen["headers"][kept].is_array() && seen["headers"][dropped].is_null(), "{seen}");
    }
}

#[tokio::test]
async fn the_access_log_names_the_client_that_a_proxy_named() {
    let world = World::plan()
        .yaml("trusted_proxies: [127.0.0.0/8]\nforwarded: { send: both }")
        .in_a_process()
        .start()
        .await;
    let browser = world.browser();
    let said = [("x-forwarded-for", "198.51.100.1, 203.0.113.7")];
    browser.send(http::Method::GET, "/told", crate::support::browser::Kind::Fetch, &said).await;
    browser.send(http::Method::GET, "/untold", crate::support::browser::Kind::Fetch, &[]).await;
    let logs = world.stop_process().await;
    for (path, client) in [("/told", "203.0.113.7"), ("/untold", "127.0.0.1")] {
        let line = logs.lines().find(|line| line.contains(&format!("\"path\":\"{path}\""))).unwrap();
        assert!(line.contains(&format!("\"client\":\"{client}\"")), "{line}");
    }
}

//! Upstreams of several endpoints, on both paths.

mod health;
mod limits;
mod retries;

use std::net::SocketAddr;
use std::time::Duration;

use bearward::edge::settings::{Balance, Endpoint, FastPath, HostField, Place};
use bearward::gate::settings::Rewrite;
use http::HeaderValue;

use crate::support::gateway::{Gateway, Wanted, endpoint};
use crate::support::raw::Raw;
use crate::support::session::with_session;
use crate::support::upstream::Upstream;

const PATHS: [FastPath; 2] = [FastPath::On, FastPath::Off];
const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok";

fn before(addresses: &[SocketAddr], path: FastPath) -> Wanted {
    let mut wanted = Wanted::before(addresses[0]);
    wanted.upstream.endpoints =
        addresses.iter().map(|address| endpoint(&format!("http://{address}"))).collect();
    wanted.fast_path = path;
    wanted
}

async fn call(gateway: &Gateway, request: impl AsRef<[u8]>) -> u16 {
    Raw::connect(gateway.address).await.call(request).await.status
}

/// An address on which nobody listens.
fn gone() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn both_paths_take_turns_in_one_row() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let gateway = before(&[one.address, other.address], FastPath::On).start().await;
    for (number, request) in [GET, POST, POST, GET, GET, POST].into_iter().enumerate() {
        assert_eq!(call(&gateway, request).await, 200);
        assert_eq!((one.requests(), other.requests()), (number / 2 + 1, number.div_ceil(2)));
    }
}

#[tokio::test]
async fn weights_are_kept() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let mut wanted = before(&[one.address, other.address], FastPath::On);
    wanted.upstream.endpoints[1].weight = 3;
    let gateway = wanted.start().await;
    for number in 0..40 {
        assert_eq!(call(&gateway, if number % 2 == 0 { GET } else { POST }).await, 200);
    }
    assert!(other.requests().abs_diff(30) <= 2, "{}", other.requests());
}

#[tokio::test]
async fn the_least_loaded_endpoint_is_chosen_whoever_loads_it() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let mut wanted = before(&[one.address, other.address], FastPath::On);
    wanted.upstream.balance = Balance::LeastLoaded;
    let gateway = wanted.start().await;
    // Each waits at an endpoint of its own, though they take different paths.
    let mut waiting = Vec::new();
    for request in [
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(request).await;
        waiting.push(client);
        while one.requests() + other.requests() < waiting.len() {
            tokio::task::yield_now().await;
        }
    }
    let fewer = if one.requests() == 1 { &one } else { &other };
    assert_eq!((one.requests() + other.requests(), fewer.requests()), (3, 1));
    assert_eq!(call(&gateway, GET).await, 200);
    assert_eq!(fewer.requests(), 2);
    (0..2).for_each(|_| [&one, &other].map(Upstream::permit).into_iter().collect());
    for client in &mut waiting {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_session_stays_at_one_endpoint_and_so_does_a_client_without_one() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let shares = || {
        let mut shares = upstreams.each_ref().map(Upstream::requests);
        shares.sort_unstable();
        shares
    };
    let mut wanted = before(&addresses, FastPath::On);
    wanted.upstream.balance = Balance::SessionHash;
    wanted.forwarding.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    let gateway = wanted.start().await;
    // One session from many addresses, on both paths.
    for number in 0..20 {
        let method = if number % 2 == 0 { "GET" } else { "DELETE" };
        let head = format!("{method} /api/a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.{number}\r\n");
        assert_eq!(call(&gateway, with_session(&head)).await, 200);
    }
    assert_eq!(shares(), [0, 0, 20]);
    let request = |client: &str| format!("GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
    // Addresses of one network of IPv6 are one client.
    let before = shares();
    for number in 0..20 {
        assert_eq!(call(&gateway, request(&format!("2001:db8:0:1::{number:x}"))).await, 200);
    }
    assert_eq!(shares().iter().zip(before).filter(|(now, before)| *now != before).count(), 1);
    // Many clients are spread.
    for number in 0..40 {
        assert_eq!(call(&gateway, request(&format!("198.51.100.{number}"))).await, 200);
    }
    assert!(shares().iter().all(|share| *share > 0), "{:?}", shares());
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_whose_connections_are_used_again() {
    for path in PATHS {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("app.sock");
        let upstream = Upstream::at_socket(&socket);
        let mut wanted = Wanted::before(gone());
        wanted.upstream.endpoints = vec![Endpoint { place: Place::Unix(socket), weight: 1 }];
        wanted.fast_path = path;
        let gateway = wanted.start().await;
        let mut client = Raw::connect(gateway.address).await;
        for _ in 0..3 {
            let seen = client.call(GET).await.json();
            assert_eq!((&seen["uri"], &seen["headers"]["host"]), (&"/a".into(), &serde_json::json!(["a"])));
        }
        assert_eq!((upstream.requests(), upstream.connections()), (3, 1), "{path:?}");
        assert_eq!(client.call(POST).await.json()["length"], 2);
        drop(upstream);
        drop(folder);
    }
}

#[tokio::test]
async fn a_socket_that_is_not_there_is_a_502() {
    for path in PATHS {
        let mut wanted = Wanted::before(gone());
        let place = Place::Unix("/nonexistent/app.sock".into());
        wanted.upstream.endpoints = vec![Endpoint { place, weight: 1 }];
        wanted.fast_path = path;
        let gateway = wanted.start().await;
        assert_eq!((call(&gateway, GET).await, call(&gateway, POST).await), (502, 502));
    }
}

#[tokio::test]
async fn the_front_of_a_path_is_rewritten_and_nothing_else() {
    let upstream = Upstream::start().await;
    for path in PATHS {
        for (with, target, expected) in [
            ("", "/api/a%20b?x=/api/%2f", "/a%20b?x=/api/%2f"),
            ("", "/api?x", "/?x"),
            ("", "/api", "/"),
            ("/v1", "/api/c/", "/v1/c/"),
        ] {
            let mut wanted = before(&[upstream.address], path);
            let prefix = HeaderValue::from_static("/api");
            wanted.rewrite = Some(Rewrite { prefix, with: with.to_owned() });
            let gateway = wanted.start().await;
            let mut client = Raw::connect(gateway.address).await;
            for method in ["GET", "DELETE"] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nX-Forwarded-Prefix: /evil\r\n");
                let seen = client.call(with_session(&head)).await.json();
                assert_eq!(seen["uri"], expected, "{path:?} {method} {target}");
                assert_eq!(seen["headers"]["x-forwarded-prefix"], serde_json::json!(["/api"]));
            }
            let seen = client.call("GET /api-docs HTTP/1.1\r\nHost: a\r\n\r\n").await.json();
            assert_eq!(seen["uri"], "/api-docs");
            assert!(seen["headers"].get("x-forwarded-prefix").is_none());
        }
    }
}

#[tokio::test]
async fn an_upstream_is_told_the_host_that_it_wants() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    for path in PATHS {
        for (host, expected) in [
            (HostField::Keep, ["a".to_owned(), "a".to_owned()]),
            (HostField::Endpoint, [one.address.to_string(), other.address.to_string()]),
            (HostField::Text(HeaderValue::from_static("b:81")), ["b:81".to_owned(), "b:81".to_owned()]),
        ] {
            let mut wanted = before(&[one.address, other.address], path);
            wanted.upstream.host = host;
            let gateway = wanted.start().await;
            for request in [GET, POST] {
                let mut seen = Vec::new();
                for _ in 0..2 {
                    let answer = Raw::connect(gateway.address).await.call(request).await.json();
                    assert_eq!(answer["headers"]["x-forwarded-host"], serde_json::json!(["a"]));
                    let [host] = answer["headers"]["host"].as_array().unwrap().as_slice() else {
                        panic!("{answer}");
                    };
                    seen.push(host.as_str().unwrap().to_owned());
                }
                seen.sort();
                let mut expected = expected.clone();
                expected.sort();
                assert_eq!(seen, expected, "{path:?}");
            }
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came to pass");
}

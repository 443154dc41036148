//! Upstreams of several endpoints, on both paths.

use std::net::SocketAddr;
use std::time::Duration;

use bearward::edge::settings::{Balance, Eject, Endpoint, FastPath, Health, HostField, Place, Retries};
use bearward::gate::settings::Rewrite;
use http::HeaderValue;

use crate::support::gateway::{Gateway, Wanted, endpoint};
use crate::support::raw::Raw;
use crate::support::scripted::{Scripted, Then, script};
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
async fn a_session_stays_at_one_endpoint() {
    let upstreams = [Upstream::start().await, Upstream::start().await, Upstream::start().await];
    let addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    let mut wanted = before(&addresses, FastPath::On);
    wanted.upstream.balance = Balance::SessionHash;
    let gateway = wanted.start().await;
    for number in 0..10 {
        let head = if number % 2 == 0 {
            "GET /api/a HTTP/1.1\r\nHost: a\r\n"
        } else {
            "POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
        };
        assert_eq!(call(&gateway, with_session(head)).await, 200);
    }
    let mut shares = upstreams.each_ref().map(Upstream::requests);
    shares.sort_unstable();
    assert_eq!(shares, [0, 0, 10]);
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over_for_every_method() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let gateway = before(&[gone(), upstream.address], path).start().await;
        for request in [GET, POST, POST, GET] {
            assert_eq!(call(&gateway, request).await, 200, "{path:?}");
        }
        assert_eq!(upstream.requests(), 4);
    }
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

fn health() -> Health {
    Health {
        path: "/healthz?deep".to_owned(),
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        healthy: 2,
        unhealthy: 2,
        status: 200..=399,
        host: None,
    }
}

/// The figure of a metric of an endpoint.
fn figure(gateway: &Gateway, name: &str, address: SocketAddr) -> u64 {
    let line =
        format!("bearward_upstream_endpoint_{name}{{upstream=\"echo\",endpoint=\"http://{address}\"}} ");
    let metrics = gateway.metrics.encode();
    let Some(line) = metrics.lines().find_map(|found| found.strip_prefix(&line)) else {
        panic!("no {line} in {metrics}");
    };
    line.parse().unwrap()
}

async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never came to pass");
}

#[tokio::test]
async fn an_endpoint_that_is_ill_gets_no_requests_until_it_is_well() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let mut wanted = before(&[one.address, other.address], FastPath::On);
    wanted.upstream.health = Some(health());
    let gateway = wanted.start().await;
    // It is used until it is proven ill.
    assert_eq!(figure(&gateway, "up", one.address), 1);
    one.be_ill(503);
    until(|| figure(&gateway, "up", one.address) == 0).await;
    for request in [GET, POST, GET, POST] {
        assert_eq!(call(&gateway, request).await, 200);
    }
    assert_eq!((one.requests(), other.requests()), (0, 4));
    one.be_ill(204);
    until(|| figure(&gateway, "up", one.address) == 1).await;
    for request in [GET, POST, GET, POST] {
        assert_eq!(call(&gateway, request).await, 200);
    }
    assert_eq!((one.requests(), other.requests()), (2, 6));
    assert_eq!(one.probed(), ["/healthz?deep".to_owned(), one.address.to_string()]);
}

#[tokio::test]
async fn where_all_are_ill_all_are_tried_and_the_answer_says_when_to_come_back() {
    let (one, gone) = (Upstream::start().await, gone());
    for path in PATHS {
        let mut wanted = before(&[one.address, gone], path);
        wanted.upstream.health = Some(health());
        one.be_ill(500);
        let gateway = wanted.start().await;
        until(|| figure(&gateway, "up", one.address) + figure(&gateway, "up", gone) == 0).await;
        for request in [GET, POST] {
            assert_eq!(call(&gateway, request).await, 200, "a probe that is wrong does not end the service");
        }
        let mut wanted = before(&[gone], path);
        wanted.upstream.health = Some(Health { interval: Duration::from_millis(1500), ..health() });
        wanted.upstream.health.as_mut().unwrap().unhealthy = 1;
        let gateway = wanted.start().await;
        until(|| figure(&gateway, "up", gone) == 0).await;
        for request in [GET, POST] {
            let answer = Raw::connect(gateway.address).await.call(request).await;
            assert_eq!((answer.status, answer.all("retry-after")), (503, vec!["2"]), "{path:?}");
            assert_eq!(answer.json()["code"], "upstream_down");
        }
    }
}

#[tokio::test]
async fn probes_end_with_the_configuration_that_wanted_them() {
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.health = Some(health());
    upstream.be_ill(500);
    let mut gateway = wanted.start().await;
    until(|| figure(&gateway, "up", upstream.address) == 0).await;
    gateway.reload_known(&before(&[upstream.address], FastPath::On)).await.unwrap();
    upstream.forget_probes();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(upstream.probed().is_empty());
    // Nobody judges by what they found.
    assert_eq!(call(&gateway, GET).await, 200);
    gateway.drain().await;
}

#[tokio::test]
async fn an_endpoint_whose_requests_fail_is_ejected_but_never_the_last() {
    for path in PATHS {
        let (one, gone) = (Upstream::start().await, gone());
        let mut wanted = before(&[gone, one.address], path);
        let eject = Eject {
            failures: 3,
            time: Duration::from_secs(60),
            most: Duration::from_secs(60),
            statuses: vec![http::StatusCode::SERVICE_UNAVAILABLE],
        };
        wanted.upstream.eject = Some(eject);
        let gateway = wanted.start().await;
        for request in [GET, POST, GET, POST, GET, POST] {
            assert_eq!(call(&gateway, request).await, 200, "{path:?}");
        }
        assert_eq!((figure(&gateway, "up", gone), figure(&gateway, "ejections_total", gone)), (0, 1));
        // The last one stays, whatever it answers.
        for _ in 0..4 {
            assert_eq!(call(&gateway, "GET /status/503 HTTP/1.1\r\nHost: a\r\n\r\n").await, 503);
        }
        assert_eq!(
            (figure(&gateway, "up", one.address), figure(&gateway, "ejections_total", one.address)),
            (1, 0)
        );
    }
}

#[tokio::test]
async fn silence_and_statuses_count_as_failures_where_they_are_named() {
    for path in PATHS {
        let (one, other) = (Upstream::start().await, Upstream::start().await);
        let mut wanted = before(&[one.address, other.address], path);
        wanted.upstream.read_timeout = Duration::from_millis(100);
        wanted.upstream.eject = Some(Eject {
            failures: 2,
            time: Duration::from_secs(60),
            most: Duration::from_secs(60),
            statuses: vec![http::StatusCode::BAD_GATEWAY],
        });
        let gateway = wanted.start().await;
        // 500 is an answer like any other.
        for _ in 0..6 {
            assert_eq!(call(&gateway, "GET /status/500 HTTP/1.1\r\nHost: a\r\n\r\n").await, 500);
        }
        assert_eq!(
            figure(&gateway, "ejections_total", one.address)
                + figure(&gateway, "ejections_total", other.address),
            0
        );
        // Turn by turn; whoever has two first is out.
        for (request, status) in [
            ("GET /silent HTTP/1.1\r\nHost: a\r\n\r\n", 504),
            (GET, 200),
            ("GET /status/502 HTTP/1.1\r\nHost: a\r\n\r\n", 502),
        ] {
            assert_eq!(call(&gateway, request).await, status, "{path:?}");
        }
        assert_eq!((figure(&gateway, "up", one.address), figure(&gateway, "up", other.address)), (0, 1));
    }
}

// std:127
#[tokio::test]
async fn what_could_be_done_twice_is_never_repeated() {
    // The first request of a connection is answered; the connection ends within the second, as some servers do.
    let ok = "{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let half = "HTTP/1.1 200 OK\r\nX: ";
    for path in PATHS {
        for (request, repeated) in [
            ("GET /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("HEAD /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("DELETE /0 HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", true),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", false),
            ("PUT /0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false),
            ("POST /0 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", false),
            ("PATCH /0 HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ] {
            let upstream =
                Scripted::start(vec![script(&[ok], Then::Keep), script(&[half], Then::Close)]).await;
            let mut wanted = before(&[upstream.address], path);
            wanted.upstream.retries = Retries { attempts: 2, percent: 0, least: 100 };
            let gateway = wanted.start().await;
            // Both paths get a connection that was used before.
            for method in ["GET", "OPTIONS"] {
                let first = format!("{method} /0 HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(call(&gateway, first).await, 200);
            }
            let (heads, connections) = (upstream.heads().len(), upstream.connections());
            let answer = call_for(&gateway, request).await;
            let expected = if repeated { (200, 2, 1) } else { (502, 1, 0) };
            let happened = (answer, upstream.heads().len() - heads, upstream.connections() - connections);
            assert_eq!(happened, expected, "{path:?} {request:?}");
        }
    }
}

// std:127
#[tokio::test]
async fn a_response_that_has_begun_is_not_asked_for_again() {
    let ok = "{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for path in PATHS {
        for half in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 103 Early Hints\r\n\r\n"] {
            let upstream =
                Scripted::start(vec![script(&[ok], Then::Keep), script(&[half], Then::Close)]).await;
            let gateway = before(&[upstream.address], path).start().await;
            assert_eq!(call(&gateway, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n").await, 200);
            let mut client = Raw::connect(gateway.address).await;
            client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut status = client.head().await.0;
            if status == 103 {
                status = client.head().await.0;
            }
            assert_eq!(
                (status, upstream.heads().len(), upstream.connections()),
                (502, 2, 1),
                "{path:?} {half:?}"
            );
        }
    }
}

#[tokio::test]
async fn without_a_budget_nothing_is_tried_again() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let mut wanted = before(&[gone(), upstream.address], path);
        wanted.upstream.retries = Retries { attempts: 3, percent: 0, least: 2 };
        let gateway = wanted.start().await;
        let mut answers = Vec::new();
        for _ in 0..8 {
            answers.push(call(&gateway, GET).await);
        }
        assert_eq!(answers, [200, 200, 200, 200, 502, 200, 502, 200], "{path:?}");
    }
}

/// Reads only the head: an answer to `HEAD` has no body.
async fn call_for(gateway: &Gateway, request: &str) -> u16 {
    let mut client = Raw::connect(gateway.address).await;
    client.send(request).await;
    client.head().await.0
}

#[tokio::test]
async fn a_limit_of_connections_holds_on_both_paths_together() {
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.pool.connections = Some(2);
    wanted.upstream.connect_timeout = Duration::from_millis(300);
    wanted.workers = 2;
    let gateway = wanted.start().await;
    let mut waiting = Vec::new();
    for request in [
        "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let mut client = Raw::connect(gateway.address).await;
        client.send(request).await;
        waiting.push(client);
    }
    until(|| upstream.requests() == 2).await;
    for request in [GET, POST] {
        let answer = Raw::connect(gateway.address).await.call(request).await;
        assert_eq!((answer.status, answer.all("retry-after").len()), (503, 1));
        assert_eq!(answer.json()["code"], "upstream_busy");
    }
    assert_eq!(upstream.requests(), 2);
    // Whoever waits gets the next free seat.
    let mut next = Raw::connect(gateway.address).await;
    next.send(GET).await;
    upstream.permit();
    upstream.permit();
    assert_eq!(next.response().await.status, 200);
    for client in &mut waiting {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn idle_connections_are_as_many_as_are_wanted() {
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.pool.idle = 0;
    let gateway = wanted.start().await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, GET).await, 200);
    }
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn an_upstream_that_accepts_nothing_is_a_504() {
    // The kernel drops what does not fit into the queue of a listener that accepts nobody.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        queue.push(connected.unwrap());
        assert!(queue.len() < 100, "the queue has no end");
    }
    for path in PATHS {
        let mut wanted = before(&[address], path);
        wanted.upstream.connect_timeout = Duration::from_millis(200);
        let gateway = wanted.start().await;
        for request in [GET, POST] {
            let answer = Raw::connect(gateway.address).await.call(request).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (504, &"upstream_timeout".into()),
                "{path:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_is_a_504() {
    // It accepts and never reads, and has room for little.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(accepted) = listener.accept().await {
            held.push(accepted);
        }
    });
    // More than the kernel takes for a connection of this machine: as a head on the fast path, as a body on the other.
    let long = "x".repeat(8_000_000);
    // pingora goes on reading when it cannot write any more: an answer may come nevertheless.
    for (path, read, request) in [
        (FastPath::On, 60_000, format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")),
        (FastPath::Off, 500, format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n{long}")),
    ] {
        let mut wanted = before(&[address], path);
        wanted.limits.head_bytes = 10_000_000;
        wanted.upstream.write_timeout = Duration::from_millis(200);
        // Whoever waited for an answer, or went on writing, would wait longer.
        wanted.upstream.read_timeout = Duration::from_millis(read);
        let gateway = wanted.start().await;
        let tcp = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let (mut answers, mut requests) = tcp.into_split();
        tokio::spawn(async move {
            drop(tokio::io::AsyncWriteExt::write_all(&mut requests, request.as_bytes()).await)
        });
        let mut answer = [0; 12];
        let read = tokio::io::AsyncReadExt::read_exact(&mut answers, &mut answer);
        tokio::time::timeout(Duration::from_secs(20), read)
            .await
            .unwrap_or_else(|_| panic!("no answer on {path:?}"))
            .unwrap();
        assert_eq!(answer, *b"HTTP/1.1 504", "{path:?}");
    }
}

#[tokio::test]
async fn a_head_that_comes_in_crumbs_is_late_all_the_same() {
    let address = crumbs().await;
    let mut wanted = before(&[address], FastPath::On);
    wanted.upstream.head_timeout = Some(Duration::from_millis(300));
    let gateway = wanted.start().await;
    let answer = Raw::connect(gateway.address).await.call(GET).await;
    assert_eq!((answer.status, &answer.json()["code"]), (504, &"upstream_timeout".into()));
    // A body may take its time: an event stream lives.
    let upstream = Upstream::start().await;
    let mut wanted = before(&[upstream.address], FastPath::On);
    wanted.upstream.head_timeout = Some(Duration::from_millis(300));
    let gateway = wanted.start().await;
    let mut client = Raw::connect(gateway.address).await;
    client.send("GET /sse HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.head().await.0, 200);
    for number in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        upstream.permit();
        client.until(&format!("data: {number}\n\n")).await;
    }
}

/// An upstream that sends a byte of its head now and then.
async fn crumbs() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".chunks(1).cycle() {
                if tokio::io::AsyncWriteExt::write_all(&mut tcp, byte).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    address
}

#[tokio::test]
async fn a_name_that_is_nobodys_is_passed_over() {
    for path in PATHS {
        let upstream = Upstream::start().await;
        let mut wanted = before(&[upstream.address], path);
        wanted.upstream.endpoints.insert(0, endpoint("http://nobody.invalid:81"));
        let gateway = wanted.start().await;
        for request in [GET, POST, GET] {
            assert_eq!(call(&gateway, request).await, 200, "{path:?}");
        }
    }
}

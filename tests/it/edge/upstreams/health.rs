//! Which endpoints are good: probes, and requests that fail.

use std::net::SocketAddr;
use std::time::Duration;

use bearward::edge::settings::{Eject, FastPath, Health};

use super::{GET, PATHS, POST, before, call, gone, until};
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::upstream::Upstream;

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
        wanted.upstream.retries.attempts = 1;
        let gateway = wanted.start().await;
        let mut answers = Vec::new();
        for request in [GET, POST, GET, POST, GET, POST, GET, POST, GET, POST] {
            answers.push(call(&gateway, request).await);
        }
        // Turn by turn, until three have failed.
        assert_eq!(answers, [502, 200, 502, 200, 502, 200, 200, 200, 200, 200], "{path:?}");
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

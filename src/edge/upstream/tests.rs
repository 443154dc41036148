//! Upstreams as the two paths use them.

use super::*;
use crate::base::tls::server::MinVersion;
use crate::edge::settings::{Endpoint as EndpointSettings, HostField, Place, Pool, Retries, UpstreamTls};

pub(super) fn upstream(urls: &[&str]) -> Upstream {
    let endpoint = |url: &&str| EndpointSettings { place: Place::Url(url.parse().unwrap()), weight: 1 };
    Upstream {
        name: "orders".to_owned(),
        endpoints: urls.iter().map(endpoint).collect(),
        balance: Balance::RoundRobin,
        health: None,
        eject: None,
        retries: Retries { attempts: 3, percent: 20, least: 10 },
        pool: Pool { idle: 8, connections: None },
        host: HostField::Keep,
        ca_file: None,
        tls: UpstreamTls { server_name: None, client: None, least: MinVersion::V1_2 },
        http2: false,
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        write_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
        head_timeout: None,
    }
}

fn new(urls: &[&str]) -> Result<Upstreams, UpstreamError> {
    Upstreams::new(&[upstream(urls)], &Standings::default())
}

const FIRST: UpstreamId = UpstreamId(0);

async fn address(upstreams: &Upstreams, attempts: &mut Attempts) -> Option<String> {
    let peer = upstreams.seat(FIRST, attempts, || 0).await.ok()?.peer().await.ok()?;
    Some(peer._address.to_string())
}

#[test]
fn a_certificate_is_always_verified_against_a_name() {
    tls::install_provider();
    for url in ["https://10.0.0.1", "https://[::1]:8443"] {
        let error = new(&[url]).unwrap_err();
        assert!(matches!(error, UpstreamError::Name(_)), "{error}");
        for name in ["", "10.0.0.1", "a b", "::1"] {
            let mut settings = upstream(&[url]);
            settings.tls.server_name = Some(name.to_owned());
            let error = Upstreams::new(&[settings], &Standings::default()).unwrap_err();
            assert!(matches!(error, UpstreamError::Name(_)), "{name:?}: {error}");
        }
    }
}

#[test]
fn endpoints_are_http_or_https_and_alike() {
    assert!(matches!(new(&["ftp://h/"]), Err(UpstreamError::Url(_))));
    let many = vec!["http://a"; 65];
    for urls in [&["http://a", "https://b"][..], &[], &many] {
        assert!(matches!(new(urls), Err(UpstreamError::Endpoints(_))));
    }
}

#[tokio::test]
async fn requests_go_from_endpoint_to_endpoint() {
    let upstreams = new(&["http://192.0.2.1:81", "http://192.0.2.2:81"]).unwrap();
    for expected in ["192.0.2.1:81", "192.0.2.2:81", "192.0.2.1:81"] {
        let mut attempts = Attempts::default();
        assert_eq!(address(&upstreams, &mut attempts).await.unwrap(), expected);
        // An attempt keeps its seat.
        assert_eq!(address(&upstreams, &mut attempts).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_attempt_after_a_failed_one_goes_elsewhere() {
    let upstreams = new(&["http://192.0.2.1:81", "http://192.0.2.2:81"]).unwrap();
    let mut attempts = Attempts::default();
    let first = address(&upstreams, &mut attempts).await.unwrap();
    assert!(upstreams.may_try_another(FIRST, &mut attempts));
    assert_ne!(address(&upstreams, &mut attempts).await.unwrap(), first);
    assert!(!upstreams.may_try_another(FIRST, &mut attempts), "all were tried");
    drop(attempts);
    assert!(upstreams.all[0].endpoints.iter().all(|endpoint| endpoint.standing.in_flight() == 0));
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried_at_most_three() {
    let upstreams = new(&["http://many.invalid:81"]).unwrap();
    let addresses = [1, 2, 3, 4].map(|last| ([192, 0, 2, last], 81).into());
    upstreams.all[0].endpoints[0].host_name().unwrap().tell(&addresses);
    let mut attempts = Attempts::default();
    for (expected, another) in [("192.0.2.1:81", true), ("192.0.2.2:81", true), ("192.0.2.3:81", false)] {
        assert_eq!(address(&upstreams, &mut attempts).await.unwrap(), expected);
        assert_eq!(upstreams.may_try_another(FIRST, &mut attempts), another);
    }
    // Those that failed are passed over by others.
    assert_eq!(address(&upstreams, &mut Attempts::default()).await.unwrap(), "192.0.2.4:81");
    assert_eq!(address(&upstreams, &mut Attempts::default()).await.unwrap(), "192.0.2.4:81");
}

#[tokio::test]
async fn an_outage_is_not_multiplied() {
    let mut settings = upstream(&["http://192.0.2.1:81", "http://192.0.2.2:81"]);
    settings.retries = Retries { attempts: 2, percent: 20, least: 1 };
    let upstreams = Upstreams::new(&[settings], &Standings::default()).unwrap();
    let mut retried = 0;
    for _ in 0..100 {
        let mut attempts = Attempts::default();
        address(&upstreams, &mut attempts).await.unwrap();
        if upstreams.may_try_another(FIRST, &mut attempts) {
            retried += 1;
            address(&upstreams, &mut attempts).await.unwrap();
            assert!(!upstreams.may_try_another(FIRST, &mut attempts), "two attempts and no more");
        }
    }
    assert_eq!(retried, 21);
}

#[tokio::test(start_paused = true)]
async fn a_limit_sends_requests_elsewhere_and_then_makes_them_wait() {
    let mut settings = upstream(&["http://192.0.2.1:81", "http://192.0.2.2:81"]);
    settings.pool.connections = Some(1);
    let upstreams = Arc::new(Upstreams::new(&[settings], &Standings::default()).unwrap());
    let (mut one, mut other) = (Attempts::default(), Attempts::default());
    let first = address(&upstreams, &mut one).await.unwrap();
    assert_ne!(address(&upstreams, &mut other).await.unwrap(), first);
    let began = Instant::now();
    let mut third = Attempts::default();
    assert!(matches!(upstreams.seat(FIRST, &mut third, || 0).await, Err(NoSeat::Full)));
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    // Whoever waits is told at once when a seat is free.
    let began = Instant::now();
    let waiting = async { address(&upstreams, &mut third).await };
    let leaving = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(one);
    };
    let (found, ()) = tokio::join!(waiting, leaving);
    assert_eq!((found.unwrap(), began.elapsed()), (first, Duration::from_millis(10)));
}

#[tokio::test]
async fn connections_are_shared_only_among_those_who_trust_alike() {
    tls::install_provider();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Vec::new();
    for (name, ca) in [("a", "one"), ("b", "other"), ("c", "one")] {
        let ca_file = folder.path().join(ca);
        if !ca_file.exists() {
            let made = rcgen::generate_simple_self_signed(["orders.internal".to_owned()]).unwrap();
            std::fs::write(&ca_file, made.cert.pem()).unwrap();
        }
        settings.push(Upstream {
            name: name.to_owned(),
            ca_file: Some(ca_file),
            ..upstream(&["https://localhost"])
        });
    }
    let upstreams = Upstreams::new(&settings, &Standings::default()).unwrap();
    let mut hashes = Vec::new();
    for id in 0..3 {
        let mut attempts = Attempts::default();
        let mut peer =
            upstreams.seat(UpstreamId(id), &mut attempts, || 0).await.ok().unwrap().peer().await.unwrap();
        peer._address = pingora::protocols::l4::socket::SocketAddr::Inet(([127, 0, 0, 1], 443).into());
        hashes.push(pingora::upstreams::peer::Peer::reuse_hash(&*peer));
    }
    assert_ne!(hashes[0], hashes[1]);
    assert_eq!(hashes[0], hashes[2]);
}

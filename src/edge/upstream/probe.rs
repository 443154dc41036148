//! Asks each endpoint, again and again, whether it is well.
//!
//! A probe goes the way that requests go: the same addresses, TLS and versions, on connections of its own. The tasks
//! belong to the configuration that wants them, and end when another takes its place.

use std::sync::Arc;

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::Peer;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::Upstreams;
use super::endpoint::Endpoint;
use crate::base::secret::random;
use crate::base::tasks::Tasks;
use crate::edge::settings::Health;

/// The tasks that probe. Dropping this ends them.
#[derive(Debug, Default)]
pub(in crate::edge) struct Probes(Vec<JoinHandle<()>>);

impl Probes {
    /// Probes every endpoint that is to be.
    pub(in crate::edge) fn start(upstreams: &Upstreams, tasks: &Tasks) -> Self {
        let wanted = upstreams.all.iter().filter_map(|target| Some((target, target.health.clone()?)));
        let mut running = Vec::new();
        let mut connector = None;
        for (target, health) in wanted {
            // It reads certificates, which is only worth it where somebody is asked.
            let connector = connector.get_or_insert_with(|| {
                let options = ConnectorOptions { ca_file: upstreams.ca_file(), ..ConnectorOptions::new(1) };
                Arc::new(Connector::new(Some(options)))
            });
            for endpoint in &target.endpoints {
                let (endpoint, connector) = (Arc::clone(endpoint), Arc::clone(connector));
                running.push(tasks.spawn_endless(watch(endpoint, health.clone(), connector)));
            }
        }
        Self(running)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn watch(endpoint: Arc<Endpoint>, health: Health, connector: Arc<Connector>) {
    let mut tally = Tally::default();
    // Replicas and endpoints that began together do not ask together.
    sleep(health.interval.mul_f64(fraction())).await;
    loop {
        let outcome = match timeout(health.timeout, probe(&endpoint, &health, &connector)).await {
            Ok(outcome) => outcome,
            Err(_) => Err("timeout"),
        };
        match tally.count(outcome, &health) {
            Some(Ok(())) => endpoint.standing.set_up(),
            Some(Err(why)) => endpoint.standing.set_down(why),
            None => {}
        }
        sleep(health.interval.mul_f64(0.9 + 0.2 * fraction())).await;
    }
}

async fn probe(endpoint: &Endpoint, health: &Health, connector: &Connector) -> Result<(), &'static str> {
    let mut aim = endpoint.aim();
    let peer = endpoint.peer(&mut aim).await.map_err(|_| "resolve")?;
    let Ok((mut session, _)) = connector.get_http_session(&*peer).await else {
        endpoint.move_on(&mut aim);
        return Err("connect");
    };
    if !endpoint.takes(session.digest()) {
        return Err("tls");
    }
    let answer = ask(&mut session, request(endpoint, health).map_err(|_| "request")?).await;
    if session.as_http2().is_some() {
        // Its connection may carry the next one; one that is not given back would never be closed.
        connector.release_http_session(session, &*peer, peer.idle_timeout()).await;
    }
    let status = answer?;
    if health.status.contains(&status) { Ok(()) } else { Err("status") }
}

async fn ask(session: &mut HttpSession, request: RequestHeader) -> Result<u16, &'static str> {
    session.write_request_header(Box::new(request)).await.map_err(|_| "send")?;
    session.finish_request_body().await.map_err(|_| "send")?;
    for _ in 0..MOST_HEADS {
        session.read_response_header().await.map_err(|_| "response")?;
        let status = session.response_header().map_or(0, |head| head.status.as_u16());
        if !(100..200).contains(&status) {
            return Ok(status);
        }
    }
    Err("response")
}

fn request(endpoint: &Endpoint, health: &Health) -> pingora::Result<RequestHeader> {
    let mut request = RequestHeader::build("GET", health.path.as_bytes(), Some(3))?;
    let host = health.host.as_ref().unwrap_or(&endpoint.authority);
    request.insert_header(http::header::HOST, host)?;
    request.insert_header(http::header::USER_AGENT, "bearward-health")?;
    Ok(request)
}

/// Outcomes in a row.
#[derive(Debug, Default)]
struct Tally {
    good: u32,
    bad: u32,
}

impl Tally {
    /// Counts one; `Some` where it makes up the mind.
    fn count(
        &mut self,
        outcome: Result<(), &'static str>,
        health: &Health,
    ) -> Option<Result<(), &'static str>> {
        match outcome {
            Ok(()) => *self = Self { good: self.good.saturating_add(1), bad: 0 },
            Err(_) => *self = Self { good: 0, bad: self.bad.saturating_add(1) },
        }
        (self.good >= health.healthy || self.bad >= health.unhealthy).then_some(outcome)
    }
}

/// From 0 to 1.
fn fraction() -> f64 {
    f64::from(u16::from_ne_bytes(random())) / f64::from(u16::MAX)
}

// 100 and 103 may come before a response, but not for ever.
const MOST_HEADS: usize = 16;

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[test]
    fn it_takes_several_in_a_row_to_change_a_mind() {
        let health = Health {
            path: "/".to_owned(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            status: 200..=399,
            host: None,
        };
        let mut tally = Tally::default();
        let (good, bad) = (Ok(()), Err("status"));
        for (outcome, expected) in [
            (bad, None),
            (bad, None),
            (good, None),
            (bad, None),
            (bad, None),
            (bad, Some(bad)),
            (bad, Some(bad)),
            (good, None),
            (good, Some(good)),
            (good, Some(good)),
        ] {
            assert_eq!(tally.count(outcome, &health), expected);
        }
    }
}

//! A replica's line to the provider, with all that can become of a token request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::answers::{metadata, reply};
use super::plan::{Dice, Weather};
use super::provider::{Provider, numbers};
use super::sights::Fate;
use crate::base::http_client::{HttpClient, Limits, NoAnswer, NotSent, TransportError};
use crate::session::settings::AfterUnknown;

/// A replica's life, as the provider's double sees it.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// Whether its tasks may vanish.
    pub(super) over: AtomicBool,
}

/// One replica's line to the provider.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) provider: Arc<Provider>,
    pub(super) replica: usize,
    pub(super) life: Arc<Life>,
}

/// What becomes of a token request on its way.
#[derive(Debug, Clone, Copy)]
struct Way {
    latency: u64,
    /// What the provider answers instead of tokens.
    fault: Option<u16>,
    /// After how long the answer is lost, if it is.
    lost: Option<u64>,
}

impl Way {
    fn thrown(dice: &mut Dice, weather: Weather, total: u64) -> Self {
        let slow = dice.percent(weather.slow);
        let latency = if slow { dice.range(2_000, total + 5_000) } else { dice.range(10, 400) };
        let fault = if dice.percent(weather.busy) {
            Some(dice.one(&[503, 429]))
        } else if dice.percent(weather.misconfigured) {
            Some(401)
        } else {
            None
        };
        let rest = latency - latency / 2;
        let lost = dice.percent(weather.lost_after).then(|| rest.min(total / 2));
        Self { latency, fault, lost }
    }
}

impl Line {
    /// What happens in the process that asks.
    async fn token(&self, token: (u64, u64), limits: Limits) -> Result<Response<Bytes>, TransportError> {
        let provider = &self.provider;
        let weather = provider.weather();
        let number = token.0 * 1_000_000 + token.1 * 100 + provider.seen(token);
        let mut dice = Dice::of(provider.ledger.setup.seed, "token", number);
        let mut asking = Asking { line: self, token, done: false };
        let begun = Instant::now();
        sleep(Duration::from_millis(dice.range(5, 200))).await;
        if begun.elapsed() >= limits.connect {
            asking.done = true;
            return Err(TransportError::not_sent(NotSent::ConnectDeadline));
        }
        if dice.percent(weather.unreachable) {
            asking.done = true;
            return Err(TransportError::not_sent(NotSent::Connect));
        }
        let total = u64::try_from(limits.total.as_millis()).unwrap();
        if dice.percent(weather.lost_before) {
            // It never arrives.
            asking.done = true;
            provider.unreceived(self.replica, token);
            sleep(Duration::from_millis(dice.one(&[10, total]))).await;
            provider.ledger.count("request lost");
            return Err(TransportError::no_answer(NoAnswer::Broken));
        }
        let way = Way::thrown(&mut dice, weather, total);
        let (tell, told) = oneshot::channel();
        provider.wires.spawn(travel(Arc::clone(provider), self.replica, token, way, tell));
        // An answer that is there is taken, however late it is looked at.
        let answer = timeout_at(begun + limits.total, told).await;
        asking.done = true;
        match answer {
            Ok(Ok((status, body))) => {
                let fate = if status == 200 { Fate::Granted } else { Fate::Refused };
                provider.settle(self.replica, token, fate);
                Ok(reply(status, &body))
            }
            Ok(Err(_)) | Err(_) => {
                provider.settle(self.replica, token, Fate::Unknown);
                provider.ledger.count("answer lost");
                Err(TransportError::no_answer(NoAnswer::Deadline))
            }
        }
    }
}

/// What happens outside of it, once the request has left: it goes on, whatever becomes of who sent it.
async fn travel(
    provider: Arc<Provider>,
    replica: usize,
    token: (u64, u64),
    way: Way,
    tell: oneshot::Sender<(u16, Value)>,
) {
    sleep(Duration::from_millis(way.latency / 2)).await;
    let answer = provider.receive(replica, token, way.fault);
    if tell.is_closed() {
        // Who asked is gone, or has given up.
        return provider.settle(replica, token, Fate::Unknown);
    }
    sleep(Duration::from_millis(way.lost.unwrap_or(way.latency - way.latency / 2))).await;
    if way.lost.is_none() {
        // Nobody may be there any more.
        drop(tell.send(answer));
    }
}

/// A token request under way: it ends with an answer, or with its replica.
struct Asking<'a> {
    line: &'a Line,
    token: (u64, u64),
    done: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let provider = &self.line.provider;
        provider.settle(self.line.replica, self.token, Fate::Unknown);
        let over = self.line.life.over.load(Ordering::Relaxed);
        if over && provider.ledger.setup.after_unknown == AfterUnknown::Login {
            provider.ledger.excuse(self.token.0, "killed on the way");
        }
        if !over {
            let how = format!("a token request of replica {} was cancelled", self.line.replica);
            provider.ledger.broken("R2", &how);
        }
    }
}

impl HttpClient for Line {
    fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(request.body()).into_owned().collect();
        let path = request.uri().path().to_owned();
        Box::pin(async move {
            let down = self.provider.weather().unreachable == 100;
            if let Some(token) = form.get("refresh_token") {
                let Some(token) = numbers(token) else {
                    return Ok(reply(400, &json!({ "error": "invalid_grant" })));
                };
                return self.token(token, limits).await;
            }
            sleep(Duration::from_millis(20)).await;
            if let Some(token) = form.get("token") {
                if down {
                    return Err(TransportError::no_answer(NoAnswer::Broken));
                }
                self.provider.revoke(token);
                return Ok(reply(200, &json!({})));
            }
            assert!(path.ends_with("openid-configuration"), "{path}");
            Ok(reply(200, &metadata()))
        })
    }
}

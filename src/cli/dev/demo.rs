//! The demo behind `bearward dev`: a small API and a page that draws rotations.
//!
//! It stands where a user's own upstreams would stand and knows nothing of the gateway. It looks into the bearer
//! token without verifying it, only to show what is inside; that is why it serves loopback alone.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::base::secret::sha256;
use crate::base::tasks::Tasks;
use crate::base::time::{Clock, Timestamp};

/// A request's body.
trait Readable: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> {}
impl<B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>> Readable for B {}

type Answer = Response<Full<Bytes>>;

/// Serves the demo on `listener` for the rest of the process's life, and says where that is.
///
/// # Errors
/// Where the listener's address cannot be told or is not a loopback address.
pub fn start_demo(listener: TcpListener, clock: Arc<dyn Clock>, tasks: &Tasks) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the demo serves loopback addresses only"));
    }
    let connections = tasks.clone();
    tasks.spawn_endless(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, most likely: give the others time to close.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let clock = Arc::clone(&clock);
            connections.spawn_endless(async move {
                let service = service_fn(move |request| {
                    let clock = Arc::clone(&clock);
                    async move { Ok::<_, Infallible>(answer(request, clock.as_ref()).await) }
                });
                // Without a timer idle connections stay open, so the gateway's pool never meets a closing one.
                let server = hyper::server::conn::http1::Builder::new();
                // A connection that breaks is its client's business.
                drop(server.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    Ok(address)
}

async fn answer<B: Readable>(request: Request<B>, clock: &dyn Clock) -> Answer {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    if path.starts_with("/api/") {
        return match authorize(&parts.headers, clock.now()) {
            Ok(token) => api(&parts.method, path, body, &token, clock).await,
            Err(reason) => unauthorized(reason),
        };
    }
    let Some((media_type, content)) = asset(path) else {
        return problem(StatusCode::NOT_FOUND, "not_found");
    };
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    }
    let mut response = respond(StatusCode::OK, media_type, Bytes::from_static(content.as_bytes()));
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(PAGE_POLICY));
    response
}

fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/" => ("text/html; charset=utf-8", include_str!("assets/index.html")),
        "/style.css" => ("text/css; charset=utf-8", include_str!("assets/style.css")),
        "/app.js" => ("text/javascript; charset=utf-8", include_str!("assets/app.js")),
        "/favicon.svg" => ("image/svg+xml", include_str!("assets/favicon.svg")),
        _ => return None,
    })
}

async fn api<B: Readable>(method: &Method, path: &str, body: B, token: &Token, clock: &dyn Clock) -> Answer {
    match (method, path) {
        (&Method::GET, "/api/whoami") => whoami(token, clock.now()),
        (&Method::GET, "/api/slow") => {
            tokio::time::sleep(SLOW).await;
            whoami(token, clock.now())
        }
        (&Method::POST, "/api/echo") => echo(body).await,
        (_, "/api/whoami" | "/api/slow" | "/api/echo") => {
            problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
        }
        _ => problem(StatusCode::NOT_FOUND, "not_found"),
    }
}

fn whoami(token: &Token, now: Timestamp) -> Answer {
    json_response(
        StatusCode::OK,
        &Whoami {
            sub: token.text("sub"),
            name: token.text("name"),
            email: token.text("email"),
            groups: token.groups(),
            token: TokenFacts {
                id: &token.id,
                issued_at: token.number("iat"),
                expires_at: token.number("exp"),
                seconds_left: token.number("exp").map(|exp| exp - seconds(now)),
            },
            served_at: seconds(now),
        },
    )
}

/// What `/api/whoami` tells. Times are Unix time in seconds.
#[derive(Serialize)]
struct Whoami<'a> {
    sub: Option<&'a str>,
    name: Option<&'a str>,
    email: Option<&'a str>,
    groups: Vec<&'a str>,
    token: TokenFacts<'a>,
    served_at: f64,
}

#[derive(Serialize)]
struct TokenFacts<'a> {
    id: &'a str,
    issued_at: Option<f64>,
    expires_at: Option<f64>,
    seconds_left: Option<f64>,
}

async fn echo<B: Readable>(body: B) -> Answer {
    match Limited::new(body, ECHO_LIMIT).collect().await {
        // Never as a type that a browser would run.
        Ok(whole) => respond(StatusCode::OK, "text/plain; charset=utf-8", whole.to_bytes()),
        Err(_) => problem(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
    }
}

/// What can be seen of a bearer token from outside.
struct Token {
    /// A short hash: enough to tell two tokens apart, and nothing to use.
    id: String,
    /// The payload, where the token is a JWT; otherwise null.
    claims: Value,
}

impl Token {
    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim)?.as_str()
    }

    fn number(&self, claim: &str) -> Option<f64> {
        self.claims.get(claim)?.as_f64()
    }

    fn groups(&self) -> Vec<&str> {
        let list = self.claims.get("groups").and_then(Value::as_array);
        list.map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }
}

/// The bearer token of a request. One that ran out is refused, as any API would.
fn authorize(headers: &HeaderMap, now: Timestamp) -> Result<Token, &'static str> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).ok_or("no_bearer")?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err("no_bearer");
    }
    let [a, b, c, ..] = sha256(token.as_bytes());
    let token = Token { id: format!("{a:02x}{b:02x}{c:02x}"), claims: payload(token).unwrap_or_default() };
    if token.number("exp").is_some_and(|exp| exp <= seconds(now)) {
        return Err("token_expired");
    }
    Ok(token)
}

fn payload(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(payload).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Unix time with its fraction; exact for milliseconds of this era.
#[expect(clippy::cast_precision_loss, reason = "53 bits hold milliseconds for 285,000 years")]
fn seconds(instant: Timestamp) -> f64 {
    instant.as_millis() as f64 / 1000.0
}

fn unauthorized(reason: &'static str) -> Answer {
    let mut response = problem(StatusCode::UNAUTHORIZED, reason);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

fn problem(status: StatusCode, error: &'static str) -> Answer {
    json_response(status, &json!({ "error": error }))
}

fn json_response(status: StatusCode, content: &impl Serialize) -> Answer {
    // Texts and numbers always serialize.
    respond(status, "application/json", Bytes::from(serde_json::to_vec(content).unwrap_or_default()))
}

fn respond(status: StatusCode, media_type: &'static str, content: Bytes) -> Answer {
    let mut response = Response::new(Full::new(content));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    response
}

/// No `form-action`: the logout form ends at the provider, which is another origin.
const PAGE_POLICY: &str = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Long enough to watch a call wait.
const SLOW: Duration = Duration::from_millis(1500);

const ECHO_LIMIT: usize = 64 * 1024;

#[cfg(test)]
mod tests;

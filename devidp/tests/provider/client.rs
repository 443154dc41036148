//! A small client of the provider: one connection per request, no cookie jar but one cookie.

use std::io;
use std::net::SocketAddr;

use base64_simd::STANDARD;
use devidp::{Client, Provider, Settings};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;
use tokio::net::TcpStream;
use url::{Url, form_urlencoded};

/// RFC 7636 appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const CALLBACK: &str = "http://app.test/callback";
/// Not the same before and after form encoding.
pub(crate) const SECRET: &str = "s:e c+r%et";

pub(crate) fn app() -> Client {
    Client::new("app", SECRET, CALLBACK).after_logout("http://app.test/bye")
}

pub(crate) async fn started() -> (Provider, Browser) {
    with(Settings::default()).await
}

pub(crate) async fn with(settings: Settings) -> (Provider, Browser) {
    let provider = Provider::start(settings).await.unwrap();
    provider.register(app());
    let browser = Browser::new(&provider);
    (provider, browser)
}

#[derive(Debug)]
pub(crate) struct Browser {
    address: SocketAddr,
    cookie: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// `null` where the body is no JSON.
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub(crate) fn callback(&self) -> Callback {
        assert_eq!(self.status, 302, "{self:?}");
        Callback(Url::parse(self.header("location")).unwrap().query_pairs().into_owned().collect())
    }
}

#[derive(Debug)]
pub(crate) struct Callback(Vec<(String, String)>);

impl Callback {
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn one(&self, name: &str) -> String {
        self.all(name).pop().unwrap_or_default()
    }
}

impl Browser {
    pub(crate) fn new(provider: &Provider) -> Self {
        Self { address: provider.address(), cookie: None }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, "").await.unwrap()
    }

    pub(crate) async fn form(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, None, &encoded(pairs)).await.unwrap()
    }

    pub(crate) async fn form_as_client(&self, path: &str, pairs: &[(&str, &str)]) -> Answer {
        self.send(Method::POST, path, Some(basic()), &encoded(pairs)).await.unwrap()
    }

    /// The authorization request, some parameters replaced.
    pub(crate) async fn authorize(&self, changes: &[(&str, &str)]) -> Answer {
        self.get(&authorization(changes)).await
    }

    pub(crate) async fn click(&self, sub: &str) -> Answer {
        self.form(&authorization(&[]), &[("user", sub)]).await
    }

    pub(crate) fn keep_cookie(&mut self, answer: &Answer) {
        self.cookie = answer.header("set-cookie").split(';').next().map(str::to_owned);
    }

    pub(crate) async fn callback(&self, sub: &str) -> Callback {
        self.authorize(&[("login_hint", sub)]).await.callback()
    }

    pub(crate) async fn redeem(&self, code: &str, verifier: &str) -> Answer {
        let grant = [("grant_type", "authorization_code"), ("code", code)];
        let proof = [("redirect_uri", CALLBACK), ("code_verifier", verifier)];
        self.form_as_client("/token", &[grant, proof].concat()).await
    }

    pub(crate) async fn signed_in(&self, sub: &str) -> Answer {
        let code = self.callback(sub).await.one("code");
        let answer = self.redeem(&code, VERIFIER).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        self.try_refresh(token).await.unwrap()
    }

    pub(crate) async fn try_refresh(&self, token: &str) -> io::Result<Answer> {
        let form = encoded(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        self.send(Method::POST, "/token", Some(basic()), &form).await
    }

    pub(crate) async fn userinfo(&self, token: &str) -> Answer {
        self.send(Method::GET, "/userinfo", Some(format!("Bearer {token}")), "").await.unwrap()
    }

    /// The claims, if the published key of that `kid` signed them.
    pub(crate) async fn verified(&self, token: &str) -> Value {
        let keys: JwkSet = serde_json::from_value(self.get("/jwks").await.json).unwrap();
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_audience(&["app"]);
        validation.validate_exp = false;
        jsonwebtoken::decode(token, &key, &validation).unwrap().claims
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        authorization: Option<String>,
        body: &str,
    ) -> io::Result<Answer> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        let mut request =
            Request::builder().method(method).uri(path).header("host", self.address.to_string());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body, json })
    }
}

fn authorization(changes: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("client_id", "app"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile offline_access"),
        ("state", "a-state"),
        ("nonce", "a-nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    pairs.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    pairs.extend(changes);
    format!("/authorize?{}", encoded(&pairs))
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// RFC 6749 §2.3.1: form-encoded, then base64.
fn basic() -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode_to_string(format!("{}:{}", encoded("app"), encoded(SECRET))))
}

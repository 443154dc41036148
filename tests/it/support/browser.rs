//! A browser as far as the gateway can tell: a cookie jar, redirects, `Sec-Fetch-*`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{ACCEPT, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use url::Url;

/// Cookies by host and port, then by name: a jar that keeps ports apart is enough here.
type Cookies = BTreeMap<String, BTreeMap<String, String>>;

/// One browser profile; clones are its tabs.
#[derive(Clone)]
pub(crate) struct Browser {
    home: Url,
    cookies: Arc<Mutex<Cookies>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) url: Url,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()))
    }

    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    /// The `Set-Cookie` fields of this reply for a cookie whose name begins with `name`.
    pub(crate) fn cookies(&self, name: &str) -> Vec<String> {
        let values = self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap().to_owned());
        values.filter(|value| value.starts_with(name)).collect()
    }

    pub(crate) fn deletes(&self, name: &str) -> bool {
        self.cookies(name).iter().any(|value| value.contains("Max-Age=0"))
    }
}

/// What kind of request it is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// A top-level navigation.
    Navigation,
    /// `fetch` from our own page.
    Fetch,
}

impl Browser {
    pub(crate) fn new(home: &str) -> Self {
        Self { home: Url::parse(home).unwrap(), cookies: Arc::default() }
    }

    pub(crate) fn home(&self) -> &Url {
        &self.home
    }

    /// `fetch(path)`
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, Kind::Fetch, &[]).await
    }

    /// `fetch(path, { method: "POST" })`
    pub(crate) async fn post(&self, path: &str) -> Reply {
        self.send(Method::POST, path, Kind::Fetch, &[]).await
    }

    /// A request of our own page to the gateway; no redirect is followed.
    pub(crate) async fn send(&self, method: Method, path: &str, kind: Kind, extra: &[(&str, &str)]) -> Reply {
        let url = self.home.join(path).unwrap();
        self.request(method, url, kind, extra).await
    }

    /// A navigation that follows redirects wherever they lead.
    pub(crate) async fn navigate(&self, path: &str) -> Reply {
        let url = self.home.join(path).unwrap();
        let reply = self.request(Method::GET, url, Kind::Navigation, &[]).await;
        self.follow(reply).await
    }

    /// Follows a reply's redirects to their end.
    pub(crate) async fn follow(&self, reply: Reply) -> Reply {
        let mut reply = reply;
        for _ in 0..15 {
            if !reply.status.is_redirection() {
                return reply;
            }
            let url = reply.url.join(reply.location()).unwrap();
            reply = self.request(Method::GET, url, Kind::Navigation, &[]).await;
        }
        panic!("redirected too often");
    }

    /// Follows one redirect of the gateway to the provider and back, up to the callback's own answer.
    pub(crate) async fn navigate_once(&self, url: &Url) -> Reply {
        self.request(Method::GET, url.clone(), Kind::Navigation, &[]).await
    }

    /// Logs in as `user` and ends at `return_to`.
    pub(crate) async fn log_in(&self, user: &str, return_to: &str) -> Reply {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("rd", return_to)
            .append_pair("login_hint", user)
            .finish();
        self.navigate(&format!("/oauth2/login?{query}")).await
    }

    /// Posts the provider's user picker and goes on to where it leads.
    pub(crate) async fn choose_user(&self, picker: &Reply, user: &str) -> Reply {
        let body = Bytes::from(format!("user={user}"));
        let mut headers = self.headers(&Method::POST, &picker.url, Kind::Navigation, &[]);
        headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        let reply = exchange(&Method::POST, &picker.url, headers, body).await;
        self.keep_cookies(&reply);
        self.follow(reply).await
    }

    /// `count` requests at once.
    pub(crate) async fn burst(&self, count: usize, path: &str) -> Vec<Reply> {
        join_all((0..count).map(|_| self.get(path))).await
    }

    /// Sends a request and goes away without waiting for the answer.
    pub(crate) async fn send_and_leave(&self, path: &str, after: Duration) {
        let url = self.home.join(path).unwrap();
        let authority = url.authority().to_owned();
        let mut socket = TcpStream::connect(socket_address(&url)).await.unwrap();
        let cookies = self.cookie_line(&url);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\
             Cookie: {cookies}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(after).await;
        drop(socket);
    }

    /// Another profile with a copy of this one's cookies, as they are now.
    pub(crate) fn copy(&self) -> Self {
        let cookies = self.cookies.lock().unwrap().clone();
        Self { home: self.home.clone(), cookies: Arc::new(Mutex::new(cookies)) }
    }

    /// The value of a cookie of the gateway.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(self.home.authority())?.get(name).cloned()
    }

    pub(crate) fn set_cookie(&self, name: &str, value: &str) {
        let mut cookies = self.cookies.lock().unwrap();
        cookies
            .entry(self.home.authority().to_owned())
            .or_default()
            .insert(name.to_owned(), value.to_owned());
    }

    /// The `Cookie` line that would be sent to the gateway.
    pub(crate) fn cookie_header(&self) -> String {
        self.cookie_line(&self.home)
    }

    fn cookie_line(&self, url: &Url) -> String {
        let cookies = self.cookies.lock().unwrap();
        let own = cookies.get(url.authority()).into_iter().flatten();
        own.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// One request on a connection of its own; cookies are taken from and put into the jar.
    pub(crate) async fn request(
        &self,
        method: Method,
        url: Url,
        kind: Kind,
        extra: &[(&str, &str)],
    ) -> Reply {
        let reply = exchange(&method, &url, self.headers(&method, &url, kind, extra), Bytes::new()).await;
        self.keep_cookies(&reply);
        reply
    }

    fn headers(&self, method: &Method, url: &Url, kind: Kind, extra: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(url.authority()).unwrap());
        let (mode, dest, accept) = match kind {
            Kind::Navigation => ("navigate", "document", "text/html,*/*;q=0.8"),
            Kind::Fetch => ("cors", "empty", "*/*"),
        };
        headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
        headers.insert("sec-fetch-dest", HeaderValue::from_static(dest));
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        if !matches!(*method, Method::GET | Method::HEAD) {
            let origin = self.home.origin().ascii_serialization();
            headers.insert(ORIGIN, HeaderValue::from_str(&origin).unwrap());
        }
        let cookies = self.cookie_line(url);
        if !cookies.is_empty() {
            headers.insert(COOKIE, HeaderValue::from_str(&cookies).unwrap());
        }
        for (name, value) in extra {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.remove(&name);
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        headers
    }

    fn keep_cookies(&self, reply: &Reply) {
        let mut cookies = self.cookies.lock().unwrap();
        let jar = cookies.entry(reply.url.authority().to_owned()).or_default();
        for value in reply.headers.get_all(SET_COOKIE) {
            let text = value.to_str().unwrap();
            let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

fn socket_address(url: &Url) -> (&'static str, u16) {
    ("127.0.0.1", url.port_or_known_default().unwrap())
}

/// One HTTP/1.1 exchange on a connection of its own; panics where none is had within 30 seconds.
pub(crate) async fn exchange(method: &Method, url: &Url, headers: HeaderMap, body: Bytes) -> Reply {
    let exchange = exchange_at_leisure(method, url, headers, body);
    let reply = tokio::time::timeout(Duration::from_secs(30), exchange).await;
    reply.unwrap_or_else(|_| panic!("no answer to {method} {url}"))
}

async fn exchange_at_leisure(method: &Method, url: &Url, headers: HeaderMap, body: Bytes) -> Reply {
    let socket = TcpStream::connect(socket_address(url)).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    let driver = tokio::spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::builder().method(method).uri(target).body(Full::new(body)).unwrap();
    *request.headers_mut() = headers;
    let response = sender.send_request(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    driver.abort();
    Reply { status: parts.status, headers: parts.headers, body, url: url.clone() }
}

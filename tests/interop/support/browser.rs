//! A browser without scripts: cookies, redirects, navigations, forms and fetches.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, ORIGIN};
use http::{Method, Request};
use http_body_util::Full;
use url::Url;

use super::cookies::{Change, Cookies};
use super::http::{Answer, send_through};

/// One browser; clones are tabs of it.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    home: Url,
    /// The replica that its requests to the gateway reach.
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    cookies: Cookies,
    deletions: Vec<String>,
}

impl Browser {
    pub(crate) fn new(home: &str) -> Self {
        let home: Url = home.parse().unwrap();
        Self { port: home.port_or_known_default().unwrap(), home, state: Arc::default() }
    }

    /// Another tab, whose requests reach another replica.
    pub(crate) fn through(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The same cookies at this moment, in a browser of its own: a copied cookie jar.
    pub(crate) fn copy(&self) -> Self {
        let cookies = self.state().cookies.clone();
        Self {
            home: self.home.clone(),
            port: self.port,
            state: Arc::new(Mutex::new(State { cookies, deletions: Vec::new() })),
        }
    }

    /// A top-level navigation, through all redirects.
    pub(crate) async fn navigate(&self, target: &str) -> Answer {
        let url = self.home.join(target).unwrap();
        self.go(&url, Method::GET, String::new()).await
    }

    /// A form that is posted, through all redirects.
    pub(crate) async fn submit(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let url = self.home.join(target).unwrap();
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.go(&url, Method::POST, body).await
    }

    async fn go(&self, url: &Url, mut method: Method, mut body: String) -> Answer {
        let mut url = url.clone();
        for _ in 0..MOST_REDIRECTS {
            let answer = self.step(&url, &method, &body).await.unwrap();
            let Some(next) = answer.location() else {
                return answer;
            };
            if answer.status != 307 && answer.status != 308 {
                (method, body) = (Method::GET, String::new());
            }
            url = next;
        }
        panic!("a loop of redirects, at {url}");
    }

    /// One request of a navigation; redirects are not followed.
    pub(crate) async fn step(&self, url: &Url, method: &Method, body: &str) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(method)
            .header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .header("sec-fetch-site", "same-origin")
            .header("sec-fetch-user", "?1");
        if method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            request = request.header(ORIGIN, url.origin().ascii_serialization());
        }
        let body = Full::new(Bytes::from(body.to_owned()));
        self.send(url, request.body(body).unwrap()).await
    }

    /// What a page's `fetch(path)` sees.
    pub(crate) async fn fetch(&self, path: &str) -> Answer {
        self.try_fetch(path).await.unwrap()
    }

    /// The same where there may be no answer.
    pub(crate) async fn try_fetch(&self, path: &str) -> Result<Answer, String> {
        let request = Request::get("/").header(ACCEPT, "application/json").header("sec-fetch-mode", "cors");
        let request = request.header("sec-fetch-dest", "empty").header("sec-fetch-site", "same-origin");
        self.send(&self.home.join(path).unwrap(), request.body(Full::default()).unwrap()).await
    }

    /// The bytes of `fetch(path)`, for tests that hold the socket themselves.
    pub(crate) fn raw_fetch(&self, path: &str) -> String {
        let host = &self.home[url::Position::BeforeHost..url::Position::AfterPort];
        let cookies = self.cookie_header().unwrap_or_default();
        format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nSec-Fetch-Mode: cors\r\n\
             Sec-Fetch-Site: same-origin\r\nCookie: {cookies}\r\n\r\n"
        )
    }

    /// What it would send to the gateway as `Cookie`.
    pub(crate) fn cookie_header(&self) -> Option<String> {
        self.state().cookies.header(&self.home)
    }

    /// Whether it holds a session's cookie, good or not.
    pub(crate) fn has_session(&self) -> bool {
        let names = self.cookie_header().unwrap_or_default();
        names.split("; ").filter_map(|pair| pair.split('=').next()).any(is_session)
    }

    /// Deletions of a cookie of the gateway's session so far.
    pub(crate) fn deletions(&self) -> Vec<String> {
        self.state().deletions.clone()
    }

    async fn send(&self, url: &Url, mut request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let cookies = self.state().cookies.header(url);
        if let Some(cookies) = cookies {
            request.headers_mut().insert(COOKIE, cookies.parse().unwrap());
        }
        let ours = url.port() == self.home.port();
        let port = if ours { self.port } else { url.port_or_known_default().unwrap() };
        let answer = send_through(port, url, request).await?;
        let mut state = self.state();
        for change in state.cookies.take(url, &answer.headers) {
            if let Change::Deleted { name } = change
                && is_session(&name)
            {
                state.deletions.push(format!("{name} by {}", answer.text()));
            }
        }
        Ok(answer)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// Whether a cookie is the session's or a chunk of it. What a login under way uses has another name.
fn is_session(name: &str) -> bool {
    name.split('.').next() == Some("bearward")
}

/// More than a login needs at any provider.
const MOST_REDIRECTS: usize = 15;

//! A provider, an API and the gateway between them, in one process, on ports of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bearward::app::App;
use bearward::base::tls;
use bearward::config;
use bytes::Bytes;
use devidp::{Client, Provider, Settings};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::api::Api;
use super::browser::{Browser, Reply, exchange};
use super::clock::ShiftedClock;

const SECRET: &str = "a-secret-of-the-tests-0123456789abcdef";
const KEY: &str = "q1w2e3r4t5y6u7i8o9p0a1s2d3f4g5h6j7k8l9z0x1c";
const NEXT_KEY: &str = "-PzhZ7V5g9OAKWKyIcTN3iFXGE8lp3MFytHx1sNkkiQ";

/// What a test wants of its world.
pub(crate) struct WorldBuilder {
    provider: Settings,
    yaml: String,
    routes: String,
    provider_yaml: String,
    upstream: Option<String>,
    offline: bool,
    down: bool,
    process: bool,
}

pub(crate) struct World {
    pub(crate) idp: Provider,
    pub(crate) api: Api,
    pub(crate) clock: Arc<ShiftedClock>,
    pub(crate) home: String,
    text: String,
    app: Option<App>,
    process: Option<Process>,
}

/// The gateway as a child process.
struct Process {
    child: tokio::process::Child,
    admin: u16,
    folder: tempfile::TempDir,
}

impl World {
    /// A provider that needs 100 to 400 ms for a token: at loopback speed even the worst gateways look well.
    pub(crate) fn plan() -> WorldBuilder {
        let provider = Settings {
            token_delay: Duration::from_millis(100)..=Duration::from_millis(400),
            ..Settings::default()
        };
        let routes = "  - { path: /api/*, upstream: UPSTREAM, auth: session }\n  \
                      - { path: /still/*, upstream: UPSTREAM, auth: session, refresh: false }\n  \
                      - { path: /*, upstream: UPSTREAM, auth: none }\n";
        WorldBuilder {
            provider,
            yaml: String::new(),
            routes: routes.to_owned(),
            provider_yaml: String::new(),
            upstream: None,
            offline: true,
            down: false,
            process: false,
        }
    }

    pub(crate) async fn start() -> Self {
        Self::plan().start().await
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        match &self.app {
            Some(app) => app.addresses()[0],
            None => ([127, 0, 0, 1], Url::parse(&self.home).unwrap().port().unwrap()).into(),
        }
    }

    /// A browser that nobody logged in with.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new(&self.home)
    }

    /// A browser in which `user` is logged in.
    pub(crate) async fn signed_in(&self, user: &str) -> Browser {
        let browser = self.browser();
        let reply = browser.log_in(user, "/").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        browser
    }

    /// The same, where the first page is not open to everyone.
    pub(crate) async fn signed_in_at(&self, user: &str, path: &str) -> Browser {
        let browser = self.browser();
        let reply = browser.log_in(user, path).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        browser
    }

    /// Waits until the provider has seen what `condition` says; panics after 20 seconds.
    pub(crate) async fn provider_saw(&self, condition: impl FnMut(&devidp::Counts) -> bool) {
        let seen = self.idp.seen().wait_for(condition);
        let arrived = tokio::time::timeout(Duration::from_secs(20), seen).await;
        assert!(arrived.is_ok(), "the provider has seen only {:?}", self.idp.seen().counts());
    }

    /// Waits until `condition` holds; false after half a minute.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, condition: impl Fn() -> F) -> bool {
        let start = std::time::Instant::now();
        while start.elapsed() < Duration::from_secs(30) {
            if condition().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// An address on the admin listener.
    pub(crate) fn admin_url(&self, path: &str) -> Url {
        let port = match (&self.app, &self.process) {
            (Some(app), _) => app.admin_address().unwrap().port(),
            (None, process) => process.as_ref().unwrap().admin,
        };
        Url::parse(&format!("http://127.0.0.1:{port}{path}")).unwrap()
    }

    /// A request to the admin listener.
    pub(crate) async fn admin_get(&self, path: &str) -> Reply {
        let url = self.admin_url(path);
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        exchange(&Method::GET, &url, headers, Bytes::new()).await
    }

    /// Another gateway in the place of this one, with the same configuration and nothing remembered.
    pub(crate) async fn restart(mut self) -> Self {
        let old = self.app.take().unwrap();
        tokio::task::spawn_blocking(move || old.stop()).await.unwrap();
        self.app = Some(start_app(&self.text, &self.clock).await);
        self
    }

    /// Time passes for the gateway and the provider alike.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.idp.advance_clock(time);
    }

    /// The access token of every session runs out.
    pub(crate) fn expire_access_tokens(&self) {
        self.pass(Duration::from_secs(301));
    }

    /// Requests until one is answered with 200; panics after `limit`.
    pub(crate) async fn recovers_within(&self, limit: Duration, browser: &Browser, path: &str) -> Duration {
        let start = std::time::Instant::now();
        loop {
            let reply = browser.get(path).await;
            if reply.status == 200 {
                return start.elapsed();
            }
            assert!(start.elapsed() < limit, "still {} after {limit:?}: {}", reply.status, reply.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a log must never show.
    pub(crate) fn secrets() -> [String; 2] {
        [SECRET.to_owned(), KEY.to_owned()]
    }

    /// Kills the child process as a crash does, and starts another with the same file.
    pub(crate) async fn kill_and_start_again(&mut self) {
        let process = self.process.as_mut().unwrap();
        process.child.kill().await.unwrap();
        process.child = spawn(&process.folder);
        wait_for_port(Url::parse(&self.home).unwrap().port().unwrap()).await;
    }

    /// What comes of a second process with the same file, on ports of its own.
    pub(crate) fn second_process(&self) -> std::process::Output {
        let folder = &self.process.as_ref().unwrap().folder;
        let text = std::fs::read_to_string(folder.path().join("world.yaml")).unwrap();
        let other = format!("127.0.0.1:{}", free_port());
        let lines = text.lines().map(|line| match line.split(':').next() {
            Some("listeners") => format!("listeners: [ {{ address: \"{other}\" }} ]"),
            Some("admin") => format!("admin: {{ address: \"127.0.0.1:{}\" }}", free_port()),
            _ => line.to_owned(),
        });
        let second = folder.path().join("second.yaml");
        std::fs::write(&second, lines.collect::<Vec<_>>().join("\n")).unwrap();
        let command = std::process::Command::new(env!("CARGO_BIN_EXE_bearward"))
            .args(["run", "--config"])
            .arg(second)
            .envs([("SECRET", SECRET), ("KEY", KEY)])
            .output();
        command.unwrap()
    }

    /// The memory that the child process holds, in KiB.
    pub(crate) fn resident(&self) -> usize {
        let Some(process) = &self.process else { panic!("not in a process") };
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", process.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What the child process has logged so far.
    pub(crate) fn logged(&self) -> String {
        let Some(process) = &self.process else { panic!("not in a process") };
        std::fs::read_to_string(process.folder.path().join("log")).unwrap()
    }

    fn signal(&self, signal: &str) -> String {
        let Some(process) = &self.process else { panic!("not in a process") };
        let id = process.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
        id
    }

    /// Changes the child process' configuration and sends SIGHUP; returns once `logged` is in a new line of its log.
    pub(crate) async fn reload(&self, change: impl FnOnce(&str) -> String, logged: &str) {
        let Some(process) = &self.process else { panic!("not in a process") };
        let file = process.folder.path().join("world.yaml");
        let text = change(&std::fs::read_to_string(&file).unwrap());
        std::fs::write(&file, text).unwrap();
        let before = self.logged().len();
        self.signal("-HUP");
        let seen = || async { self.logged()[before..].contains(logged) };
        assert!(self.until(seen).await, "{logged:?} is not in\n{}", &self.logged()[before..]);
    }

    /// Ends the child process by SIGTERM and returns what it logged.
    pub(crate) async fn stop_process(&self) -> String {
        let id = self.signal("-TERM");
        let gone = || async {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        assert!(self.until(gone).await, "still running half a minute after SIGTERM");
        self.logged()
    }

    /// Ends the gateway as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        if let Some(app) = self.app.take() {
            tokio::task::spawn_blocking(move || app.stop()).await.unwrap();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            // A runtime must not be dropped inside another.
            std::thread::spawn(move || drop(app)).join().unwrap();
        }
    }
}

impl WorldBuilder {
    pub(crate) fn provider(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.provider);
        self
    }

    /// Further top-level lines of the configuration.
    pub(crate) fn yaml(mut self, lines: &str) -> Self {
        self.yaml.push_str(lines);
        self.yaml.push('\n');
        self
    }

    /// Further lines of the `provider` section, indented by two.
    pub(crate) fn provider_yaml(mut self, lines: &str) -> Self {
        self.provider_yaml = format!("{lines}\n");
        self
    }

    /// The provider cannot be reached when the gateway starts.
    pub(crate) fn provider_down(mut self) -> Self {
        self.down = true;
        self
    }

    /// The gateway is the real binary, in a process of its own. Its clock cannot be moved.
    pub(crate) fn in_a_process(mut self) -> Self {
        self.process = true;
        self
    }

    /// Other routes; `UPSTREAM` stands for the API.
    pub(crate) fn routes(mut self, lines: &str) -> Self {
        self.routes = lines.to_owned();
        self
    }

    /// Another upstream than the API.
    pub(crate) fn upstream(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    /// The provider gives this client no refresh tokens.
    pub(crate) fn without_refresh_tokens(mut self) -> Self {
        self.offline = false;
        self
    }

    pub(crate) async fn start(self) -> World {
        tls::install_provider();
        let idp = Provider::start(self.provider).await.unwrap();
        let api = Api::start(idp.clone()).await;
        let port = free_port();
        let admin = if self.process { free_port() } else { 0 };
        let home = format!("http://localhost:{port}");
        let mut client = Client::new("bearward", SECRET, format!("{home}/oauth2/callback"))
            .after_logout(format!("{home}/oauth2/logout/callback"));
        client.allow_offline = self.offline;
        idp.register(client);
        let upstream = self.upstream.unwrap_or_else(|| api.url());
        let routes = self.routes.replace("UPSTREAM", &upstream);
        let (issuer, provider, extra) = (idp.issuer(), self.provider_yaml, self.yaml);
        let text = format!(
            "public_url: {home}\n\
             listeners: [ {{ address: 127.0.0.1:{port} }} ]\n\
             admin: {{ address: 127.0.0.1:{admin} }}\n\
             workers: 2\n\
             provider:\n  issuer: {issuer}\n  client_id: bearward\n  client_secret: {{ env: SECRET }}\n  \
             post_logout_redirect_uri: {home}/oauth2/logout/callback\n  \
             scopes: [openid, profile, email, offline_access]\n{provider}\
             endpoints: {{ login_params: [login_hint, ui_locales] }}\n\
             routes:\n{routes}{extra}"
        );
        let text = if text.contains("\nsession:") {
            text
        } else {
            format!("{text}session: {{ keys: [{{ env: KEY }}] }}\n")
        };
        if self.down {
            idp.stop_listening().await;
        }
        let clock = Arc::new(ShiftedClock::default());
        let (app, process) = if self.process {
            (None, Some(start_process(&text, port, admin).await))
        } else {
            (Some(start_app(&text, &clock).await), None)
        };
        World { idp, api, clock, home, text, app, process }
    }
}

async fn start_process(text: &str, port: u16, admin: u16) -> Process {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("world.yaml"), text).unwrap();
    let child = spawn(&folder);
    wait_for_port(port).await;
    Process { child, admin, folder }
}

fn spawn(folder: &tempfile::TempDir) -> tokio::process::Child {
    let file = folder.path().join("world.yaml");
    let log = std::fs::File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    tokio::process::Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["run", "--config"])
        .arg(&file)
        .env("SECRET", SECRET)
        .env("KEY", KEY)
        .env("NEXT_KEY", NEXT_KEY)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Waits until somebody listens.
pub(crate) async fn wait_for_port(port: u16) {
    let start = std::time::Instant::now();
    while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody listens on {port}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn start_app(text: &str, clock: &Arc<ShiftedClock>) -> App {
    let env = BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned()), ("KEY".to_owned(), KEY.to_owned())]);
    let settings = config::load_text("world.yaml", text, Path::new("."), &env)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let clock = Arc::clone(clock);
    tokio::task::spawn_blocking(move || App::start(settings, clock)).await.unwrap().unwrap()
}

/// A port that was free a moment ago, outside the range from which outgoing connections take theirs.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(89);
    loop {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 2_000;
        let port = 30_000 + u16::try_from(place).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

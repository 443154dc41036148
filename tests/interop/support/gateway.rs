//! The `bearward` binary with a file of its own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::process::Process;
use super::provider::{Provider, Ready};
use super::upstream::Upstream;
use super::{Setup, http, until};

/// A running gateway.
pub(crate) struct Gateway {
    /// What browsers see.
    pub(crate) url: String,
    /// Where it listens.
    pub(crate) port: u16,
    admin: String,
    process: Process,
    folder: TempDir,
}

/// Where a gateway listens, and what browsers think.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// What is in the public URL.
    pub(crate) public: u16,
    /// Where this replica listens.
    pub(crate) own: u16,
}

impl Gateway {
    /// Starts one on `port` and waits until it is ready.
    pub(crate) async fn start(port: u16, provider: &Provider, upstream: &Upstream, setup: &Setup) -> Self {
        let ports = Ports { public: port, own: port };
        Self::replica(ports, &make_key(), provider, upstream, setup).await
    }

    /// Starts one of several with the same `key`, and waits until it is ready.
    pub(crate) async fn replica(
        ports: Ports,
        key: &str,
        provider: &Provider,
        upstream: &Upstream,
        setup: &Setup,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("session.key"), key).unwrap();
        let admin = free_port();
        let file = configuration(ports, admin, &provider.ready, upstream, setup);
        fs::write(folder.path().join("bearward.yaml"), file).unwrap();
        fs::write(folder.path().join("client.secret"), &provider.ready.client_secret).unwrap();
        let process = run(&folder);
        let url = format!("http://localhost:{}", ports.public);
        let admin = format!("http://127.0.0.1:{admin}");
        let mut gateway = Self { url, port: ports.own, admin, process, folder };
        gateway.ready().await;
        gateway
    }

    /// Kills it and starts it anew, with the same file and keys.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.start_again().await;
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to come to rest, as a deployment does, and waits until it has.
    pub(crate) async fn terminate(&mut self) {
        self.process.signal("-TERM");
        let ended = async |process: &mut Process| {
            while !process.has_ended() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(30), ended(&mut self.process)).await;
        assert!(in_time.is_ok(), "it does not end: {}", self.process.log());
    }

    /// Starts it after its end.
    pub(crate) async fn start_again(&mut self) {
        self.process = run(&self.folder);
        self.ready().await;
    }

    /// The address of its readiness.
    pub(crate) fn readiness(&self) -> String {
        format!("{}/readyz", self.admin)
    }

    /// The value of a metric, by its name with labels as it is written.
    pub(crate) async fn metric(&self, series: &str) -> u64 {
        let text = http::get(&format!("{}/metrics", self.admin)).await.unwrap().text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }

    async fn ready(&mut self) {
        let url = format!("{}/readyz", self.admin);
        until("the gateway is ready", Duration::from_secs(20), || {
            assert!(!self.process.has_ended(), "the gateway ended: {}", self.process.log());
            async { http::get(&url).await.ok().filter(|answer| answer.status == 200) }
        })
        .await;
    }
}

/// Runs the `bearward.yaml` in a folder.
pub(crate) fn run(folder: &TempDir) -> Process {
    let mut command = Command::new(BEARWARD);
    command.arg("run").arg(folder.path().join("bearward.yaml"));
    let mut process = Process::start("bearward", command, folder.path());
    process.ignore_stdout();
    process
}

/// Runs a file of which no request needs the provider; waits until somebody listens on `port`. It may name
/// `session.key` and `client.secret`.
pub(crate) async fn without_provider(folder: &TempDir, port: u16, text: &str) -> Process {
    fs::write(folder.path().join("bearward.yaml"), text).unwrap();
    fs::write(folder.path().join("session.key"), make_key()).unwrap();
    fs::write(folder.path().join("client.secret"), "b5e1a0c39d7f4826b5e1a0c39d7f4826").unwrap();
    let process = run(folder);
    listens(port).await;
    process
}

/// Waits until somebody listens.
pub(crate) async fn listens(port: u16) {
    until("somebody listens", Duration::from_secs(20), || async {
        TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
    })
    .await;
}

/// A new session key, as text.
pub(crate) fn make_key() -> String {
    let made = Command::new(BEARWARD).arg("keygen").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

fn configuration(ports: Ports, admin: u16, provider: &Ready, upstream: &Upstream, setup: &Setup) -> String {
    let Ports { public: port, own } = ports;
    let Ready { issuer, client_id, resource, .. } = provider;
    let address = upstream.address;
    let Setup { provider: more_of_provider, more, .. } = setup;
    format!(
        r#"
public_url: http://localhost:{port}
listeners: [ {{ address: "127.0.0.1:{own}" }} ]
admin: {{ address: "127.0.0.1:{admin}" }}
log: {{ format: json }}
provider:
  issuer: {issuer}
  client_id: {client_id}
  client_secret: {{ file: client.secret }}
  scopes: [openid, profile, email, offline_access, api]
  authorization_params: {{ prompt: consent }}
  resources: [ {resource} ]
  post_logout_redirect_uri: http://localhost:{port}/oauth2/logout/callback
{more_of_provider}
session:
  keys: [ {{ file: session.key }} ]
{more}
routes:
  - {{ path: /api/*, upstream: "http://{address}", auth: session }}
  - {{ path: /app/*, upstream: "http://{address}", auth: session }}
  - {{ path: /*, upstream: "http://{address}", auth: none }}
"#
    )
}

/// A port that nobody listens on. Below the range from which the system takes ports for outgoing connections:
/// one of those could take it before it is used.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    loop {
        let place = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let port = 20_000 + u16::try_from(place).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

const BEARWARD: &str = env!("CARGO_BIN_EXE_bearward");

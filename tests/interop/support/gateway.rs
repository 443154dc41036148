//! The `bearward` binary with a file of its own.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::provider::{Provider, Ready};
use super::upstream::Upstream;
use super::{Setup, http, until};

/// A running gateway.
pub(crate) struct Gateway {
    /// What browsers see.
    pub(crate) url: String,
    admin: String,
    process: Process,
    folder: TempDir,
}

impl Gateway {
    /// Starts one on `port` and waits until it is ready.
    pub(crate) async fn start(port: u16, provider: &Provider, upstream: &Upstream, setup: &Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("session.key");
        let made = Command::new(BEARWARD).arg("keygen").arg("--out").arg(&key).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let admin = free_port();
        let file = configuration(port, admin, &provider.ready, upstream, setup);
        fs::write(folder.path().join("bearward.yaml"), file).unwrap();
        fs::write(folder.path().join("client.secret"), &provider.ready.client_secret).unwrap();
        let process = run(&folder);
        let url = format!("http://localhost:{port}");
        let mut gateway = Self { url, admin: format!("http://127.0.0.1:{admin}"), process, folder };
        gateway.ready().await;
        gateway
    }

    /// Kills it and starts it anew, with the same file and keys.
    pub(crate) async fn restart(&mut self) {
        self.process.kill();
        self.process = run(&self.folder);
        self.ready().await;
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

fn run(folder: &TempDir) -> Process {
    let mut command = Command::new(BEARWARD);
    command.arg("run").arg(folder.path().join("bearward.yaml"));
    let mut process = Process::start("bearward", command, folder.path());
    process.ignore_stdout();
    process
}

fn configuration(port: u16, admin: u16, provider: &Ready, upstream: &Upstream, setup: &Setup) -> String {
    let Ready { issuer, client_id, resource, .. } = provider;
    let address = upstream.address;
    let Setup { provider: more_of_provider, more, .. } = setup;
    format!(
        r#"
public_url: http://localhost:{port}
listeners: [ {{ address: "127.0.0.1:{port}" }} ]
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

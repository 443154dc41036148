//! npm `oidc-provider` in a Node process, and what it saw.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Setup;
use super::gateway::free_port;
use super::http;
use super::process::Process;

/// A running provider.
pub(crate) struct Provider {
    pub(crate) ready: Ready,
    _process: Process,
    _folder: TempDir,
}

/// What it says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub issuer: String,
    pub control: String,
    pub client_id: String,
    pub client_secret: String,
    pub resource: String,
}

/// What it saw so far.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    pub tokens: Vec<TokenRequest>,
    pub revocations: Vec<Revocation>,
    pub logouts: usize,
    pub grants: Vec<Grant>,
}

/// One request to the token endpoint. Tokens are told by a hash.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenRequest {
    pub grant_type: String,
    /// `open`, `ok`, `error:…`, `fault:…` (the token was not spent), `lost:…` (it was, and no answer was sent).
    pub outcome: String,
    /// The refresh token that was presented.
    pub spent: Option<String>,
    /// The refresh token that was made.
    pub made: Option<String>,
}

/// One request to the revocation endpoint.
#[derive(Debug, Deserialize)]
pub(crate) struct Revocation {
    pub token: String,
    pub status: u16,
}

/// One login.
#[derive(Debug, Deserialize)]
pub(crate) struct Grant {
    pub alive: bool,
    /// What the provider would have asked the user for: `login` or `consent`.
    pub prompt: String,
}

impl Provider {
    /// Starts one whose client lives at `port` of localhost.
    pub(crate) async fn start(port: u16, setup: &Setup) -> Self {
        let base = format!("http://localhost:{port}");
        let options = json!({
            "port": free_port(),
            "token_life": setup.token_life,
            "delay": [setup.delay.0, setup.delay.1],
            "redirect_uris": [format!("{base}/oauth2/callback")],
            "post_logout_redirect_uris": [format!("{base}/oauth2/logout/callback")],
        });
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("node");
        command.arg(fixtures().join("provider.mjs")).arg(options.to_string());
        let mut process = Process::start("provider", command, folder.path());
        let ready = serde_json::from_str(&process.first_line().await).unwrap();
        Self { ready, _process: process, _folder: folder }
    }

    /// What it saw so far.
    pub(crate) async fn seen(&self) -> Seen {
        let answer = http::get(&format!("{}/state", self.ready.control)).await.unwrap();
        serde_json::from_value(answer.json()).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    }

    /// Switches a fault of the token endpoint on; see `provider.mjs`.
    pub(crate) async fn break_with(&self, fault: &Value) {
        let answer = http::post(&format!("{}/fault", self.ready.control), fault.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// All is well again when this returns.
    pub(crate) async fn mend(&self) {
        let answer = http::post(&format!("{}/clear", self.ready.control), "").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

impl Seen {
    /// The refreshes whose token was judged by the provider.
    pub(crate) fn refreshes(&self) -> impl Iterator<Item = &TokenRequest> {
        self.tokens.iter().filter(|request| request.grant_type == "refresh_token")
    }

    /// How many refreshes came out as `outcome`.
    pub(crate) fn refreshed(&self, outcome: &str) -> usize {
        self.refreshes().filter(|request| request.outcome == outcome).count()
    }

    /// How often the refresh token `hash` reached the provider's own code.
    pub(crate) fn spendings(&self, hash: &str) -> usize {
        let judged = self.refreshes().filter(|request| !request.outcome.starts_with("fault:"));
        judged.filter(|request| request.spent.as_deref() == Some(hash)).count()
    }

    /// Refresh tokens that came more than once (rule 1). Attempts that a fault turned away before they were
    /// judged are repeated on purpose.
    pub(crate) fn spent_twice(&self) -> Vec<&str> {
        let all = self.refreshes().filter_map(|request| request.spent.as_deref());
        let mut twice: Vec<_> = all.filter(|hash| self.spendings(hash) > 1).collect();
        twice.dedup();
        twice
    }
}

/// Whether it can be run here.
pub(crate) fn available() -> Result<(), String> {
    let node = Command::new("node").arg("--version").output();
    if !node.is_ok_and(|output| output.status.success()) {
        return Err("`node` cannot be run; `scripts/test.sh` sets everything up".to_owned());
    }
    let package = fixtures().join("node_modules/oidc-provider/package.json");
    if !package.is_file() {
        return Err("no node_modules; run `npm ci` in tests/interop/node".to_owned());
    }
    Ok(())
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/node")
}

//! gRPC through the gateway, as a library that others wrote speaks it on both sides.
//!
//! Every kind of call, over TLS and without, to an upstream that speaks HTTP/2 without TLS; and what a gRPC client makes
//! of our own answers: it maps the HTTP status (`doc/http-grpc-status-mapping.md` of gRPC).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::gateway::{free_port, make_key, run};
use crate::support::process::Process;
use crate::support::provider::{self, Provider};
use crate::support::upstream::Upstream;
use crate::support::{Setup, http, missing, signed_in, until};

/// A gRPC server, and the gateway before it.
struct World {
    url: String,
    port: u16,
    tls: u16,
    folder: TempDir,
    _gateway: Process,
    _server: Process,
    _provider: Provider,
    _upstream: Upstream,
}

impl World {
    /// `None` where something of it cannot be had; that has been said then.
    async fn start() -> Option<Self> {
        if let Err(why) = provider::available() {
            missing(&why);
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut server = node(&folder, "server", &["server"]);
        let ready: Value = serde_json::from_str(&server.first_line().await).unwrap();
        let (port, tls, admin) = (free_port(), free_port(), free_port());
        let upstream = Upstream::start().await;
        let provider = Provider::start(port, &Setup::default()).await;
        let issuer = &provider.ready;
        let text = format!(
            r#"
public_url: http://localhost:{port}
listeners:
  - {{ address: "127.0.0.1:{port}" }}
  - {{ address: "127.0.0.1:{tls}", tls: {{ cert: cert.pem, key: key.pem }} }}
admin: {{ address: "127.0.0.1:{admin}" }}
provider:
  issuer: {}
  client_id: {}
  client_secret: {{ file: client.secret }}
  scopes: [openid, profile, email, offline_access, api]
  authorization_params: {{ prompt: consent }}
  resources: [ {} ]
session:
  keys: [ {{ file: session.key }} ]
upstreams:
  grpc: {{ endpoints: ["http://127.0.0.1:{grpc}"], http2: true }}
  down: {{ endpoints: ["http://127.0.0.1:{}"], http2: true }}
  silent: {{ endpoints: ["http://127.0.0.1:{grpc}"], http2: true, timeouts: {{ read: 500ms }} }}
routes:
  - {{ path: /echo.Echo/*, upstream: grpc, auth: none }}
  - {{ path: /guarded.Echo/*, upstream: grpc, auth: session }}
  - {{ path: /down.Echo/*, upstream: down, auth: none }}
  - {{ path: /silent.Echo/*, upstream: silent, auth: none }}
  - {{ path: /api/*, upstream: "http://{web}", auth: session }}
  - {{ path: /app/*, upstream: "http://{web}", auth: session }}
"#,
            issuer.issuer,
            issuer.client_id,
            issuer.resource,
            free_port(),
            grpc = ready["port"],
            web = upstream.address,
        );
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("bearward.yaml", &text);
        write("session.key", &make_key());
        write("client.secret", &issuer.client_secret);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write("cert.pem", &made.cert.pem());
        write("key.pem", &made.signing_key.serialize_pem());
        let gateway = run(&folder);
        let readiness = format!("http://127.0.0.1:{admin}/readyz");
        until("the gateway is ready", Duration::from_secs(20), || async {
            http::get(&readiness).await.ok().filter(|answer| answer.status == 200)
        })
        .await;
        let url = format!("http://localhost:{port}");
        Some(Self {
            url,
            port,
            tls,
            folder,
            _gateway: gateway,
            _server: server,
            _provider: provider,
            _upstream: upstream,
        })
    }

    /// Makes every call; what came of them, before and after the session was ended.
    async fn calls(&self, port: u16, ca: Option<PathBuf>, browser: &Browser) -> (Value, Value) {
        let options = json!({
            "address": format!("localhost:{port}"),
            "ca": ca,
            "cookie": browser.cookie_header(),
            "origin": self.url,
        });
        let mut client = node(&self.folder, "client", &["client", &options.to_string()]);
        let results = serde_json::from_str(&client.first_line().await).unwrap();
        let end = browser.submit("/oauth2/logout", &[]).await;
        assert!(end.status < 400, "{}", end.text());
        let last = until("the watch ends", Duration::from_secs(20), || async {
            let log = client.log();
            log.lines().rev().find_map(|line| serde_json::from_str(line).ok())
        })
        .await;
        client.kill();
        fs::remove_file(self.folder.path().join("client.log")).unwrap();
        (results, last)
    }
}

fn node(folder: &TempDir, name: &'static str, arguments: &[&str]) -> Process {
    let mut command = Command::new("node");
    command.arg(provider::fixtures().join("grpc.mjs")).args(arguments);
    Process::start(name, command, folder.path())
}

// gRPC's own numbers.
const OK: i32 = 0;
const CANCELLED: i32 = 1;
const DEADLINE_EXCEEDED: i32 = 4;
const PERMISSION_DENIED: i32 = 7;
const FAILED_PRECONDITION: i32 = 9;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

#[tokio::test]
async fn every_kind_of_call_passes_and_our_own_answers_are_understood() {
    let Some(world) = World::start().await else { return };
    for (port, ca) in [(world.port, None), (world.tls, Some(world.folder.path().join("cert.pem")))] {
        let browser = signed_in(&world.url, "alice").await;
        let (results, last) = world.calls(port, ca, &browser).await;
        let of = |name: &str, key: &str| results[name][key].clone();
        for (name, code) in [
            ("unary", OK),
            ("large", OK),
            ("fail", FAILED_PRECONDITION),
            ("collect", OK),
            ("count", OK),
            ("chat", OK),
            ("deadline", DEADLINE_EXCEEDED),
            ("cancel", CANCELLED),
            ("broken", INTERNAL),
            ("nobody", UNAUTHENTICATED),
            ("crossSite", PERMISSION_DENIED),
            ("guarded", OK),
            ("down", UNAVAILABLE),
            ("silent", UNAVAILABLE),
            ("nowhere", UNIMPLEMENTED),
        ] {
            assert_eq!(of(name, "code"), code, "{name}: {results:#}");
        }
        // Metadata both ways, as text and as bytes; trailers behind a message and without one.
        assert_eq!(of("unary", "text"), "hello");
        assert_eq!(results["unary"]["initial"]["saw-bytes"], "0100fe", "{results:#}");
        assert_eq!(results["unary"]["initial"]["saw-deadline"], "true", "grpc-timeout passes: {results:#}");
        assert_eq!((of("unary", "trailer"), of("fail", "trailer")), ("00ff0a0d".into(), "00ff0a0d".into()));
        assert_eq!(of("fail", "details"), "not now: ünsure");
        assert_eq!((of("large", "length"), of("many", "good")), (5_000_000.into(), 200.into()));
        assert_eq!((of("collect", "text"), of("count", "received")), ("2000000".into(), 1000.into()));
        assert_eq!((of("chat", "received"), of("chat", "last")), (20.into(), "word 19".into()));
        // A session's token is put in, and only where there is a session.
        assert_eq!(results["guarded"]["initial"]["saw-authorization"], "Bearer", "{results:#}");
        assert_eq!(results["unary"]["initial"]["saw-authorization"], "none", "{results:#}");
        // Whoever gives up is heard by the server: the deadline's call, and the one that was cancelled.
        assert!(results["cancelled"].as_str().unwrap().parse::<u32>().unwrap() >= 2, "{results:#}");
        // A stream ends with its session (std:165), and nothing else on its connection does.
        assert_eq!((&last["code"], &last["after"]["code"]), (&CANCELLED.into(), &OK.into()), "{last}");
    }
}

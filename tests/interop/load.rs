//! Load by the tools of others: not one request may fail.
//!
//! `h2load` and `nghttp` speak nghttp2's HTTP/2, `wrk` its own HTTP/1.1. How fast it goes is told by `benches/`.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::support::gateway::{free_port, without_provider};
use crate::support::missing;
use crate::support::process::Process;
use crate::support::upstream::Upstream;

/// The gateway with and without TLS before one upstream, over the fast path or pingora's. Its provider is away.
struct Gateway {
    port: u16,
    tls: u16,
    _process: Process,
    folder: TempDir,
    _upstream: Upstream,
}

impl Gateway {
    async fn start(fast_path: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, tls, admin) = (free_port(), free_port(), free_port());
        let upstream = Upstream::start().await;
        let text = format!(
            r#"
public_url: http://localhost:{port}
listeners:
  - {{ address: "127.0.0.1:{port}" }}
  - {{ address: "127.0.0.1:{tls}", tls: {{ cert: cert.pem, key: key.pem }} }}
admin: {{ address: "127.0.0.1:{admin}" }}
fast_path: {fast_path}
provider: {{ issuer: "http://127.0.0.1:9", client_id: a, client_secret: {{ file: client.secret }} }}
session: {{ keys: [ {{ file: session.key }} ] }}
routes: [ {{ path: /*, upstream: "http://{}", auth: none }} ]
"#,
            upstream.address
        );
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        write("cert.pem", &made.cert.pem());
        write("key.pem", &made.signing_key.serialize_pem());
        let process = without_provider(&folder, port, &text).await;
        Self { port, tls, _process: process, folder, _upstream: upstream }
    }
}

/// What a tool prints; `None` where it cannot be had, and that has been said then.
async fn output(tool: &'static str, arguments: Vec<String>) -> Option<String> {
    let ran = tokio::task::spawn_blocking(move || Command::new(tool).args(arguments).output()).await.unwrap();
    let Ok(output) = ran else {
        missing(&format!("`{tool}` cannot be run; `scripts/setup.sh` installs it"));
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{tool}: {text}");
    Some(text)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn h2load_fails_no_request() {
    let gateway = Gateway::start(true).await;
    for url in [format!("http://localhost:{}/", gateway.port), format!("https://localhost:{}/", gateway.tls)]
    {
        for (arguments, count) in
            [("-n 3000 -c 10 -m 10", 3000), ("-n 300 -c 50 -m 1", 300), ("-n 600 -c 3 -m 100", 600)]
        {
            let Some(text) = output("h2load", words(&format!("{arguments} {url}"))).await else { return };
            let all = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
            assert!(text.contains(&all), "{arguments}: {text}");
            assert!(text.contains(&format!("status codes: {count} 2xx")), "{arguments}: {text}");
        }
    }
}

#[tokio::test]
async fn nghttp_gets_what_it_asks_for_and_finds_nothing_wrong() {
    let gateway = Gateway::start(true).await;
    let body = gateway.folder.path().join("bearward.yaml").display().to_string();
    for url in [format!("http://localhost:{}/", gateway.port), format!("https://localhost:{}/", gateway.tls)]
    {
        // Many streams at once, with continued header blocks, padding and trailers.
        for arguments in
            ["-nv -m 20", "-nv --continuation", "-nv -b 200", "-nv --trailer=a:b -d BODY -H:method:POST"]
        {
            let arguments = arguments.replace("BODY", &body);
            let Some(text) = output("nghttp", words(&format!("{arguments} {url}"))).await else { return };
            assert!(text.contains(":status: 200"), "{arguments}: {text}");
            for wrong in ["INVALID", "RST_STREAM", "Some requests were not processed"] {
                assert!(!text.contains(wrong), "{arguments}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn wrk_fails_no_request_on_either_path() {
    for fast_path in [true, false] {
        let gateway = Gateway::start(fast_path).await;
        for url in
            [format!("http://localhost:{}/", gateway.port), format!("https://localhost:{}/", gateway.tls)]
        {
            let arguments = format!("-t 2 -c 50 -d 2s --timeout 20s {url}");
            let Some(text) = output("wrk", words(&arguments)).await else { return };
            assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{url}: {text}");
            assert!(!text.contains(" 0 requests in"), "{url}: {text}");
        }
    }
}

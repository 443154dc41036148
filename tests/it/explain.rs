//! What `bearward explain` says, next to what a running gateway does.

use std::process::Command;

use crate::support::process::{Plan, local};
use crate::support::raw::{Raw, Response};
use crate::support::upstream::Upstream;
use crate::support::world::free_port;

const ROUTES: &str = "  - { path: /api/*, upstream: UP, auth: session, headers: { set: { X-Who: \"u-{sub}\" } } }\n  \
                      - { path: /api/open, upstream: UP, auth: none, methods: [GET] }\n  \
                      - { path: /read/*, upstream: UP, auth: none, methods: [GET] }\n  \
                      - { path: /spa/*, upstream: UP, auth: session, cors: { origins: [\"https://spa.example\"] } }\n  \
                      - { path: /old/*, upstream: named, auth: none, rewrite: { prefix: /old, with: /new } }\n  \
                      - { host: other.example, path: /*, upstream: UP, auth: session }\n\
                      upstreams: { named: { endpoints: [UP], host: orders.internal } }\n";

struct Explained {
    status: Option<i32>,
    text: String,
}

impl Explained {
    /// The rest of every line that begins with `word`.
    fn all(&self, word: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter(|rest| rest.starts_with(' ')).map(str::trim).collect()
    }
}

fn explain(file: &std::path::Path, method: &str, url: &str, fields: &[(&str, &str)]) -> Explained {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bearward"));
    command.args(["explain", method, url, "--from", "127.0.0.1", "--config"]).arg(file);
    for (name, value) in fields {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Explained { status: output.status.code(), text }
}

async fn sent(address: std::net::SocketAddr, method: &str, url: &str, fields: &[(&str, &str)]) -> Response {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, target) = match rest.split_once('/') {
        Some((host, target)) => (host, format!("/{target}")),
        None => (rest, "/".to_owned()),
    };
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    Raw::connect(address).await.call(format!("{head}\r\n")).await
}

/// Both say the same, of status, reason and where to go next, or of what the upstream is sent.
fn agree(explained: &Explained, response: &Response, what: &str) {
    let [said] = explained.all("answer")[..] else { panic!("{}", explained.text) };
    if said == "forwarded" {
        assert_eq!((response.status, explained.status), (200, Some(0)), "{what}\n{}", explained.text);
        let seen = response.json();
        for line in explained.all("sets") {
            let (name, value) = line.split_once(": ").unwrap();
            let got = seen["headers"][name].as_array().unwrap_or_else(|| panic!("{what}: {name}\n{seen}"));
            if !["x-request-id", "via"].contains(&name) {
                assert_eq!(got, &[value], "{what}: {name}");
            }
        }
        for target in explained.all("rewrites") {
            assert_eq!(seen["uri"], target, "{what}");
        }
        for name in explained.all("drops") {
            assert!(seen["headers"][name].is_null(), "{what}: {name}");
        }
        return;
    }
    let mut parts = said.split(", ");
    let (status, label) = parts.next().unwrap().split_once(' ').unwrap();
    assert_eq!(status, response.status.to_string(), "{what}: {said}");
    assert_eq!(explained.status, Some(i32::from(response.status >= 300)), "{what}");
    for part in parts {
        let (name, value) = part.split_once(": ").unwrap();
        assert_eq!(response.all(name), [value], "{what}");
    }
    if response.all("content-type") == ["application/problem+json"] {
        assert_eq!(response.json()["code"], label, "{what}");
    }
    assert_eq!(said.contains("location"), response.status == 302, "{what}: {said}");
}

/// Requests that get every kind of answer.
fn cases() -> Vec<(&'static str, &'static str, Vec<Field>)> {
    let navigate =
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "none")];
    let own = ("Origin", "https://app.example");
    let spa = ("Origin", "https://spa.example");
    let evil = ("Origin", "https://evil.example");
    let many = vec![("X-Many", "a"); 120];
    let socket = [("Upgrade", "websocket"), ("Connection", "Upgrade"), evil];
    let spoofed =
        [("X-Forwarded-For", "1.2.3.4"), ("Client-Cert", ":QQ==:"), ("X-Who", "root"), ("X-Own", "a")];
    let preflight =
        |origin| [origin, ("Access-Control-Request-Method", "PUT"), ("Sec-Fetch-Site", "cross-site")];
    vec![
        ("GET", "http://app.example/a?b=%2f", vec![]),
        ("GET", "http://app.example/a", spoofed.to_vec()),
        ("GET", "http://app.example/old/a%20b?x=/old", vec![]),
        ("GET", "http://app.example", vec![("Accept", "text/html")]),
        ("POST", "http://app.example/a", vec![("Content-Length", "0"), evil]),
        ("GET", "http://app.example/api/x", vec![]),
        ("GET", "http://app.example/api/x?y=1", navigate.to_vec()),
        (
            "GET",
            "http://app.example/api/x",
            vec![("Accept", "text/html"), ("Cookie", "__Host-bearward=x; a=b")],
        ),
        ("POST", "http://app.example/api/x", vec![]),
        ("POST", "http://app.example/api/x", vec![own]),
        ("POST", "http://app.example/api/x", vec![("Sec-Fetch-Site", "cross-site"), evil]),
        ("GET", "http://app.example/api/x", socket.to_vec()),
        ("GET", "http://app.example/api/open", vec![]),
        ("POST", "http://app.example/api/open", vec![own]),
        ("DELETE", "http://app.example/read/a", vec![]),
        ("GET", "http://app.example/api", vec![]),
        ("GET", "http://app.example/api//x", vec![]),
        ("GET", "http://app.example/a/%2e%2e/api", vec![]),
        ("GET", "http://app.example/API/x", vec![]),
        ("GET", "http://other.example/a", navigate.to_vec()),
        ("GET", "http://OTHER.example:80/a", vec![]),
        ("OPTIONS", "http://app.example/spa/a", preflight(spa).to_vec()),
        ("OPTIONS", "http://app.example/spa/a", preflight(evil).to_vec()),
        ("PUT", "http://app.example/spa/a", vec![spa, ("Sec-Fetch-Site", "cross-site")]),
        ("TRACE", "http://app.example/a", vec![]),
        ("GET", "http://app.example/a", vec![("Expect", "something")]),
        ("GET", "http://app.example/a", many),
        ("GET", "http://app.example/a", vec![("Host", "app.example"), ("Host", "b")]),
        ("GET", "http://app.example/oauth2/session", navigate.to_vec()),
        ("POST", "http://app.example/oauth2/login", vec![]),
        ("GET", "http://app.example/oauth2/nothing", vec![]),
    ]
}

type Field = (&'static str, &'static str);

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let address = local(free_port());
    let routes = ROUTES.replace("UP", &format!("\"http://{}\"", upstream.address));
    let listener = format!("{{ address: \"{address}\" }}");
    let process = Plan::new(folder.path(), &listener, upstream.address, &routes).start().await;
    let mut answers = std::collections::BTreeSet::new();
    for (method, url, fields) in &cases() {
        let explained = explain(&process.file, method, url, fields);
        let sent_fields =
            if fields.iter().any(|(name, _)| *name == "Host") { &fields[1..] } else { &fields[..] };
        let response = sent(address, method, url, sent_fields).await;
        agree(&explained, &response, &format!("{method} {url} {fields:?}"));
        answers.insert(explained.all("answer")[0].split(',').next().unwrap().to_owned());
    }
    assert!(answers.len() > 10, "the table is about many answers: {answers:?}");
    // An endpoint is not called: this one would ask the provider.
    let login = explain(&process.file, "GET", "/oauth2/login", &[]);
    assert_eq!((login.all("answer"), login.status), (vec!["endpoint Login"], Some(0)));
    process.stop().await;
}

#[test]
fn why_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::new(
        folder.path(),
        "{ address: \"127.0.0.1:0\" }",
        local(8081),
        &ROUTES.replace("UP", "\"http://127.0.0.1:8082\""),
    );
    let file = plan.write();
    let of = |method: &str, url: &str| explain(&file, method, url, &[]);
    let explained = of("GET", "/api/x");
    assert_eq!(
        explained.all("route"),
        [
            "/*: matches, and a more specific one decides",
            "/api/*: serves it: the longest pattern of the most specific host",
            "GET /api/open: another path",
            "GET /read/*: another path",
            "/spa/*: another path",
            "/old/*: another path",
            "other.example/*: another host",
        ]
    );
    assert_eq!(explained.all("navigation"), ["302 no_session, location: /oauth2/login?rd=%2Fapi%2Fx"]);
    assert!(explained.all("script")[0].starts_with("401 no_session"), "{}", explained.text);
    assert_eq!(explained.all("upstream"), ["127.0.0.1:8082: http://127.0.0.1:8082"]);
    assert_eq!(explained.all("timeouts"), ["connect 5s, read 60s, write 60s, idle 60s"]);
    for line in ["with a session, authorization: Bearer {access token}", "with a session, x-who: u-{sub}"] {
        assert!(explained.all("sets").contains(&line), "{line} is not in\n{}", explained.text);
    }
    assert!(
        of("POST", "/api/open")
            .all("route")
            .contains(&"GET /api/open: its pattern decides, and it has other methods")
    );
    let old = of("GET", "/old/a?b");
    assert_eq!(old.all("rewrites"), ["/new/a?b"]);
    assert!(old.all("sets").contains(&"host: orders.internal"), "{}", old.text);
    assert_eq!(of("POST", "/api/x").all("site"), ["refused: cross_site"]);
    assert_eq!(of("GET", "/a/../b").all("path"), ["refused: dot segment"]);
    // Nothing of it is guessed.
    let bad = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["explain", "GET", "api", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(64));
    let none = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["explain", "GET", "/", "--config", "no-such-file"])
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(64));
}

//! Paths that other servers read in their own ways: none leads past a guard, and each arrives as it was judged.
//!
//! Five real parsers stand behind the gateway: nginx, Node's URL, Express, Python's file server and WSGI. `/admin/*`
//! needs a session, everything else does not; the servers guard nothing. std:122, threat T17

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::gateway::{free_port, listens, without_provider};
use crate::support::process::Process;
use crate::support::{missing, provider};

const PROTECTED: &str = "PROTECTED";

#[tokio::test]
async fn no_spelling_of_a_guarded_path_reaches_it_without_a_session() {
    let Some(servers) = Servers::start().await else { return };
    let gateway = Gateway::start(&servers).await;
    let targets = targets();
    assert_eq!(targets.len(), 1064);
    let mut forwarded = 0;
    for (name, port) in &servers.ports {
        let mut without = 0;
        for target in &targets {
            let host = format!("{name}.test");
            let direct = ask(*port, target, &host).await;
            let through = ask(gateway.port, target, &host).await;
            assert!(!through.contains(PROTECTED), "{name} serves {target:?} without a session:\n{through}");
            if let Some(seen) = field(&through, "x-target") {
                assert_eq!(seen, in_origin_form(target), "{name}: other bytes than were judged");
                forwarded += 1;
            }
            without += u32::from(direct.contains(PROTECTED) && !target.starts_with("/admin/"));
        }
        // Otherwise these targets prove nothing about this server.
        assert!(without >= 10, "{name} takes only {without} of these for what is guarded");
    }
    assert!(forwarded > 100, "only {forwarded} requests came through at all");
}

/// Every spelling of `/admin/secret` after every way to come there.
fn targets() -> Vec<String> {
    #[rustfmt::skip]
    const WAYS: &[&str] = &[
        "", "/", "/.", "/./", "//", "/x/..", "/x/%2e%2e", "/x/.%2e", "/x/%2E.", "/x/..;", "/x;/..", "/x/..;y=1", "/x/../.",
        "/x//..", "/\\", "/x\\..", "/x/..\\", "/%5c", "/x%5c..", "/%2f", "/x%2f..", "/x/..%2f", "/x/%252e%252e",
        "/x/%c0%ae%c0%ae", "/x/..%00", "/%00", "/x/..%c0%af", "/x/..%ef%bc%8f", "/%09", "/x/%u002e%u002e", "/x/..?",
        "/x/..#", "http://other.test", "http:", "https://other.test/x/..", "/http://other.test", "/.;", "/%2e",
    ];
    #[rustfmt::skip]
    const NAMES: &[&str] = &[
        "/admin", "/Admin", "/ADMIN", "/%61dmin", "/adm%69n", "/%41dmin", "/admin;x", "/admin%3bx", "/admin%20", "/admin%00",
        "/admin%2e", "/admin.", "/admin%2f", "/admin%5c", "/%2561dmin", "/adm%C4%B1n", "/%EF%BC%81dmin", "/ad%6Din",
        "\\admin", "/admin/", "/admin//", "/admin/.", "/admin/x/..", "/admin%23", "/admin?",
    ];
    let mut targets = Vec::new();
    for way in WAYS {
        for name in NAMES {
            targets.push(format!("{way}{name}/secret"));
        }
        targets.push(format!("{way}/admin/secret/"));
        targets.push(format!("{way}/admin"));
        targets.push(format!("{way}/open"));
    }
    targets
}

/// RFC 9112 §3.2.2: of an absolute target, an origin server gets what follows the authority.
fn in_origin_form(target: &str) -> &str {
    match target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) {
        Some(rest) => &rest[rest.find('/').unwrap()..],
        None => target,
    }
}

fn field<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|it| it.1)
}

/// One request on a connection of its own, byte for byte; the whole answer.
async fn ask(port: u16, target: &str, host: &str) -> String {
    // A proxy must answer for the host of an absolute target (RFC 9112 §3.2.2).
    let host =
        if target.contains("://other.test") && target.starts_with("http") { "other.test" } else { host };
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let exchange = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer tells nothing of it.
        drop(socket.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .unwrap_or_else(|_| panic!("no answer to {target:?} of {host}"))
}

/// The servers behind the gateway, by name.
struct Servers {
    ports: Vec<(&'static str, u16)>,
    _processes: Vec<Process>,
    _folder: TempDir,
}

#[derive(Deserialize)]
struct Node {
    url: u16,
    express: u16,
}

#[derive(Deserialize)]
struct Python {
    files: u16,
    wsgi: u16,
}

impl Servers {
    /// `None` where one cannot be had; that has been said then.
    async fn start() -> Option<Self> {
        let nginx = Command::new("nginx").arg("-v").output().map(drop).map_err(|_| "no nginx".to_owned());
        let python =
            Command::new("python3").arg("--version").output().map(drop).map_err(|_| "no Python".to_owned());
        if let Err(why) = nginx.and(python).and(provider::available()) {
            missing(&why);
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("files/admin")).unwrap();
        fs::write(folder.path().join("files/admin/secret"), PROTECTED).unwrap();
        fs::write(folder.path().join("files/open"), "open").unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/parsers");

        let mut node = Command::new("node");
        node.arg(provider::fixtures().join("parsers.mjs"));
        let mut node = Process::start("node", node, folder.path());
        let Node { url, express } = serde_json::from_str(&node.first_line().await).unwrap();
        let mut python = Command::new("python3");
        python.arg(scripts.join("servers.py")).arg(folder.path().join("files"));
        let mut python = Process::start("python", python, folder.path());
        let Python { files, wsgi } = serde_json::from_str(&python.first_line().await).unwrap();
        let (process, nginx) = nginx_in(folder.path()).await;
        Some(Self {
            ports: vec![
                ("nginx", nginx),
                ("url", url),
                ("express", express),
                ("files", files),
                ("wsgi", wsgi),
            ],
            _processes: vec![node, python, process],
            _folder: folder,
        })
    }
}

async fn nginx_in(folder: &Path) -> (Process, u16) {
    let port = free_port();
    let file = folder.join("nginx.conf");
    let text = format!(
        "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.error;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         client_body_temp_path {0}/t1; proxy_temp_path {0}/t2; fastcgi_temp_path {0}/t3; uwsgi_temp_path {0}/t4; \
         scgi_temp_path {0}/t5;\n  server {{\n    listen 127.0.0.1:{port};\n    add_header X-Target $request_uri always;\n    \
         location = /admin {{ return 200 {PROTECTED}; }}\n    location /admin/ {{ return 200 {PROTECTED}; }}\n    location / {{ return 200 open; }}\n  }}\n}}\n",
        folder.display()
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(&file);
    let process = Process::start("nginx", command, folder);
    listens(port).await;
    (process, port)
}

/// The gateway before all of them, told apart by host. Its provider is away, which such requests never notice.
struct Gateway {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Gateway {
    async fn start(servers: &Servers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        let mut routes = String::new();
        for (name, server) in &servers.ports {
            for (path, auth) in [("/admin/*", "session"), ("/*", "none")] {
                routes.push_str(&format!(
                    "  - {{ host: {name}.test, path: {path}, upstream: \"http://127.0.0.1:{server}\", auth: {auth} }}\n"
                ));
            }
        }
        // Absolute targets name another host.
        let (_, first) = servers.ports[0];
        for (path, auth) in [("/admin/*", "session"), ("/*", "none")] {
            routes.push_str(&format!(
                "  - {{ path: {path}, upstream: \"http://127.0.0.1:{first}\", auth: {auth} }}\n"
            ));
        }
        let text = format!(
            "public_url: http://localhost:{port}\nlisteners: [ {{ address: \"127.0.0.1:{port}\" }} ]\n\
             admin: {{ address: \"127.0.0.1:{admin}\" }}\n\
             provider: {{ issuer: \"http://127.0.0.1:9\", client_id: a, client_secret: {{ file: client.secret }} }}\n\
             session: {{ keys: [ {{ file: session.key }} ] }}\nroutes:\n{routes}"
        );
        let process = without_provider(&folder, port, &text).await;
        Self { port, _process: process, _folder: folder }
    }
}

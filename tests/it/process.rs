//! The real binary: what it writes, how it stops, what it says of a broken file.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use devidp::TokenFault;
use http::Method;

use crate::support::browser::Kind;
use crate::support::world::World;

/// Every secret of a world, gathered from the side of the provider, the API and the browser.
#[derive(Default)]
struct Canaries(BTreeSet<String>);

impl Canaries {
    fn gather(&mut self, world: &World, cookies: &str) {
        let form = world.idp.seen().last_token_form().unwrap_or_default();
        let secret = ["code", "code_verifier", "refresh_token", "client_secret"];
        self.0.extend(
            form.into_iter().filter(|(name, _)| secret.contains(&name.as_str())).map(|(_, value)| value),
        );
        self.0.extend(world.idp.newest_refresh_token("alice"));
        for arrival in world.api.arrivals() {
            let bearer = arrival.headers.get("authorization").and_then(|value| value.to_str().ok());
            self.0.extend(bearer.map(|value| value.trim_start_matches("Bearer ").to_owned()));
        }
        let values =
            cookies.split("; ").filter_map(|pair| pair.split_once('=')).map(|(_, value)| value.to_owned());
        self.0.extend(values.filter(|value| value.len() > 10));
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, text: &str) {
        for canary in &self.0 {
            // Tokens are told apart by their ends; a cut-off one is no better.
            let (start, end) = (&canary[..canary.len().min(24)], &canary[canary.len().saturating_sub(24)..]);
            let has = |part: &str| part.len() > 12 && !part.starts_with("eyJ") && text.contains(part);
            let found = has(start) || has(end) || text.contains(canary);
            let line =
                text.lines().find(|line| line.contains(start) || line.contains(end)).unwrap_or_default();
            assert!(!found, "{place} holds a secret: …{end} in {line:.600}");
        }
    }
}

#[tokio::test]
async fn no_secret_appears_in_any_log_page_or_metric_at_trace_level() {
    // std:180, T26
    let world = World::plan()
        .yaml("log: { filter: trace }")
        .yaml("session: { keys: [{ env: KEY }], rollback: end, keep_id_token: true }")
        .in_a_process()
        .start()
        .await;
    let mut canaries = Canaries::default();
    canaries.0.extend(World::secrets());
    let mut pages = Vec::new();
    let browser = world.signed_in_at("alice", "/api/a?access_token=query-canary-0123456789").await;
    canaries.gather(&world, &browser.cookie_header());
    for fault in [
        TokenFault::Status(503),
        TokenFault::Refused("invalid_client"),
        TokenFault::Garbage,
        TokenFault::OmitAccessToken,
        TokenFault::AnswerLost,
        TokenFault::Html,
    ] {
        world.idp.faults().token.set(fault);
        pages.push(world.browser().log_in("alice", "/").await.text());
        canaries.gather(&world, &browser.cookie_header());
        pages.push(browser.post("/oauth2/session/refresh").await.text());
        canaries.gather(&world, &browser.cookie_header());
        world.idp.faults().clear();
    }
    let fresh = world.signed_in("alice").await;
    canaries.gather(&world, &fresh.cookie_header());
    for path in
        ["/oauth2/session", "/oauth2/userinfo", "/api/a", "/nothing//x", "/oauth2/callback?code=x&state=y"]
    {
        pages.push(fresh.get(path).await.text());
        pages.push(fresh.send(Method::GET, path, Kind::Navigation, &[]).await.text());
    }
    let broken = format!("bearward={}x", fresh.cookie("bearward").unwrap());
    pages.push(fresh.send(Method::GET, "/api/a", Kind::Fetch, &[("cookie", &broken)]).await.text());
    fresh.post("/oauth2/logout").await;
    let metrics = world.admin_get("/metrics").await.text();
    let logs = world.stop_process().await;
    assert!(
        logs.contains("\"audit\"") && logs.contains("\"access\""),
        "the log has what it should: {logs:.500}"
    );
    canaries.are_not_in("the log", &logs);
    assert!(!logs.contains("query-canary"), "queries are not logged");
    canaries.are_not_in("a metric", &metrics);
    // The API of these tests echoes its target to the client that sent it; the gateway's own pages do not.
    for page in pages {
        canaries.are_not_in("a page", &page);
    }
    for line in logs.lines() {
        assert!(
            serde_json::from_str::<serde_json::Value>(line).is_ok(),
            "std:181, not one record per line: {line}"
        );
    }
}

#[tokio::test]
async fn every_request_leaves_one_record_and_every_security_event_one() {
    // std:182
    let world = World::plan().in_a_process().start().await;
    let browser = world.signed_in("alice").await;
    for _ in 0..3 {
        browser.get("/api/counted").await;
    }
    let evil = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    browser.send(Method::POST, "/api/x\r\nforged".split('\r').next().unwrap(), Kind::Fetch, &evil).await;
    browser.post("/oauth2/logout").await;
    let logs = world.stop_process().await;
    let records: Vec<serde_json::Value> =
        logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |target: &str| records.iter().filter(|record| record["target"] == target).collect::<Vec<_>>();
    let counted =
        of("access").into_iter().filter(|record| record.to_string().contains("/api/counted")).count();
    assert_eq!(counted, 3);
    let audit: Vec<String> = of("audit").into_iter().map(ToString::to_string).collect();
    for event in ["login", "csrf_blocked", "logout", "session_ended"] {
        assert!(audit.iter().any(|line| line.contains(event)), "{event} is not in {audit:#?}");
    }
}

#[tokio::test]
async fn sigterm_drains_and_ends_with_success() {
    let world = World::plan().in_a_process().start().await;
    let browser = world.signed_in("alice").await;
    let slow = tokio::spawn(async move { browser.get("/api/slow").await.status });
    world.until(|| async { world.api.arrivals().iter().any(|arrival| arrival.target == "/api/slow") }).await;
    world.stop_process().await;
    assert_eq!(slow.await.unwrap(), 200, "what was under way was finished");
}

#[test]
fn a_broken_file_is_told_with_place_and_remedy_and_exit_code_64() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yaml");
    std::fs::write(&file, "public_url: http://app.example.com\nrouts: []\nsession: { grace: soon }\n")
        .unwrap();
    for command in [vec!["run", "--config"], vec!["check"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_bearward")).args(command).arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        let text = String::from_utf8(output.stderr).unwrap();
        for part in ["broken.yaml:2:1", "`routes`", "broken.yaml:1:13", "broken.yaml:3:19", "^^^^"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}

#[test]
fn keygen_makes_a_key_that_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("session.key");
    let bearward = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_bearward"))
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    assert!(bearward(&["keygen", "--out", key.to_str().unwrap()]).status.success());
    assert!(!bearward(&["keygen", "--out", key.to_str().unwrap()]).status.success(), "it overwrites nothing");
    std::fs::write(folder.path().join("client-secret"), "f3a9c1d27b6e48509a1bcd\n").unwrap();
    let text = "public_url: https://app.example.com\n\
                provider:\n  issuer: https://id.example.com\n  client_id: bearward\n  \
                client_secret: { file: client-secret }\n\
                session:\n  keys: [ { file: session.key } ]\n\
                routes:\n  - { path: /api/*, upstream: http://127.0.0.1:8080, auth: session }\n  \
                - { path: /*, upstream: http://127.0.0.1:5173, auth: none }\n";
    std::fs::write(folder.path().join("bearward.yaml"), text).unwrap();
    let output = bearward(&["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(summary.starts_with("ok\n") && summary.contains("__Host-bearward"), "{summary}");
}

#[test]
fn healthcheck_and_a_taken_port_say_what_is_wrong() {
    let admin = format!("127.0.0.1:{}", crate::support::world::free_port());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dev = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["dev", "--listen", &address, "--admin", &admin])
        .output()
        .unwrap();
    assert_eq!(dev.status.code(), Some(1));
    let text = String::from_utf8(dev.stderr).unwrap();
    assert!(text.contains(&address) && text.contains("--listen"), "{text}");
    let free = format!("127.0.0.1:{}", crate::support::world::free_port());
    let dev = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["dev", "--listen", &free, "--admin", &address])
        .output()
        .unwrap();
    let text = String::from_utf8(dev.stderr).unwrap();
    assert!(text.contains(&address) && text.contains("--admin"), "{text}");
    drop(taken);
    let check = Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["healthcheck", "--address", &address])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8(check.stderr).unwrap().contains(&address));
}

#[tokio::test]
async fn dev_needs_nothing_but_itself() {
    let port = crate::support::world::free_port();
    let admin = crate::support::world::free_port();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_bearward"))
        .args(["dev", "--listen", &format!("127.0.0.1:{port}"), "--admin", &format!("127.0.0.1:{admin}")])
        .args(["--access-token-life", "4s"])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let browser = crate::support::browser::Browser::new(&format!("http://localhost:{port}"));
    crate::support::world::wait_for_port(port).await;
    let page = browser.navigate("/").await;
    assert!(page.text().contains("bearward") || page.text().contains("Bearward"));
    // `dev` passes no `login_hint` on: the picker is a form.
    let picker = browser.navigate("/oauth2/login?rd=/api/whoami").await;
    assert!(picker.text().contains("user-alice"), "{}", picker.text());
    let whoami = browser.choose_user(&picker, "alice").await;
    assert_eq!(
        (whoami.status.as_u16(), whoami.json()["sub"].as_str()),
        (200, Some("alice")),
        "{}",
        whoami.text()
    );
    let first = whoami.json()["token"]["id"].clone();
    let start = std::time::Instant::now();
    while browser.get("/api/whoami").await.json()["token"]["id"] == first {
        assert!(start.elapsed() < Duration::from_secs(10), "no rotation was seen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    child.kill().await.unwrap();
}

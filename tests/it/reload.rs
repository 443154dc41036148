//! A configuration that changes under a gateway that runs.

use crate::support::process::{Plan, local};
use crate::support::raw::Raw;
use crate::support::tls::{Authority, der};
use crate::support::upstream::Upstream;
use crate::support::world::{World, free_port};

#[tokio::test]
async fn rolling_the_session_key_logs_nobody_out() {
    // Open only, then promote, then retire.
    let world = World::plan()
        .provider(|settings| settings.access_token_life = std::time::Duration::from_secs(4))
        .yaml("session: { keys: [{ id: a, env: KEY }] }")
        .in_a_process()
        .start()
        .await;
    let browser = world.signed_in("alice").await;
    let key_of = |browser: &crate::support::browser::Browser| {
        let value = browser.cookie("bearward").unwrap();
        value.split('.').nth(1).unwrap().to_owned()
    };
    assert_eq!(key_of(&browser), "a");
    let ring = |keys: &str| {
        let keys = format!("session: {{ keys: [{keys}] }}");
        move |text: &str| {
            let rest: Vec<&str> = text.lines().filter(|line| !line.starts_with("session:")).collect();
            format!("{}\n{keys}\n", rest.join("\n"))
        }
    };
    world.reload(ring("{ id: a, env: KEY }, { id: b, env: NEXT_KEY }"), "\"reloaded\"").await;
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.reload(ring("{ id: b, env: NEXT_KEY }, { id: a, env: KEY }"), "\"reloaded\"").await;
    let rolled = || async {
        assert_eq!(browser.get("/api/a").await.status, 200);
        key_of(&browser) == "b"
    };
    assert!(world.until(rolled).await, "the next refresh seals with the new key");
    world.reload(ring("{ id: b, env: NEXT_KEY }"), "\"reloaded\"").await;
    assert_eq!(browser.get("/api/a").await.status, 200);
    assert_eq!(world.signed_in("bob").await.get("/api/a").await.status, 200);
}

#[tokio::test]
async fn a_reload_that_is_refused_for_other_trust_leaves_the_session_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(&ca_file, certificate.cert.pem()).unwrap();
    let world = World::plan().yaml("session: { keys: [{ id: a, env: KEY }] }").in_a_process().start().await;
    let browser = world.signed_in("alice").await;
    let other = format!(
        "upstreams: {{ other: {{ endpoints: [\"https://localhost:1\"], ca_file: \"{}\" }} }}\n",
        ca_file.display()
    );
    let change = |text: &str| {
        let keys = text.replace("{ id: a, env: KEY }", "{ id: b, env: NEXT_KEY }");
        assert_ne!(keys, text);
        let routes = "routes:\n  - { path: /other/*, upstream: other, auth: none }\n";
        other.clone() + &keys.replace("routes:\n", routes)
    };
    world.reload(change, "vouch for upstreams have changed").await;
    assert_eq!(browser.get("/api/a").await.status, 200, "its cookie still opens");
    let login = world.signed_in("bob").await;
    assert!(login.cookie("bearward").unwrap().starts_with("1.a."), "and is what a login gets");
    world.stop_process().await;
}

#[tokio::test]
async fn routes_follow_the_file_and_a_broken_one_changes_nothing() {
    let world = World::plan().in_a_process().start().await;
    let browser = world.signed_in("alice").await;
    assert_eq!(world.browser().get("/new/a").await.status, 200, "open to everyone");
    let guard = |text: &str| {
        text.replace("routes:\n", "routes:\n  - { path: /new/*, upstream: UP, auth: session }\n")
    };
    let upstream = world.api.url();
    world.reload(|text| guard(text).replace("UP,", &format!("\"{upstream}\",")), "\"reloaded\"").await;
    assert_eq!(world.browser().get("/new/a").await.status, 401);
    assert_eq!(browser.get("/new/a").await.status, 200);
    let mut before = String::new();
    world
        .reload(
            |text| {
                text.clone_into(&mut before);
                text.replace("routes:\n", "rotes:\n")
            },
            "the one before goes on",
        )
        .await;
    assert!(world.logged().contains("`routes`"), "the message is that of `check`");
    assert_eq!(world.browser().get("/new/a").await.status, 401);
    // What needs a restart is named.
    world.reload(|_| before.replace("workers: 2", "workers: 1"), "needs a restart").await;
    assert!(world.logged().contains("workers"));
    assert_eq!(browser.get("/api/a").await.status, 200);
    world.stop_process().await;
}

/// Each line of a log, which is JSON.
fn records(log: &str) -> Vec<serde_json::Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[tokio::test]
async fn a_file_that_changes_is_taken_or_refused_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let address = local(free_port());
    let process = Plan::new(folder.path(), &format!("{{ address: \"{address}\" }}"), upstream.address, "")
        .start()
        .await;
    let text = std::fs::read_to_string(&process.file).unwrap();
    let write = |text: &str| std::fs::write(&process.file, text).unwrap();
    let mut kept = Raw::connect(address).await;
    let mut get = async |expected: u16| {
        let request = "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n";
        assert_eq!(kept.call(request).await.status, expected, "on one connection throughout");
    };
    get(200).await;
    let guarded = text.replace("auth: none", "auth: session");
    let log = process.until_logged_after("\"reloaded\"", || write(&guarded)).await;
    assert!(records(&log).iter().any(|line| line["changed"] == "routes"), "{log}");
    get(401).await;
    // One event holds all that `check` would say.
    let log = process.until_logged_after("goes on", || write(&text.replace("routes:", "rotes:"))).await;
    let refused: Vec<_> = records(&log).into_iter().filter(|line| line["level"] == "ERROR").collect();
    let [refused] = refused.as_slice() else { panic!("not one event: {log}") };
    let said = refused["problems"].as_str().unwrap();
    assert!(said.contains("did you mean `routes`?") && said.contains("^^^^^"), "{said}");
    get(401).await;
    // A key that is replaced, and a secret that cannot be.
    let other = "-PzhZ7V5g9OAKWKyIcTN3iFXGE8lp3MFytHx1sNkkiQ";
    let change = || {
        write(&text);
        std::fs::write(folder.path().join("key"), other).unwrap();
        std::fs::write(folder.path().join("secret"), "another-secret-0123456789abcdef").unwrap();
    };
    let log = process.until_logged_after("needs a restart", change).await;
    let done = records(&log).pop().unwrap();
    assert_eq!(
        (&done["changed"], &done["waiting"]),
        (&"routes, session.keys".into(), &"provider".into()),
        "{log}"
    );
    get(200).await;
    // What was only touched is not read again.
    let before = process.logged().len();
    write(&text);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let log = process.logged().split_off(before);
    assert!(!log.contains("reloaded"), "{log}");
    let metrics = process.ask("/metrics").await;
    for line in ["config_reloads_total{result=\"applied\"} 2", "config_reloads_total{result=\"refused\"} 1"] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let log = process.stop().await;
    assert!(!log.contains(other) && !log.contains("another-secret"));
}

#[tokio::test]
async fn a_mounted_secret_brings_a_certificate_and_no_connection_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let upstream = Upstream::start().await;
    let at = |name: &str| folder.path().join(name);
    // As kubelet mounts a Secret.
    let renew = |version: &str| {
        let files = authority.sign("tls", &["app.example"]);
        std::fs::create_dir(at(version)).unwrap();
        std::fs::copy(&files.cert, at(version).join("tls.crt")).unwrap();
        std::fs::copy(&files.key, at(version).join("tls.key")).unwrap();
        std::os::unix::fs::symlink(version, at("..data_tmp")).unwrap();
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    renew("..1");
    for name in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{name}"), at(name)).unwrap();
    }
    let address = local(free_port());
    let listener = format!("{{ address: \"{address}\", tls: {{ cert: tls.crt, key: tls.key }} }}");
    let process = Plan::new(folder.path(), &listener, upstream.address, "").start().await;
    let client = authority.client();
    let request = "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let mut before = client.dial(address, "app.example").await.unwrap();
    for version in ["..2", "..3"] {
        let old = der(&at("tls.crt"));
        assert_eq!(client.dial(address, "app.example").await.unwrap().shown(), old);
        let log = process.until_logged_after("\"reloaded\"", || renew(version)).await;
        assert!(records(&log).iter().any(|line| line["changed"] == "certificates"), "{log}");
        let new = client.dial(address, "app.example").await.unwrap();
        assert_eq!(new.shown(), der(&at("tls.crt")));
        assert_ne!(new.shown(), old);
        assert_eq!(new.call(request).await.unwrap().1, 200);
        let status;
        (before, status, _) = before.call(request).await.unwrap();
        assert_eq!(status, 200, "the connection of before goes on");
    }
    let metrics = process.ask("/metrics").await;
    let left =
        format!("bearward_tls_certificate_left_seconds{{listener=\"{address}\",name=\"app.example\"}} ");
    assert!(metrics.contains(&left), "{metrics}");
    process.stop().await;
}

#[tokio::test]
async fn listeners_come_and_go_and_what_is_open_stays() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let files = authority.sign("tls", &["app.example"]);
    let upstream = Upstream::start().await;
    let (first, second) = (local(free_port()), local(free_port()));
    let request = "GET /a HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let plain = |address| format!("{{ address: \"{address}\" }}");
    let secure = format!(
        "{{ address: \"{second}\", tls: {{ cert: \"{}\", key: \"{}\" }} }}",
        files.cert.display(),
        files.key.display()
    );
    let process = Plan::new(folder.path(), &plain(first), upstream.address, "").start().await;
    let text = std::fs::read_to_string(&process.file).unwrap();
    let listen = |listeners: &str| {
        let old = format!("[ {} ]", plain(first));
        std::fs::write(&process.file, text.replace(&old, &format!("[ {listeners} ]"))).unwrap();
    };
    let mut open = Raw::connect(first).await;
    assert_eq!(open.call(request).await.status, 200);
    // An address that somebody else has refuses the whole file.
    let taken = std::net::TcpListener::bind(second).unwrap();
    let both = format!("{}, {secure}", plain(first));
    let log = process.until_logged_after("goes on", || listen(&both)).await;
    assert!(log.contains(&format!("cannot listen on {second}")), "{log}");
    drop(taken);
    process.until_logged_after("\"reloaded\"", || process.signal("-HUP")).await;
    for _ in 0..4 {
        let dialed = authority.client().dial(second, "app.example").await.unwrap();
        assert_eq!(dialed.call(request).await.unwrap().1, 200);
    }
    assert_eq!(Raw::connect(first).await.call(request).await.status, 200);
    let log = process.until_logged_after("\"reloaded\"", || listen(&secure)).await;
    assert!(records(&log).iter().any(|line| line["changed"] == "listeners, listeners.tls"), "{log}");
    // The worker that had it closes it a moment later.
    let refused = || async { tokio::net::TcpStream::connect(first).await.is_err() };
    let start = std::time::Instant::now();
    while !refused().await {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "still listened on");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(open.call(request).await.status, 200, "the connection of before goes on");
    // It comes back, and can be had again.
    process.until_logged_after("\"reloaded\"", || listen(&plain(first))).await;
    assert_eq!(Raw::connect(first).await.call(request).await.status, 200);
    assert!(authority.client().dial(second, "app.example").await.is_err());
    process.stop().await;
}

#[tokio::test]
async fn a_drain_goes_by_the_newest_file() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start().await;
    let address = local(free_port());
    let listener = format!("{{ address: \"{address}\" }}");
    let drain = "drain: { linger: 0s, limit: 600s }\n";
    let process = Plan::new(folder.path(), &listener, upstream.address, drain).start().await;
    let text = std::fs::read_to_string(&process.file).unwrap();
    let mut stuck = Raw::connect(address).await;
    stuck.send("GET /silent HTTP/1.1\r\nHost: app.example\r\n\r\n").await;
    while upstream.requests() < 1 {
        tokio::task::yield_now().await;
    }
    let change = || std::fs::write(&process.file, text.replace("limit: 600s", "limit: 100ms")).unwrap();
    process.until_logged_after("\"reloaded\"", change).await;
    let log = process.stop().await;
    assert!(log.contains("\"cut\":1"), "{log}");
}

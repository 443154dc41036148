//! A configuration that changes under a gateway that runs.

use crate::support::world::World;

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

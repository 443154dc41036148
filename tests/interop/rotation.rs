//! Rotation that goes on and on.

use std::time::Duration;

use crate::support::{Setup, World, until};

#[tokio::test]
async fn rotation_goes_on_for_five_token_lives_unnoticed() {
    let setup = Setup { token_life: 4, ..Setup::default() };
    let Some(world) = World::start(setup).await else { return };
    let browser = world.signed_in("alice").await;

    let told = until("six access tokens", Duration::from_secs(60), || async {
        let answer = browser.fetch("/api/whoami").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        (world.upstream.bearers().len() >= 6).then(|| answer.json())
    })
    .await;
    assert_eq!(told["sub"], "alice");
    world.assert_unharmed(&browser).await;
    let seen = world.provider.seen().await;
    assert!(seen.refreshes().all(|refresh| refresh.outcome == "ok"), "{seen:#?}");
}

#[tokio::test]
async fn sessions_of_several_users_rotate_side_by_side() {
    let setup = Setup { token_life: 4, ..Setup::default() };
    let Some(world) = World::start(setup).await else { return };
    let users = ["alice", "bob", "carol"];
    let mut browsers = Vec::new();
    for user in users {
        browsers.push(world.signed_in(user).await);
    }
    until("nine access tokens", Duration::from_secs(60), || async {
        for (user, browser) in users.iter().zip(&browsers) {
            let answer = browser.fetch("/api/whoami").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["sub"], *user, "somebody else's token");
        }
        (world.upstream.bearers().len() >= 9).then_some(())
    })
    .await;
    let seen = world.provider.seen().await;
    assert_eq!(seen.spent_twice(), [""; 0]);
    assert!(seen.grants.len() == 3 && seen.grants.iter().all(|grant| grant.alive), "{seen:#?}");
    assert_eq!(world.upstream.violations(), [""; 0]);
}

//! The provider of the end-to-end benchmark: one client, one user, tokens of the size that is met in practice.
//!
//! `bench_provider CLIENT_SECRET REDIRECT_URI [SECONDS]`; prints the issuer and serves until it is ended. An access token
//! lives an hour, or as many seconds.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::time::Duration;

use devidp::{Client, Provider, Settings, SigningAlgorithm, User};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let (secret, redirect_uri) = (args.next().unwrap(), args.next().unwrap());
    let life = args.next().map_or(3600, |seconds| seconds.parse().unwrap());
    let groups = ["staff", "orders-read", "orders-write", "billing-read", "reports", "support-level-2"];
    let settings = Settings {
        clients: vec![Client::new("bearward", secret, redirect_uri)],
        users: vec![User::new("alice", "Alice Archer", &groups)],
        access_token_life: Duration::from_secs(life),
        signing: SigningAlgorithm::Rs256,
        ..Settings::default()
    };
    let provider = Provider::start(settings).await.unwrap();
    println!("{}", provider.issuer());
    std::future::pending::<()>().await;
}

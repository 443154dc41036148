//! The OpenID provider inside `bearward dev` and the tests.
//!
//! Authorization code with PKCE, strict rotation of refresh tokens, and a switch per misbehaviour. It binds
//! loopback only, keeps everything in memory, and shares no code with the gateway, so that one bug cannot
//! cancel out. It is a test double: secrets are readable by whoever holds the [`Provider`].
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use devidp::{Client, Provider, Settings, TokenFault};
//!
//! let provider = Provider::start(Settings::default()).await?;
//! provider.register(Client::new("bearward", "secret", "http://127.0.0.1:8080/oauth2/callback"));
//! provider.faults().token.refresh.for_next(1, TokenFault::AnswerLost);
//! provider.seen().wait_for(|counts| counts.refreshes >= 1).await;
//! # Ok(())
//! # }
//! ```

mod clock;
mod crypto;
mod endpoints;
mod faults;
mod http_io;
mod keys;
mod pages;
mod provider;
mod seen;
mod server;
mod settings;
mod shared;
mod state;
mod tokens;

pub use faults::{
    CallbackFault, DiscoveryFault, Faults, IdTokenFault, JwksFault, PerGrant, PlainFault, Switch, TokenFault,
    UserinfoFault,
};
pub use provider::Provider;
pub use seen::{ClientAuth, Counts, Event, GrantKind, Outcome, Seen, TokenRequest};
pub use settings::{AccessTokenFormat, Client, Rotation, Settings, SigningAlgorithm, User};

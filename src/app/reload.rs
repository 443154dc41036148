//! A new configuration for a gateway that runs.
//!
//! Routes, upstreams and session keys are swapped at once; connections, sessions and flights outlive it. What was
//! built from anything else cannot change under them, and is said to need a restart.

use std::sync::Arc;

use super::build::{App, presented};
use super::serving::{self, ServingError};
use crate::config::Settings;
use crate::edge::ReplaceError;
use crate::session::cookie::seal::KeyRefused;

/// Why a configuration was not taken; the one before goes on then, whole.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The session keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyRefused),
    /// Routes or upstreams cannot be served.
    #[error(transparent)]
    Serving(#[from] ServingError),
    /// Upstreams or listeners cannot be served as they should be.
    #[error(transparent)]
    Edge(#[from] ReplaceError),
    /// The gateway is coming to rest.
    #[error("the gateway is shutting down")]
    Stopping,
}

/// What a running gateway was built from and keeps: the parts of the configuration by name, as they print. Secrets do
/// not print, so one that changes is not told from one that stays.
#[derive(Debug)]
pub(super) struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings { edge, gate, bff, session, oidc, telemetry, store, .. } = settings;
        let limits = (&session.lifetime, &session.idle_timeout, &session.grace, &session.rollback);
        let kept = (&session.claims, &session.keep_id_token, &session.capacity, &session.cookie);
        let refresh = (&session.after_unknown, &session.refresh_wait);
        Self(vec![
            ("public_url", gate.public_url.to_string()),
            ("listeners", format!("{:?}", edge.listeners.iter().map(|one| one.address).collect::<Vec<_>>())),
            ("workers", format!("{:?}", edge.workers)),
            ("admin", format!("{:?}", edge.admin)),
            ("limits", format!("{:?}", edge.limits)),
            ("drain", format!("{:?}", edge.drain)),
            ("fast_path", format!("{:?}", edge.fast_path)),
            ("endpoints", format!("{:?} {bff:?}", gate.base_path)),
            ("provider", format!("{oidc:?}")),
            ("session", format!("{limits:?} {kept:?}")),
            ("refresh", format!("{refresh:?}")),
            ("store", format!("{store:?}")),
            ("log", format!("{telemetry:?}")),
        ])
    }

    /// The parts that differ.
    fn differing(&self, other: &Self) -> Vec<&'static str> {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(ours, theirs)| ours != theirs).map(|((name, _), _)| *name).collect()
    }
}

impl App {
    /// Goes on with `settings`. Returns the parts that have changed and need a restart.
    ///
    /// # Errors
    /// Where something cannot be built; nothing is changed then.
    pub fn reload(&self, settings: Settings) -> Result<Vec<&'static str>, ReloadError> {
        let edge = self.edge.as_ref().ok_or(ReloadError::Stopping)?;
        let waiting = self.fixed.differing(&Fixed::of(&settings));
        let live = Arc::new(serving::live(settings.gate, &settings.edge, &self.lasting)?);
        // Each refuses before it changes anything; cryptography takes every key that was checked, so that nothing is
        // swapped by halves.
        edge.replace(&settings.edge.listeners, &live)?;
        self.lasting.bff.replace_keys(&settings.session.keys)?;
        self.certificates.replace(presented(edge));
        self.certificates.warn();
        Ok(waiting)
    }
}

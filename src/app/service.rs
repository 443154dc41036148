//! What a service manager is told: ready, reloading, stopping (sd_notify(3)).
//!
//! Where there is none (`NOTIFY_SOCKET` is not set), nobody is told anything.

use sd_notify::NotifyState;

/// Everything listens, and signals are awaited.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// A new configuration is read; [`ready`] follows, whatever comes of it.
pub fn reloading() {
    // The time tells the manager which of two reloads this is.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
    }
}

/// What is under way is finished.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

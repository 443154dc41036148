//! `bearward run`: the gateway, from a configuration file, until a signal ends it.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::check::rendered;
use super::{EX_USAGE, RunArgs, failed, tell};
use crate::app::{App, Signal};
use crate::base::time::SystemClock;
use crate::config;
use crate::telemetry::logs;

/// Runs the gateway.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    let file = args.config.as_ref().unwrap_or(&args.file);
    let settings = match config::load(file) {
        Ok(settings) => settings,
        Err(problems) => {
            tell(&rendered(&problems));
            return ExitCode::from(EX_USAGE);
        }
    };
    if let Err(error) = logs::init(&settings.telemetry) {
        return failed(&chain(&error));
    }
    tell(&rendered(&settings.warnings));
    let digest =
        settings.source_digest.first_chunk().map(|start| format!("{:08x}", u32::from_be_bytes(*start)));
    let app = match App::start(settings, Arc::new(SystemClock)) {
        Ok(app) => app,
        Err(error) => return failed(&chain(&error)),
    };
    tracing::info!(
        file = %file.display(),
        digest = digest.unwrap_or_default(),
        version = env!("CARGO_PKG_VERSION"),
        addresses = ?app.addresses(),
        admin = ?app.admin_address(),
        "started"
    );
    until_signal(app, |app| reload(app, file))
}

/// Serves until SIGTERM or SIGINT, then comes to rest; at SIGHUP does what `reload` says.
pub(super) fn until_signal(app: App, reload: impl Fn(&App)) -> ExitCode {
    let mut signals = match app.signals() {
        Ok(signals) => signals,
        Err(error) => return failed(&chain(&error)),
    };
    while app.wait_for(&mut signals) == Signal::Reload {
        reload(&app);
    }
    tracing::info!("stopping");
    app.stop();
    ExitCode::SUCCESS
}

/// Reads the file again and goes on with it, or with what was before.
fn reload(app: &App, file: &Path) {
    let settings = match config::load(file) {
        Ok(settings) => settings,
        Err(problems) => {
            tell(&rendered(&problems));
            return tracing::error!(file = %file.display(), "the configuration is refused; the one before goes on");
        }
    };
    tell(&rendered(&settings.warnings));
    match app.reload(settings) {
        Ok(waiting) if waiting.is_empty() => tracing::info!(file = %file.display(), "reloaded"),
        Ok(waiting) => {
            tracing::warn!(file = %file.display(), ?waiting, "reloaded, but for what needs a restart");
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "the configuration is refused; the one before goes on");
        }
    }
}

/// An error and everything that caused it, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += ": ";
        text += &cause.to_string();
        source = cause.source();
    }
    text
}

//! `bearward run`: the gateway, from a configuration file, until a signal ends it.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::check::rendered;
use super::{EX_USAGE, RunArgs, failed, tell};
use crate::app::{App, Signal, Watch, service};
use crate::base::time::SystemClock;
use crate::config::{self, Environment as _, Loaded, Problems, ProcessEnvironment, Sources};
use crate::edge::inherited::Inherited;
use crate::telemetry::logs;
use crate::telemetry::settings::Format;

/// Runs the gateway.
pub(super) fn run(args: &RunArgs) -> ExitCode {
    let names = ProcessEnvironment.variable("LISTEN_FDNAMES");
    let inherited = match Inherited::take(names.as_deref()) {
        Ok(inherited) => inherited,
        Err(error) => return failed(&chain(&error)),
    };
    let file = args.config.as_ref().unwrap_or(&args.file);
    let Loaded { settings, sources, fingerprint } = config::load_watched(file, &Sources::default());
    let settings = match settings {
        Ok(settings) => settings,
        Err(problems) => {
            tell(&rendered(&problems));
            return ExitCode::from(EX_USAGE);
        }
    };
    if let Err(error) = logs::init(&settings.telemetry) {
        return failed(&chain(&error));
    }
    let format = settings.telemetry.format;
    warn(&settings.warnings, format);
    let digest = short(&settings.source_digest);
    let watching = settings.watching;
    let app = match App::start_with(settings, Arc::new(SystemClock), inherited) {
        Ok(app) => app,
        Err(error) => return failed(&chain(&error)),
    };
    tracing::info!(
        file = %file.display(),
        digest,
        version = env!("CARGO_PKG_VERSION"),
        addresses = ?app.addresses(),
        admin = ?app.admin_address(),
        "started"
    );
    let watch = Watch::new(sources, fingerprint, watching);
    until_signal(app, Some(watch), |app, watch| {
        if let Some(watch) = watch {
            reload(app, watch, file, format);
        }
    })
}

/// Serves until SIGTERM or SIGINT, then comes to rest; at SIGHUP, or when the files have changed, does what `reload` says.
pub(super) fn until_signal(
    mut app: App,
    mut watch: Option<Watch>,
    reload: impl Fn(&mut App, Option<&mut Watch>),
) -> ExitCode {
    let mut signals = match app.signals() {
        Ok(signals) => signals,
        Err(error) => return failed(&chain(&error)),
    };
    service::ready();
    while app.wait_for(&mut signals, watch.as_mut()) == Signal::Reload {
        service::reloading();
        reload(&mut app, watch.as_mut());
        service::ready();
    }
    service::stopping();
    tracing::info!("stopping");
    app.stop();
    ExitCode::SUCCESS
}

/// Reads the file again and goes on with it, or with what was before.
fn reload(app: &mut App, watch: &mut Watch, file: &Path, format: Format) {
    let Loaded { settings, sources, fingerprint } = config::load_watched(file, watch.sources());
    let watching = settings.as_ref().map_or_else(|_| watch.watching(), |settings| settings.watching);
    watch.took(sources, fingerprint, watching);
    let settings = match settings {
        Ok(settings) => settings,
        Err(problems) => {
            app.count_refused();
            return refused(&problems, file, format);
        }
    };
    warn(&settings.warnings, format);
    let digest = short(&settings.source_digest);
    match app.reload(settings) {
        Ok(done) if done.waiting.is_empty() => {
            tracing::info!(file = %file.display(), digest, changed = done.changed.join(", "), "reloaded");
        }
        Ok(done) => tracing::warn!(
            file = %file.display(),
            digest,
            changed = done.changed.join(", "),
            waiting = done.waiting.join(", "),
            "reloaded, but for what needs a restart"
        ),
        Err(error) => tracing::error!(file = %file.display(), error = chain(&error), "{REFUSED}"),
    }
}

const REFUSED: &str = "the configuration is refused; the one before goes on";

/// One event with all that is wrong. Who reads text gets the lines as they are.
fn refused(problems: &Problems, file: &Path, format: Format) {
    match format {
        Format::Json => {
            tracing::error!(file = %file.display(), problems = problems.to_string(), "{REFUSED}");
        }
        Format::Pretty => {
            tell(&rendered(problems));
            tracing::error!(file = %file.display(), "{REFUSED}");
        }
    }
}

fn warn(problems: &Problems, format: Format) {
    match format {
        _ if problems.is_empty() => {}
        Format::Json => tracing::warn!(problems = problems.to_string(), "the configuration has warnings"),
        Format::Pretty => tell(&rendered(problems)),
    }
}

/// Enough of a digest to tell versions of a file apart.
fn short(digest: &[u8; 32]) -> String {
    digest.first_chunk().map_or_else(String::new, |start| format!("{:08x}", u32::from_be_bytes(*start)))
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

//! The configuration file: read, judged, and handed to the rooms as settings.
//!
//! Text becomes a tree with places (`tree`), the tree becomes what was typed (`raw`, by `reader`), and that becomes
//! [`Settings`] (`check`). Everything that is wrong is reported at once, with a caret and a way out, and never
//! with a secret. Builds nothing live; only `cli` and `app` import this room.

mod check;
mod environment;
mod files;
mod nearest;
mod problems;
mod raw;
mod reader;
mod schema;
mod secrets;
mod sources;
mod tree;
mod values;

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

pub use environment::{Environment, ProcessEnvironment};
pub use problems::{Problem, Problems};
pub use schema::schema;
pub use sources::{Fingerprint, Sources};

use crate::base::secret::sha256;
use crate::bff;
use crate::edge;
use crate::gate;
use crate::oidc;
use crate::session;
use crate::store;
use crate::telemetry;
use problems::Findings;
use reader::{Read, Reader};

/// A configuration that was found good, in the terms of the rooms that use it.
#[derive(Debug)]
pub struct Settings {
    /// Listeners, limits and upstreams.
    pub edge: edge::settings::Settings,
    /// Routes and the rules before them.
    pub gate: gate::settings::Settings,
    /// Our endpoints.
    pub bff: bff::settings::Settings,
    /// Sessions and their cookie.
    pub session: session::settings::Settings,
    /// What replicas share.
    pub store: store::settings::Settings,
    /// The provider.
    pub oidc: oidc::settings::Settings,
    /// Logs.
    pub telemetry: telemetry::settings::Settings,
    /// Whether the files are watched.
    pub watching: Watching,
    /// SHA-256 of the file as it was read, without the secrets it names: tells versions apart in logs.
    pub source_digest: [u8; 32],
    /// What is legal and probably not meant.
    pub warnings: Problems,
}

/// Whether the files of a configuration are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// They are taken when they change.
    On {
        /// How often they are compared where the system tells nothing of changes.
        poll: Duration,
    },
    /// Only a signal has them read again.
    Off,
}

/// What was read, from which files, and what they held then.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, or what is wrong with them.
    pub settings: Result<Settings, Problems>,
    /// The files that were read or should have been.
    pub sources: Sources,
    /// What they held, if not something older: whoever compares with it misses no change.
    pub fingerprint: Fingerprint,
}

/// Loads the file at `path` like [`load`], and tells what to watch. `known` are the files of the time before.
pub fn load_watched(path: &Path, known: &Sources) -> Loaded {
    let mut expected = known.with(&Sources::of([path]));
    loop {
        // Before they are read: a change in the meantime shows as a difference.
        let fingerprint = expected.fingerprint();
        let mut sources = Sources::of([path]);
        let settings = load_from(path, &mut sources);
        if settings.is_err() {
            // What is in use is still watched: it may be what has to be put right.
            sources = sources.with(&expected);
        }
        if sources == expected {
            return Loaded { settings, sources, fingerprint };
        }
        expected = sources;
    }
}

/// Reads and checks the file at `path`, the secrets and certificates it names, and the environment.
///
/// # Errors
/// With everything that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, Problems> {
    load_from(path, &mut Sources::default())
}

fn load_from(path: &Path, sources: &mut Sources) -> Result<Settings, Problems> {
    let name = path.display().to_string();
    let refuse = |why: String| Problems::of_file(&name, format!("{name} cannot be used: {why}"));
    let file = std::fs::File::open(path).map_err(|error| refuse(secrets::why(&error)))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| refuse(secrets::why(&error)))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
        return Err(refuse(format!("it is larger than {MAX_FILE} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8".to_owned()))?;
    let base_dir = path.parent().unwrap_or(Path::new(""));
    let place = Place { name: &name, base_dir, environment: &ProcessEnvironment };
    place.load(&text, sources)
}

/// Checks the text of a configuration that is called `name`; relative paths in it start from `base_dir`.
///
/// # Errors
/// With everything that is wrong with it.
pub fn load_text(
    name: &str,
    text: &str,
    base_dir: &Path,
    environment: &dyn Environment,
) -> Result<Settings, Problems> {
    Place { name, base_dir, environment }.load(text, &mut Sources::default())
}

/// Where a text comes from.
struct Place<'a> {
    name: &'a str,
    base_dir: &'a Path,
    environment: &'a dyn Environment,
}

impl Place<'_> {
    fn load(&self, text: &str, sources: &mut Sources) -> Result<Settings, Problems> {
        let source = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut findings = Findings::default();
        let settings = self.read(source, &mut findings, sources);
        let failed = findings.has_errors();
        let problems = findings.finish(self.name, source);
        match settings {
            Some(checked) if !failed => Ok(Settings {
                edge: checked.edge,
                gate: checked.gate,
                bff: checked.bff,
                session: checked.session,
                store: checked.store,
                oidc: checked.oidc,
                telemetry: checked.telemetry,
                watching: checked.watching,
                source_digest: sha256(text.as_bytes()),
                warnings: problems,
            }),
            // A check that gives nothing has said why; were one to forget it, this would still be no success.
            None if !failed => {
                Err(Problems::of_file(self.name, "the configuration cannot be used".to_owned()))
            }
            Some(_) | None => Err(problems),
        }
    }

    fn read(&self, text: &str, findings: &mut Findings, sources: &mut Sources) -> Option<check::Checked> {
        let Place { base_dir, environment, .. } = *self;
        let root = tree::parse(text, environment, findings)?;
        let file = raw::File::read(&root, &mut Reader { base_dir, environment, findings, sources })?;
        files::verify(&file, findings, sources);
        check::check(file, findings)
    }
}

/// A configuration is a page or two; what is larger is something else.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;

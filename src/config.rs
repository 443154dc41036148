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
mod tree;
mod values;

use std::io::Read as _;
use std::path::Path;

pub use environment::{Environment, ProcessEnvironment};
pub use problems::{Problem, Problems};
pub use schema::schema;

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
    /// SHA-256 of the file as it was read, without the secrets it names: tells versions apart in logs.
    pub source_digest: [u8; 32],
    /// What is legal and probably not meant.
    pub warnings: Problems,
}

/// Reads and checks the file at `path`, the secrets and certificates it names, and the environment.
///
/// # Errors
/// With everything that is wrong with it.
pub fn load(path: &Path) -> Result<Settings, Problems> {
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
    load_text(&name, &text, base_dir, &ProcessEnvironment)
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
    let source = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut findings = Findings::default();
    let settings = read(source, base_dir, environment, &mut findings);
    let failed = findings.has_errors();
    let problems = findings.finish(name, source);
    match settings {
        Some(checked) if !failed => Ok(Settings {
            edge: checked.edge,
            gate: checked.gate,
            bff: checked.bff,
            session: checked.session,
            store: checked.store,
            oidc: checked.oidc,
            telemetry: checked.telemetry,
            source_digest: sha256(text.as_bytes()),
            warnings: problems,
        }),
        // A check that gives nothing has said why; were one to forget it, this would still be no success.
        None if !failed => Err(Problems::of_file(name, "the configuration cannot be used".to_owned())),
        Some(_) | None => Err(problems),
    }
}

fn read(
    text: &str,
    base_dir: &Path,
    environment: &dyn Environment,
    findings: &mut Findings,
) -> Option<check::Checked> {
    let root = tree::parse(text, environment, findings)?;
    let file = raw::File::read(&root, &mut Reader { base_dir, environment, findings })?;
    files::verify(&file, findings);
    check::check(file, findings)
}

/// A configuration is a page or two; what is larger is something else.
const MAX_FILE: u64 = 1024 * 1024;

#[cfg(test)]
mod tests;

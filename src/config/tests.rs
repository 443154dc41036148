//! What loads, what does not, and what is said about it.
//!
//! `UPDATE=1 cargo test` rewrites what is generated: the expected messages, the schema, the tables of the docs.

mod design;
mod generated;
mod golden;
mod leaks;
mod settings;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Problems, Settings, load_text};
use crate::base::secret::random_text;

/// A client secret that must never be printed.
const CLIENT_SECRET: &str = "Zx9-client-secret-8uQ";

/// Two good keys and a client secret, in files and in variables.
struct World {
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut environment = BTreeMap::from([("CLIENT_SECRET".to_owned(), CLIENT_SECRET.to_owned())]);
        for (name, variable) in [("session.key", "SESSION_KEY"), ("old.key", "OLD_KEY")] {
            let key = random_text::<32>();
            std::fs::write(folder.path().join(name), format!("{key}\n")).unwrap();
            environment.insert(variable.to_owned(), key);
        }
        for name in ["client-secret", "redis-password"] {
            std::fs::write(folder.path().join(name), format!("{CLIENT_SECRET}\n")).unwrap();
        }
        Self { folder, environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self, text: &str) -> Result<Settings, Problems> {
        load_text("gateway.yaml", text, self.folder.path(), &self.environment)
    }
}

/// The least file, with further lines at its end.
fn least(more: &str) -> String {
    format!("{LEAST}{more}")
}

const LEAST: &str = "\
public_url: https://app.example.com
provider:
  issuer: https://id.example.com
  client_id: bearward
  client_secret: { file: client-secret }
session:
  keys: [ { file: session.key } ]
routes:
  - { path: /api/*, upstream: http://127.0.0.1:8080, auth: session }
  - { path: /*,     upstream: http://127.0.0.1:5173, auth: none }
";

/// The problems' messages, with line and column.
fn messages(problems: &Problems) -> Vec<String> {
    let line = |problem: &super::Problem| match problem.position() {
        Some((line, column)) => format!("{line}:{column} {}", problem.message()),
        None => problem.message().to_owned(),
    };
    problems.iter().map(line).collect()
}

/// Compares a generated file with what it should be, or rewrites it under `UPDATE=1`.
#[track_caller]
fn fresh(path: &Path, expected: &str) {
    if super::Environment::variable(&super::ProcessEnvironment, "UPDATE").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is stale, run the tests with UPDATE=1. It should be:\n{expected}",
        path.display()
    );
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

//! What documents and manifests must hold: paths, tests, no banned crate.

use std::fs;

use crate::source::root;

/// The most lines of the architecture's page: what is longer is not read.
pub(crate) const LONGEST_ARCHITECTURE: usize = 200;

/// Every path of ours in backticks that does not exist, and every test that is named and does not exist.
pub(crate) fn dead_references(name: &str, text: &str) -> Vec<String> {
    let exists = |path: &str| root().join(path).exists();
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap_or_default();
    dead_references_with(name, text, exists, read)
}

/// The same with the repository as given.
pub(crate) fn dead_references_with(
    name: &str,
    text: &str,
    exists: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut dead = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        for code in line.split('`').skip(1).step_by(2).filter(|code| is_path(code)) {
            let (path, test) = code.split_once("::").map_or((code, None), |(path, test)| (path, Some(test)));
            if !exists(path) {
                dead.push(format!("{name}:{number} names {path}, which does not exist"));
            } else if test.is_some_and(|test| !has_function(&read(path), test)) {
                dead.push(format!("{name}:{number} names {code}, and there is no such function"));
            }
        }
    }
    dead
}

fn is_path(code: &str) -> bool {
    let ours =
        ["src/", "tests/", "devidp/", "docs/", "templates/", "benches/", "config/", "scripts/", "deploy/"];
    ours.iter().any(|folder| code.starts_with(folder)) && !code.contains([' ', '*', '{', '<'])
}

fn has_function(text: &str, name: &str) -> bool {
    text.match_indices("fn ").any(|(at, found)| {
        let rest = text.get(at + found.len()..).and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    })
}

/// Paths of somebody's machine.
pub(crate) fn machine_paths(name: &str, text: &str) -> Vec<String> {
    let places = ["home/", "root/", "work/", "Users/", "tmp/wt"];
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let hit = places.iter().find(|place| {
            line.match_indices(**place).any(|(at, _)| {
                let before = line.get(..at).unwrap_or_default();
                // A path of a machine starts at its root; `src/home/` and `https://host/home/` do not.
                before.strip_suffix('/').is_some_and(|before| {
                    !before.ends_with(|c: char| c.is_ascii_alphanumeric() || "-_.:/}*)".contains(c))
                })
            })
        });
        if let Some(place) = hit {
            wrong.push(format!("{name}:{number} names /{place}, a path of somebody's machine"));
        }
    }
    wrong
}

/// Whether the change log has a place for what is to come.
pub(crate) fn has_unreleased(changelog: &str) -> bool {
    changelog.lines().any(|line| line.trim() == "## [Unreleased]")
}

/// A package of `Cargo.lock`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    name: String,
    source: String,
    dependencies: Vec<String>,
}

/// The packages of a lock file.
pub(crate) fn packages(lock: &str) -> Vec<Package> {
    let texts = lock.split("[[package]]").skip(1);
    texts
        .map(|text| {
            let mut package = Package::default();
            for line in text.lines() {
                if let Some(name) = line.strip_prefix("name = ") {
                    package.name = unquoted(name);
                } else if let Some(source) = line.strip_prefix("source = ") {
                    package.source = unquoted(source);
                } else if line.starts_with(" \"") {
                    // A second word is the version, where there are several.
                    package.dependencies.extend(unquoted(line).split(' ').next().map(str::to_owned));
                }
            }
            package
        })
        .collect()
}

fn unquoted(text: &str) -> String {
    text.trim().trim_end_matches(',').trim_matches('"').to_owned()
}

/// Crates that `deny.toml` bans, each with those that may use it all the same.
pub(crate) fn bans(deny: &str) -> Vec<(String, Vec<String>)> {
    let after = deny.split_once("\ndeny = [").map_or("", |(_, after)| after);
    let list = after.split_once("\n]").map_or("", |(list, _)| list);
    let entries = list.lines().filter_map(|line| line.split_once("crate = \""));
    entries
        .map(|(_, rest)| {
            let name = rest.split('"').next().unwrap_or_default().to_owned();
            let wrappers = rest.split_once("wrappers = [").and_then(|(_, rest)| rest.split(']').next());
            let wrappers = wrappers.map_or_else(Vec::new, |list| list.split(',').map(unquoted).collect());
            (name, wrappers)
        })
        .collect()
}

/// Banned crates of a lock file, and packages from anywhere but crates.io and this repository.
pub(crate) fn banned(lock: &[Package], bans: &[(String, Vec<String>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, wrappers) in bans {
        let present = lock.iter().any(|package| package.name == *name);
        if present && wrappers.is_empty() {
            wrong.push(format!("{name} is banned and locked"));
        }
        let users = lock.iter().filter(|package| package.dependencies.contains(name));
        wrong.extend(
            users
                .filter(|user| !wrappers.is_empty() && !wrappers.contains(&user.name))
                .map(|user| format!("{name} is used by {}", user.name)),
        );
    }
    let strange = |package: &&Package| !package.source.is_empty() && !package.source.starts_with(CRATES_IO);
    wrong
        .extend(lock.iter().filter(strange).map(|package| format!("{} is not from crates.io", package.name)));
    wrong
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

//! The house rules as tests: a rule that nothing holds is a wish.
//!
//! A scan of the texts of `src`, `devidp` and the documents; nothing of the crate is used. `scanner` proves for every
//! rule that it can fail.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test")]

#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/rooms.rs"]
mod rooms;
#[path = "tidy/scanner.rs"]
mod scanner;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::fs;

use source::{Source, kept_files, relative, root, sources};

#[track_caller]
fn none(rule: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn gateway() -> Vec<Source> {
    sources(&["src"])
}

fn documents() -> Vec<String> {
    let mut found: Vec<_> =
        kept_files().iter().map(|path| relative(path)).filter(|path| path.ends_with(".md")).collect();
    found.sort();
    found
}

#[test]
fn a_room_imports_only_rooms_before_it() {
    none("imports", gateway().iter().flat_map(rooms::wrong_imports).collect());
}

#[test]
fn the_library_lists_its_rooms_in_their_order() {
    let library = Source::new("src/lib.rs", &read("src/lib.rs"));
    let listed: Vec<_> = library
        .lines()
        .filter_map(|(_, line)| line.strip_prefix("pub mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    let known: Vec<_> = rooms::ROOMS.iter().filter(|room| listed.iter().any(|name| name == *room)).collect();
    assert_eq!(listed, known.into_iter().map(|&room| room.to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_configuration_names_only_settings_of_other_rooms() {
    none("config", gateway().iter().flat_map(rooms::wrong_in_config).collect());
}

#[test]
fn each_pinned_crate_is_named_only_in_its_place() {
    none("crates", gateway().iter().flat_map(rooms::misplaced_crates).collect());
}

#[test]
fn the_embedded_provider_knows_nothing_of_the_gateway() {
    let named = |source: &Source| source.text.contains("bearward::");
    let wrong = sources(&["devidp"]).into_iter().filter(named).map(|source| source.path);
    none("devidp", wrong.collect());
    assert!(!read("devidp/Cargo.toml").contains("path = \"..\""));
}

#[test]
fn every_file_begins_with_its_title() {
    none("titles", sources(&["src", "devidp/src"]).iter().filter_map(files::wrong_title).collect());
}

#[test]
fn no_file_is_too_long() {
    let all = sources(&["src", "devidp/src", "tests"]);
    none("lengths", all.iter().filter_map(files::too_long).collect());
    none("mod.rs", all.iter().filter_map(|source| files::is_mod_rs(&source.path)).collect());
}

#[test]
fn what_decides_waits_for_nothing() {
    none("pure files", gateway().iter().flat_map(files::impure).collect());
    let gone = files::PURE
        .iter()
        .filter(|path| !root().join(path).exists() && !root().join(format!("{path}.rs")).exists());
    none("pure files that are gone", gone.map(|&path| path.to_owned()).collect());
}

#[test]
fn only_listed_files_look_inside_secrets() {
    let all = gateway();
    none("secrets", all.iter().flat_map(files::exposing).collect());
    let idle = files::EXPOSING
        .iter()
        .filter(|(path, _)| !all.iter().any(|source| source.path == *path && source.code.contains("expose")));
    none("listed and not exposing", idle.map(|(path, _)| (*path).to_owned()).collect());
}

#[test]
fn no_work_is_put_off_and_no_test_is_switched_off() {
    let all = sources(&["src", "devidp", "tests"]);
    none("put off", all.iter().flat_map(files::put_off).collect());
}

#[test]
fn the_architecture_is_short_and_documents_name_what_exists() {
    let lines = read("ARCHITECTURE.md").lines().count();
    assert!(lines <= documents::LONGEST_ARCHITECTURE, "ARCHITECTURE.md has {lines} lines");
    let dead = documents().into_iter().flat_map(|path| documents::dead_references(&path, &read(&path)));
    none("documents", dead.collect());
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    let mut wrong = Vec::new();
    for path in kept_files() {
        // What is no text has no lines to judge.
        if let Ok(text) = fs::read_to_string(&path) {
            wrong.extend(documents::machine_paths(&relative(&path), &text));
        }
    }
    none("machine paths", wrong);
}

#[test]
fn the_change_log_has_a_place_for_what_is_to_come() {
    assert!(documents::has_unreleased(&read("CHANGELOG.md")));
}

#[test]
fn no_banned_crate_is_locked() {
    // What needs the texts of licences and the database of advisories, `cargo deny check` does.
    let bans = documents::bans(&read("deny.toml"));
    assert!(bans.len() >= 6, "the list of bans could not be read: {bans:?}");
    let any_version = "= \"*\"";
    assert!(!read("Cargo.toml").contains(any_version) && !read("devidp/Cargo.toml").contains(any_version));
    none("bans", documents::banned(&documents::packages(&read("Cargo.lock")), &bans));
}

#[test]
fn items_of_the_standards_are_cited() {
    let all = sources(&["src", "devidp", "tests"]);
    let cited: BTreeSet<_> = all.iter().flat_map(|source| files::cited_items(&source.text)).collect();
    let tested = |source: &&Source| source.code.is_empty() || source.path.starts_with("tests/");
    let in_tests: BTreeSet<_> =
        all.iter().filter(tested).flat_map(|source| files::cited_items(&source.text)).collect();
    println!("{} items of the standards are cited, {} in files of tests", cited.len(), in_tests.len());
    assert!(!cited.is_empty());
}

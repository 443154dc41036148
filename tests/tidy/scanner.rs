//! Proof that each rule can fail: small bad inputs for every scanner.

use crate::source::{Source, bare_code, test_modules, without_tests};
use crate::{documents, files, rooms};

#[track_caller]
fn finds(found: &[String], expected: &str) {
    assert!(found.iter().any(|line| line.contains(expected)), "{expected:?} is not in {found:?}");
}

fn at(path: &str, text: &str) -> Source {
    Source::new(path, text)
}

#[test]
fn comments_and_texts_are_no_code() {
    let text = "a // crate::edge\n/* crate::edge\n*/ b \"crate::edge \\\" x\" c r#\"crate::\"edge\"# 'x' '\\'' &'a d";
    let bare = bare_code(text);
    assert!(!bare.contains("crate"), "{bare}");
    assert_eq!(bare.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "&'a", "d"]);
    assert_eq!(bare.lines().count(), text.lines().count());
}

#[test]
fn tests_are_no_code() {
    let code = "fn a() {}\n#[cfg(test)]\n#[expect(x)]\nmod tests { fn b() { c {} } }\nfn d() {}\n\
                #[cfg(test)]\nuse crate::{e, f};\n#[cfg(test)]\nmod script;\nfn g() {}";
    let left = without_tests(code);
    assert_eq!(left.split_whitespace().collect::<String>(), "fna(){}fnd(){}fng(){}");
    assert_eq!(left.lines().count(), code.lines().count());
    let named = test_modules("src/oidc.rs", code);
    assert_eq!(named, ["src/oidc/script"]);
    assert_eq!(test_modules("src/a.rs", "#[cfg(test)]\npub(crate) mod tests;"), ["src/a/tests"]);
}

#[test]
fn an_upward_import_is_found_with_file_line_and_target() {
    let found = rooms::wrong_imports(&at("src/base/tls.rs", "//! A\nuse std::fs;\npub use crate::edge::f;"));
    finds(&found, "src/base/tls.rs:3 base imports crate::edge");
    finds(&rooms::wrong_imports(&at("src/edge.rs", "fn f() { crate::session::g() }")), "decides nothing");
    finds(&rooms::wrong_imports(&at("src/gate/x.rs", "use crate::config::Settings;")), "stands below");
    finds(&rooms::wrong_imports(&at("src/gate/x.rs", "use crate::nowhere::X;")), "list of rooms");
    finds(&rooms::wrong_imports(&at("src/main.rs", "use bearward::edge;")), "main imports crate::edge");
    assert!(rooms::wrong_imports(&at("src/app/build.rs", "use crate::config::Settings;")).is_empty());
    assert!(rooms::wrong_imports(&at("src/gate/x.rs", "use crate::gate::y;\nuse super::z;")).is_empty());
}

#[test]
fn imports_that_hide_their_target_are_found() {
    finds(&rooms::wrong_imports(&at("src/config.rs", "use crate::{bff, edge};")), "one line for each");
    finds(&rooms::wrong_imports(&at("src/a/b.rs", "use super::super::edge;")), "climbs twice");
    finds(&rooms::wrong_imports(&at("src/gate.rs", "use super::edge;")), "crate root");
}

#[test]
fn config_naming_live_things_is_found() {
    let wrong = |text| rooms::wrong_in_config(&at("src/config/check.rs", text));
    finds(&wrong("use crate::session::sessions::Sessions;"), "config names session::sessions");
    finds(&wrong("use crate::edge as edge_room;\nfn f() { edge_room::listener::bind() }"), "edge::listener");
    assert!(
        wrong("use crate::edge;\nfn f(s: edge::settings::Settings) {}\nuse crate::base::tls;").is_empty()
    );
    assert!(wrong("use crate::config::raw;").is_empty());
}

#[test]
fn a_pinned_crate_elsewhere_is_found() {
    let wrong = |path, text| rooms::misplaced_crates(&at(path, text));
    finds(&wrong("src/gate/admit.rs", "use pingora::Error;"), "src/gate/admit.rs:1 names pingora");
    finds(&wrong("src/session/x.rs", "fn f() -> jsonwebtoken::Header {}"), "names jsonwebtoken");
    finds(&wrong("src/edge/conn.rs", "use hyper::client::conn;"), "names hyper::client");
    assert!(wrong("src/edge.rs", "use pingora::Error;").is_empty());
    assert!(wrong("src/edge/x.rs", "use pingora::Error;").is_empty());
    assert!(wrong("src/gate/x.rs", "use self::redis_like::X;").is_empty());
    finds(&wrong("src/edgeways.rs", "use pingora::Error;"), "names pingora");
}

#[test]
fn bad_titles_are_found() {
    let wrong = |text: &str| files::wrong_title(&at("src/a.rs", text)).into_iter().collect::<Vec<_>>();
    finds(&wrong("use std::fs;"), "does not begin");
    finds(&wrong("//! This module does a thing."), "This module");
    finds(&wrong(&format!("//! {}", "x".repeat(81))), "81 characters");
    assert!(wrong(&format!("//! {}", "ä".repeat(80))).is_empty());
}

#[test]
fn long_files_and_mod_rs_are_found() {
    let long = "x\n".repeat(files::LONGEST + 1);
    finds(&files::too_long(&at("src/a.rs", &long)).into_iter().collect::<Vec<_>>(), "501 lines");
    let tested = format!("{}#[cfg(test)]\n{long}", "x\n".repeat(files::LONGEST));
    assert!(files::too_long(&at("src/a.rs", &tested)).is_none());
    assert!(files::is_mod_rs("src/gate/mod.rs").is_some());
    assert!(files::is_mod_rs("src/gate/model.rs").is_none());
}

#[test]
fn waiting_in_a_file_that_decides_is_found() {
    for text in ["pub async fn f() {}", "g().await", "let a = async move {}", "use tokio::sync::Mutex;"] {
        finds(&files::impure(&at("src/gate/policy/csrf.rs", text)), "csrf.rs:1 waits");
    }
    assert!(files::impure(&at("src/gate/admit.rs", "pub async fn f() {}")).is_empty());
    assert!(files::impure(&at("src/jwt/key.rs", "#[cfg(test)]\nmod tests { async fn f() {} }")).is_empty());
}

#[test]
fn a_look_inside_a_secret_is_found() {
    finds(&files::exposing(&at("src/edge/proxy.rs", "\nsecret.expose()")), "src/edge/proxy.rs:2");
    finds(&files::exposing(&at("src/edge/proxy.rs", "map(Secret::expose)")), "src/edge/proxy.rs:1");
    assert!(files::exposing(&at("src/oidc/token.rs", "secret.expose()")).is_empty());
}

#[test]
fn work_put_off_is_found() {
    let mark = concat!("TO", "DO");
    finds(&files::put_off(&at("src/a.rs", &format!("// {mark}: later"))), "without an issue");
    finds(&files::put_off(&at("src/a.rs", concat!("    #[ig", "nore = \"slow\"]"))), "does not run");
    finds(&files::put_off(&at("src/a.rs", concat!("#[should", "_panic]"))), "any panic");
    let with_issue = format!("// {mark} https://github.com/o/r/issues/7");
    assert!(files::put_off(&at("src/a.rs", &with_issue)).is_empty());
}

#[test]
fn citations_are_counted_with_their_ranges() {
    assert_eq!(files::cited_items("std:7, std:99–101; std:3-4 std:x std::fs"), [7, 99, 100, 101, 3, 4]);
}

#[test]
fn dead_references_are_found() {
    let exists = |path: &str| path == "src/a.rs" || path == "src/b/";
    let read = |_: &str| "fn lives() {}\nfn lives_too<T>() {}".to_owned();
    let text =
        "`src/a.rs` `src/b/` `src/gone.rs` `src/a.rs::lives` `src/a.rs::lives_too`\n`src/a.rs::dies` `src/*`";
    let dead = documents::dead_references_with("X.md", text, exists, read);
    assert_eq!(dead.len(), 2, "{dead:?}");
    finds(&dead, "X.md:1 names src/gone.rs");
    finds(&dead, "X.md:2 names src/a.rs::dies");
}

#[test]
fn machine_paths_are_found() {
    for path in [concat!("/ho", "me/me/x"), concat!("\"/ro", "ot/.cargo\""), concat!("at /wo", "rk/main")] {
        finds(&documents::machine_paths("a.md", path), "a.md:1");
    }
    for fine in ["https://a.example/home/", "src/work/x", "./work/", "{root}/home/", "home/"] {
        assert!(documents::machine_paths("a.md", fine).is_empty(), "{fine}");
    }
}

#[test]
fn a_change_log_without_unreleased_is_found() {
    assert!(documents::has_unreleased("# Change log\n\n## [Unreleased]\n"));
    assert!(!documents::has_unreleased("# Change log\n\nUnreleased\n"));
}

#[test]
fn banned_crates_are_found() {
    let deny = "[bans]\ndeny = [\n  { crate = \"openssl\", reason = \"r\" },\n  \
                { crate = \"serde_yaml\", wrappers = [\"pingora-core\"], reason = \"r\" },\n]\n";
    let bans = documents::bans(deny);
    let lock = "[[package]]\nname = \"openssl\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n\n\
                [[package]]\nname = \"ours\"\ndependencies = [\n \"serde_yaml\",\n \"rand 0.8.5\",\n]\n\n\
                [[package]]\nname = \"pingora-core\"\nsource = \"git+https://x.example/p\"\ndependencies = [\n \"serde_yaml\",\n]\n";
    let wrong = documents::banned(&documents::packages(lock), &bans);
    assert_eq!(wrong.len(), 3, "{wrong:?}");
    finds(&wrong, "openssl is banned");
    finds(&wrong, "serde_yaml is used by ours");
    finds(&wrong, "pingora-core is not from crates.io");
}

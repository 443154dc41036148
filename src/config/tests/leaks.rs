//! No text makes the loader panic, and none makes it print a secret.

use std::path::Path;

use proptest::prelude::*;

use super::{CLIENT_SECRET, World, least};
use crate::config::load_text;

#[test]
fn settings_print_no_secret() {
    let world = World::new();
    let settings = world.load(super::LEAST).unwrap();
    let printed = format!("{settings:?} {settings:#?}");
    let key = std::fs::read_to_string(world.path("session.key")).unwrap();
    assert!(!printed.contains(CLIENT_SECRET) && !printed.contains(key.trim()));
    assert!(printed.contains("[secret]"));
    // Nor as a list of bytes.
    let first = settings.session.keys[0].bytes.expose();
    assert!(!printed.contains(&format!("{}, {}, {}", first[0], first[1], first[2])));
}

/// Secrets in every place where somebody might write one.
#[test]
fn a_secret_in_the_wrong_place_is_masked() {
    let world = World::new();
    let secret = CLIENT_SECRET;
    for text in [
        super::LEAST.replace("{ file: client-secret }", secret),
        super::LEAST.replace("{ file: client-secret }", &format!("\"{secret}\"")),
        super::LEAST.replace("{ file: client-secret }", &format!("[{secret}]")),
        super::LEAST.replace("{ file: client-secret }", &format!("!{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("!{secret} x")),
        super::LEAST.replace("{ file: client-secret }", &format!("&{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("*{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("#{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("x #{secret}")),
        super::LEAST.replace("client_secret: { file: client-secret }", &format!("client_secert: #{secret}")),
        super::LEAST
            .replace("keys: [ { file: session.key } ]", &format!("keys:\n  - #{secret}\n  - !{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("{{ value: {secret} }}")),
        super::LEAST.replace("{ file: client-secret }", &format!("{{ {secret}: file }}")),
        super::LEAST.replace("{ file: client-secret }", &format!("${{X:-{secret}}}")),
        super::LEAST.replace("{ file: client-secret }", &format!("{{ file: client-secret }} {secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("\"{secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("|\n    {secret}")),
        super::LEAST.replace("{ file: client-secret }", &format!("|\n    x: {secret}\n   y: {secret}")),
        super::LEAST.replace("client_secret: { file: client-secret }", &format!("client_secert: {secret}")),
        super::LEAST.replace("client_secret: { file: client-secret }", &format!("client_secret {secret}")),
        super::LEAST.replace("client_secret: { file: client-secret }", &format!("client_secret:{secret}")),
        super::LEAST
            .replace("client_secret: { file: client-secret }\n", &format!("client_secret] {secret}>")),
        super::LEAST.replace("client_secret: {", &format!("client_secret: {secret}\n  client_secret: {{")),
        super::LEAST.replace("  client_secret: {", &format!("  client_secret: {secret}\n client_secret: {{")),
        super::LEAST.replace("keys: [ { file: session.key } ]", &format!("keys: {secret}")),
        super::LEAST.replace("keys: [ { file: session.key } ]", &format!("keys: [ {secret} ]")),
        super::LEAST.replace("keys: [ { file: session.key } ]", &format!("keys: {{ a: {secret} }}")),
        super::LEAST.replace("keys: [ { file: session.key } ]", &format!("keys: [ {secret}")),
        super::LEAST.replace("keys: [ { file: session.key } ]", &format!("keys: [ {{ key: {secret} }} ]")),
        super::LEAST.replace("https://id.example.com", &format!("https://me:{secret}@id.example.com")),
        super::LEAST.replace("http://127.0.0.1:8080", &format!("http://me:{secret}@127.0.0.1:8080")),
        least(&format!("store: {{ kind: redis, url: \"redis://:{secret}@redis\" }}\n")),
        least(&format!("store: {{ kind: redis, password: {secret} }}\n")),
        least(&format!("secrets: {{ a: &a {secret} }}\nlog: *a\n")),
        least(&format!("session: {secret}\n")),
        super::LEAST.replace("  client_id:", &format!("  token_params: {{ code: {secret} }}\n  client_id:")),
        least(&format!(
            "bearer:\n  - {{ issuer: x, introspection: {{ endpoint: x, client_secret: {secret}, scope: x }} }}\n"
        )),
    ] {
        let Err(problems) = world.load(&text) else { panic!("loads:\n{text}") };
        for said in [problems.to_string(), problems.to_terminal(), format!("{problems:?}")] {
            assert!(!said.contains(secret), "{text}\n{said}");
        }
    }
}

#[test]
fn aliases_and_depth_are_bounded() {
    let world = World::new();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let list = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(world.load(&bomb).unwrap_err().to_string().contains("more than 50000 values"));
    let mut chain = String::from("a0: &a0 x\n");
    for level in 1..2_000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(world.load(&chain).unwrap_err().to_string().contains("more than 50000 values"));
    assert!(world.load(&"[".repeat(100_000)).is_err());
    assert!(world.load(&"- ".repeat(100_000)).is_err());
    assert!(world.load(&format!("a: {}", "{a: ".repeat(10_000))).is_err());
    assert!(world.load("a: &a [*a]").is_err());
}

fn harmless(text: &str) {
    let world = std::collections::BTreeMap::new();
    match load_text("text.yaml", text, Path::new("/nonexistent"), &world) {
        Ok(settings) => drop(format!("{settings:?}")),
        Err(problems) => {
            assert!(!problems.is_empty());
            drop((problems.to_string(), problems.to_terminal()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_loader_panic(text in "(?s).{0,200}") {
        harmless(&text);
    }

    #[test]
    fn no_yaml_makes_the_loader_panic(
        text in "((public_url|provider|session|routes|keys|path|limits|x|é)(: |:\n {1,3}|, )|[\\[\\]{}\"'#|>&*!-]|\\$\\{|\n {0,4}|\t|- |5m|true|~|\u{feff}){0,60}",
    ) {
        harmless(&text);
    }

    #[test]
    fn a_damaged_file_makes_no_panic_and_no_leak(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, "[\\[\\]{}\"':#,&*|>!\n a-]"), 1..3),
    ) {
        const MARK: &str = "QQQQQQQQQQQQQQQQ";
        let mut text: Vec<char> =
            super::LEAST.replace("{ file: client-secret }", MARK).chars().collect();
        for (index, kind, character) in edits {
            let at = index.index(text.len());
            let character = character.chars().next().unwrap();
            match kind {
                0 => { text.remove(at); }
                1 => text.insert(at, character),
                _ => text[at] = character,
            }
        }
        let text: String = text.into_iter().collect();
        let environment = std::collections::BTreeMap::new();
        let problems = load_text("text.yaml", &text, Path::new("/nonexistent"), &environment).unwrap_err();
        let said = format!("{problems}\n{problems:?}");
        prop_assert!(!said.contains("QQQQ"), "{}\n{}", text, said);
    }
}

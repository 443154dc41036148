//! The schema, its agreement with the reader, the tables of the docs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Map, Value as Json, json};

use super::{World, fresh, repository};
use crate::config::schema;

#[test]
fn the_committed_schema_is_fresh() {
    fresh(&repository().join("config/schema.json"), &format!("{:#}\n", schema()));
}

#[test]
fn the_tables_of_the_docs_are_fresh() {
    let path = repository().join("docs/configuration.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let mut tables = String::new();
    let root = schema();
    table(&root, &root, "", &mut tables);
    fresh(&path, &format!("{before}{BEGIN}\n{tables}{END}{after}"));
}

/// Every object of the schema gets a key that nobody knows; the reader must name exactly the schema's keys there.
#[test]
fn schema_and_reader_know_the_same_keys() {
    let root = schema();
    let mut expected = Vec::new();
    let instance = instance(&root, &root, &mut expected);
    let text = serde_json::to_string_pretty(&instance).unwrap();
    let problems = World::new().load(&text).unwrap_err();
    let mut found: Vec<String> = Vec::new();
    for problem in problems.iter().filter(|problem| problem.message() == "unknown key") {
        let known = problem.help().unwrap().strip_prefix("known here: ").unwrap();
        let mut keys: Vec<&str> = known.split(", ").collect();
        keys.sort_unstable();
        found.push(keys.join(" "));
    }
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(expected.len() > 20);
}

#[test]
fn keys_that_must_be_there_are_those_of_the_schema() {
    let problems = World::new().load("{}").unwrap_err();
    let missing: Vec<String> = problems.iter().map(|problem| problem.message().to_owned()).collect();
    let required = schema()["required"].as_array().unwrap().clone();
    let expected: Vec<String> =
        required.iter().map(|key| format!("`{}` is missing", key.as_str().unwrap())).collect();
    assert_eq!(BTreeSet::from_iter(missing), BTreeSet::from_iter(expected));
}

#[test]
fn every_key_and_word_is_described() {
    each_object(&schema(), &mut |properties| {
        for (key, property) in properties {
            let text = property["description"].as_str().unwrap_or_default();
            assert!(text.ends_with(['.', '…', '`']) && text.len() > 8, "{key}: {text}");
        }
    });
}

const BEGIN: &str = "<!-- generated from the schema: begin -->\n";
const END: &str = "<!-- generated from the schema: end -->";

fn resolve<'a>(root: &'a Json, value: &'a Json) -> &'a Json {
    if let Some(Json::Array(choices)) = value.get("anyOf") {
        return resolve(root, &choices[0]);
    }
    match value.get("$ref").and_then(Json::as_str) {
        Some(reference) => resolve(root, root.pointer(reference.trim_start_matches('#')).unwrap()),
        None => value,
    }
}

fn instance(root: &Json, value: &Json, expected: &mut Vec<String>) -> Json {
    let value = resolve(root, value);
    if let Some(Json::Object(properties)) = value.get("properties") {
        let keys: Vec<&str> = properties.keys().map(String::as_str).collect();
        expected.push(keys.join(" "));
        let mut made: Map<String, Json> = properties
            .iter()
            .map(|(key, property)| (key.clone(), instance(root, property, expected)))
            .collect();
        made.insert("zzzzzzzzzzzz".to_owned(), json!(1));
        return Json::Object(made);
    }
    if let Some(items) = value.get("items") {
        return json!([instance(root, items, expected)]);
    }
    match value.get("additionalProperties") {
        Some(of) if of.is_object() => json!({ "x": instance(root, of, expected) }),
        _ => json!("?"),
    }
}

fn each_object(value: &Json, visit: &mut impl FnMut(&Map<String, Json>)) {
    if let Some(Json::Object(properties)) = value.get("properties") {
        visit(properties);
    }
    match value {
        Json::Object(entries) => entries.values().for_each(|entry| each_object(entry, visit)),
        Json::Array(items) => items.iter().for_each(|item| each_object(item, visit)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// A table of an object's own values, then one for each object in it.
fn table(root: &Json, object: &Json, path: &str, out: &mut String) {
    let properties = object["properties"].as_object().unwrap();
    let required: Vec<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    if path.is_empty() {
        writeln!(out, "### The file\n").unwrap();
    } else {
        writeln!(out, "### `{path}`\n\n{}\n", object["description"].as_str().unwrap_or_default()).unwrap();
    }
    writeln!(out, "| key | kind | default | meaning |\n|---|---|---|---|").unwrap();
    let mut inner = Vec::new();
    for (key, property) in properties {
        let kind = kind(root, property, &format!("{path}{}{key}", dot(path)), &mut inner);
        let default = match property.get("default") {
            _ if required.contains(&key.as_str()) => "**required**".to_owned(),
            Some(Json::String(text)) => format!("`{text}`"),
            Some(Json::Object(_)) | None => String::new(),
            Some(other) => format!("`{}`", written(other)),
        };
        let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        writeln!(out, "| `{key}` | {kind} | {default} | {meaning} |").unwrap();
    }
    writeln!(out).unwrap();
    for (path, object) in inner {
        table(root, object, &path, out);
    }
}

/// A value as it would stand in the file.
fn written(value: &Json) -> String {
    match value {
        Json::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{key}: {}", written(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

fn dot(path: &str) -> &'static str {
    if path.is_empty() { "" } else { "." }
}

fn kind<'a>(root: &'a Json, value: &'a Json, path: &str, inner: &mut Vec<(String, &'a Json)>) -> String {
    let reference = value["$ref"].as_str().unwrap_or_default();
    match reference.rsplit('/').next() {
        Some("Secret") => return "[secret](#secrets)".to_owned(),
        Some("SessionKey") => return "[session key](#session-keys)".to_owned(),
        Some(_) | None => {}
    }
    let resolved = resolve(root, value);
    if let Some(Json::Array(words)) = resolved.get("oneOf") {
        let words: Vec<String> =
            words.iter().map(|word| format!("`{}`", word["const"].as_str().unwrap())).collect();
        return words.join(", ");
    }
    if resolved.get("properties").is_some() {
        if !inner.iter().any(|(_, known)| *known == resolved) && !path.starts_with("providers") {
            inner.push((path.to_owned(), resolved));
        }
        return "section".to_owned();
    }
    if let Some(items) = resolved.get("items") {
        return format!("list of {}", kind(root, items, &format!("{path}[]"), inner));
    }
    if let Some(of) = resolved.get("additionalProperties").filter(|of| of.is_object()) {
        return format!("names with {}", kind(root, of, &format!("{path}.NAME"), inner));
    }
    if resolved.get("examples").is_some() {
        return "duration".to_owned();
    }
    if value.get("anyOf").is_some() {
        return "size".to_owned();
    }
    match resolved["type"].as_str() {
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("integer") => "number".to_owned(),
        _ => "text".to_owned(),
    }
}

//! The JSON Schema of the file, made from the same declarations that read it.

use std::collections::HashSet;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::raw::File;

/// The JSON Schema of the configuration file, for editors and other tools.
pub fn schema() -> Json {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut schema = generator.into_root_schema_for::<File>().to_value();
    drop_null(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Json::from("Bearward configuration"));
    }
    schema
}

/// Every key and every word that the schema knows: what may be shown of a text that could not be parsed.
pub(super) fn known_words() -> HashSet<String> {
    let mut words = HashSet::new();
    collect(&schema(), &mut words);
    words
}

fn collect(value: &Json, words: &mut HashSet<String>) {
    match value {
        Json::Object(entries) => {
            if let Some(Json::Object(properties)) = entries.get("properties") {
                words.extend(properties.keys().cloned());
            }
            entries.values().for_each(|entry| collect(entry, words));
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// A key that may be absent is an `Option` for schemars, which adds `null`; the reader knows no null.
fn drop_null(value: &mut Json) {
    match value {
        Json::Object(entries) => {
            if let Some(Json::Array(kinds)) = entries.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [kind] = kinds.as_slice() {
                    let kind = kind.clone();
                    entries.insert("type".to_owned(), kind);
                }
            }
            let null = serde_json::json!({ "type": "null" });
            let only = entries.get_mut("anyOf").and_then(Json::as_array_mut).and_then(|choices| {
                choices.retain(|choice| *choice != null);
                if let [Json::Object(only)] = choices.as_slice() { Some(only.clone()) } else { None }
            });
            if let Some(only) = only {
                entries.remove("anyOf");
                entries.extend(only);
            }
            entries.values_mut().for_each(drop_null);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_null),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

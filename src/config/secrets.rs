//! Secrets: from a file or a variable, never from the configuration.
//!
//! A text written where a secret belongs is refused and masked. What is read here is in [`Secret`] from its first
//! byte and is shown nowhere. Whether a key or a client secret is any good, `check` judges.

use std::borrow::Cow;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::environment::Source;
use super::reader::{At, Read, Reader, section};
use super::tree::{Entry, Node, Value};
use crate::base::secret::Secret;

section! {
    /// Where a secret is: in a file or in an environment variable, one of the two.
    SecretPlace
    optional {
        /// A file that holds the secret. A line break at its end does not count. A relative path starts from the
        /// folder of the configuration file.
        file: PathBuf,
        /// The environment variable that holds the secret.
        env: String,
    }
}

section! {
    /// A session key: 256 random bits, as `bearward keygen` prints them.
    KeyPlace
    optional {
        /// Stands in clear in every cookie that the key sealed: 1 to 16 of `A-Z a-z 0-9 _ -`. Made from the key
        /// where it is not given.
        id: String,
        /// A file that holds the key. A relative path starts from the folder of the configuration file.
        file: PathBuf,
        /// The environment variable that holds the key.
        env: String,
    }
}

/// A secret that was read; `None` where it could not be, which has been reported.
pub(crate) struct SecretText(pub(crate) Option<Secret<String>>);

impl Read for SecretText {
    const SECRET: bool = true;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Mapping(entries) = &node.value {
            mask_keys(entries, reader);
            let place = SecretPlace::read(node, reader);
            let secret = place.and_then(|place| resolve((node, entries), place.file, place.env, reader));
            return Some(Self(secret));
        }
        Some(Self(from_variable(node, reader)))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        with_variable(generator.subschema_for::<SecretPlace>())
    }
}

/// A session key's text and id, unchecked.
pub(crate) struct KeyText {
    /// The id, where one is given.
    pub(crate) id: Option<At<String>>,
    /// What should be 256 bits.
    pub(crate) text: Secret<String>,
}

impl Read for KeyText {
    const SECRET: bool = true;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Mapping(entries) = &node.value {
            mask_keys(entries, reader);
            let place = KeyPlace::read(node, reader)?;
            let text = resolve((node, entries), place.file, place.env, reader)?;
            return Some(Self { id: place.id, text });
        }
        Some(Self { id: None, text: from_variable(node, reader)? })
    }
}

impl JsonSchema for KeyText {
    fn schema_name() -> Cow<'static, str> {
        "SessionKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        with_variable(generator.subschema_for::<KeyPlace>())
    }
}

/// A secret of something that is not supported yet: its form is read and masked, its value is not looked for.
pub(crate) struct UnreadSecret;

impl Read for UnreadSecret {
    const SECRET: bool = true;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if let Value::Mapping(entries) = &node.value {
            mask_keys(entries, reader);
            return SecretPlace::read(node, reader).map(|_| Self);
        }
        reader.findings.mask(&node.extent);
        reader.scalar(node, WANTED).map(|_| Self)
    }
}

impl JsonSchema for UnreadSecret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        SecretText::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<SecretText>()
    }
}

/// A text that often carries a secret, such as a parameter's value or a URL with a password: masked.
#[derive(Debug, Clone)]
pub(crate) struct MaskedText(pub(crate) String);

impl Read for MaskedText {
    const SECRET: bool = true;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.findings.mask(&node.extent);
        reader.text(node, "text").map(|text| Self(text.to_owned()))
    }
}

impl JsonSchema for MaskedText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A URL that may carry a password: masked.
#[derive(Clone)]
pub(crate) struct SecretUrl {
    /// What it is.
    pub(crate) text: String,
    /// Where it comes from: a password belongs into a variable.
    pub(crate) source: Source,
}

impl Read for SecretUrl {
    const SECRET: bool = true;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.findings.mask(&node.extent);
        let text = reader.text(node, "a URL")?.to_owned();
        let source = reader.scalar(node, "a URL")?.source;
        Some(Self { text, source })
    }
}

impl JsonSchema for SecretUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Somebody may have written the secret itself where `file` or `env` belongs.
fn mask_keys(entries: &[Entry], reader: &mut Reader<'_>) {
    for entry in entries.iter().filter(|entry| !["id", "file", "env"].contains(&entry.key.as_str())) {
        reader.findings.mask(&entry.at);
    }
}

fn with_variable(place: Schema) -> Schema {
    json_schema!({ "anyOf": [
        place,
        { "type": "string", "pattern": "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" },
    ] })
}

fn from_variable(node: &Node, reader: &mut Reader<'_>) -> Option<Secret<String>> {
    if !matches!(&node.value, Value::Scalar(scalar) if scalar.source == Source::Variable) {
        reader.findings.mask(&node.extent);
        reader.findings.mask_comment(node.at.end);
    }
    let scalar = reader.scalar(node, WANTED)?;
    match scalar.source {
        Source::Variable => not_empty(&node.at, scalar.text.clone(), reader),
        Source::File | Source::Mixed | Source::Unresolved => {
            let finding =
                reader.findings.report(&node.at, "a secret must not stand in the configuration file");
            finding.help(format!("write {WANTED}"));
            None
        }
    }
}

fn resolve(
    (node, entries): (&Node, &[Entry]),
    file: Option<At<PathBuf>>,
    env: Option<At<String>>,
    reader: &mut Reader<'_>,
) -> Option<Secret<String>> {
    match (file, env) {
        (Some(file), None) => {
            reader.sources.add(&file.value);
            let text = match read_file(&file.value) {
                Ok(text) => text,
                Err(why) => {
                    reader.findings.report(&file.at, format!("the file cannot be used: {why}"));
                    return None;
                }
            };
            not_empty(&file.at, text.trim_end_matches(['\r', '\n']).to_owned(), reader)
        }
        (None, Some(name)) => match reader.environment.variable(&name.value) {
            Some(text) => not_empty(&name.at, text, reader),
            None => {
                reader.findings.report(&name.at, "the environment variable is not set");
                None
            }
        },
        (Some(file), Some(env)) => {
            reader.findings.report(&file.at, "`file` and `env` exclude each other").also(&env.at, "and here");
            None
        }
        (None, None) => {
            // A place that was written and could not be read has been reported.
            if entries.iter().all(|entry| entry.key == "id") {
                reader
                    .findings
                    .report(&node.at, "this secret has no place")
                    .help("add `file: …` or `env: …`");
            }
            None
        }
    }
}

fn not_empty(at: &Range<usize>, text: String, reader: &mut Reader<'_>) -> Option<Secret<String>> {
    if text.trim().is_empty() {
        reader.findings.report(at, "the secret is empty");
        return None;
    }
    Some(Secret::new(text))
}

/// A secret is small; a device or a log file given by mistake is not read to its end.
fn read_file(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| why(&error))?;
    let read = file.take(MAX_SECRET + 1).read_to_string(&mut text);
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= MAX_SECRET) => Ok(text),
        Ok(_) => Err(format!("it is larger than {MAX_SECRET} bytes")),
        Err(error) => Err(why(&error)),
    }
}

/// Why a file cannot be read, in plain words.
pub(super) fn why(error: &std::io::Error) -> String {
    let kind = error.kind();
    if kind == std::io::ErrorKind::NotFound {
        "no such file".to_owned()
    } else if kind == std::io::ErrorKind::InvalidData {
        "it is not text".to_owned()
    } else {
        kind.to_string()
    }
}

const WANTED: &str = "`{ file: … }`, `{ env: … }` or `${NAME}`";
const MAX_SECRET: u64 = 64 * 1024;

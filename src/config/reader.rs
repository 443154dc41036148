//! Typed reading of the tree: every problem is reported, none stops it.
//!
//! `section!` and `words!` declare the keys of the file once: the JSON Schema, the list of known keys, the defaults
//! and the reading come from the same lines. Judges form only (unknown keys, wrong types); whether values make
//! sense together is for `check`.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value as Json;

use super::environment::{Environment, Source};
use super::nearest::nearest;
use super::problems::Findings;
use super::sources::Sources;
use super::tree::{Entry, Node, Origin, Scalar, Style, Value};

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub(crate) value: T,
    /// Its place in the file.
    pub(crate) at: Range<usize>,
    /// Whether it stands in the file or is a default.
    pub(crate) origin: Origin,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A mapping whose keys have been looked at.
pub(crate) struct Section<'n> {
    at: &'n Range<usize>,
    entries: &'n [Entry],
    known: &'n [&'n str],
}

impl Section<'_> {
    fn find(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A value that can be read from a node. `None` where it cannot: the reason has been reported.
pub(crate) trait Read: Sized {
    /// Whether what stands in its place may be a secret, even where it is not of its form.
    const SECRET: bool = false;

    /// Reads it.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// What reading needs besides the tree.
pub(crate) struct Reader<'a> {
    /// The folder that relative paths start from.
    pub(crate) base_dir: &'a Path,
    /// The variables that secrets may be in.
    pub(crate) environment: &'a dyn Environment,
    /// What was found so far.
    pub(crate) findings: &'a mut Findings,
    /// The files that were read so far.
    pub(crate) sources: &'a mut Sources,
}

impl Reader<'_> {
    /// Reads a value with its place.
    pub(crate) fn at<T: Read>(&mut self, node: &Node) -> Option<At<T>> {
        let value = T::read(node, self)?;
        Some(At { value, at: node.at.clone(), origin: node.origin })
    }

    /// The keys of a mapping, all of them known.
    pub(crate) fn section<'n>(&mut self, node: &'n Node, known: &'n [&'n str]) -> Option<Section<'n>> {
        let entries = self.mapping(node)?;
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            // Nobody knows what the value is: it may be a secret under a mistyped key.
            self.findings.mask(&entry.value.extent);
            self.findings.mask_comment(entry.at.end);
            if !is_identifier(&entry.key) {
                self.findings.mask(&entry.at); // a value that slipped into the key's place
            }
            let help = match nearest(&entry.key, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.findings.report(&entry.at, "unknown key").help(help);
        }
        Some(Section { at: &node.at, entries, known })
    }

    /// The keys of a mapping.
    pub(crate) fn mapping<'n>(&mut self, node: &'n Node) -> Option<&'n [Entry]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            Value::List(_) | Value::Scalar(_) => {
                self.findings.mask(&node.extent);
                self.wrong_type(node, SECTION)
            }
        }
    }

    /// The items of a list.
    pub(crate) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            Value::Mapping(_) | Value::Scalar(_) => self.wrong_type(node, "a list"),
        }
    }

    /// A scalar of any kind. What names a variable that is not set has been reported already.
    pub(crate) fn scalar<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n Scalar> {
        match &node.value {
            Value::Scalar(scalar) if scalar.source == Source::Unresolved => None,
            Value::Scalar(scalar) => Some(scalar),
            Value::Mapping(_) | Value::List(_) => {
                self.findings.mask(&node.extent);
                self.wrong_type(node, wanted)
            }
        }
    }

    /// A scalar that is text.
    pub(crate) fn text<'n>(&mut self, node: &'n Node, wanted: &str) -> Option<&'n str> {
        let scalar = self.scalar(node, wanted)?;
        if kind(scalar) == "text" { Some(&scalar.text) } else { self.wrong_type(node, wanted) }
    }

    /// Reports that a node is not what is wanted.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, wanted: &str) -> Option<T> {
        let found = match &node.value {
            Value::Scalar(scalar) => kind(scalar),
            Value::List(_) => "a list",
            Value::Mapping(_) => SECTION,
        };
        let finding = self.findings.report(&node.at, format!("expected {wanted}, found {found}"));
        match &node.value {
            Value::Scalar(_) if wanted == "text" && found != "nothing" => finding.help("put it in quotes"),
            Value::Scalar(scalar)
                if found == "a number" && wanted.contains(&format!("`{}`", scalar.text)) =>
            {
                finding.help("put it in quotes")
            }
            Value::Scalar(_) if wanted == "a list" => finding.help("write it as `[…]`"),
            Value::Scalar(scalar) if scalar.style == Style::Quoted && wanted != SECTION => {
                finding.help("drop the quotes")
            }
            Value::Scalar(_) | Value::List(_) | Value::Mapping(_) => finding,
        };
        None
    }

    /// A key that must be there.
    pub(crate) fn required<T: Read>(&mut self, section: &Section<'_>, key: &str) -> Option<At<T>> {
        if let Some(entry) = section.find(key) {
            return self.at(&entry.value);
        }
        // A mistyped key was reported as unknown with this one as its help: once is enough.
        let mistyped = |entry: &Entry| {
            !section.known.contains(&entry.key.as_str())
                && nearest(&entry.key, section.known.iter().copied()) == Some(key)
        };
        if !section.entries.iter().any(mistyped) {
            self.findings.report(section.at, format!("`{key}` is missing")).help(format!("add `{key}: …`"));
        }
        None
    }

    /// A key that may be there.
    pub(crate) fn optional<T: Read>(&mut self, section: &Section<'_>, key: &str) -> Option<At<T>> {
        section.find(key).and_then(|entry| self.at(&entry.value))
    }

    /// A key with a default.
    pub(crate) fn defaulted<T: Read>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        default: Json,
    ) -> Option<At<T>> {
        match section.find(key) {
            Some(entry) => self.at(&entry.value),
            None => self.at(&Node::default_value(default, section.at)),
        }
    }
}

/// Whether a key looks like one.
fn is_identifier(key: &str) -> bool {
    key.len() <= 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// What a scalar is in YAML's core schema.
fn kind(scalar: &Scalar) -> &'static str {
    if scalar.style == Style::Quoted || scalar.source != Source::File {
        return "text";
    }
    match scalar.text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => "nothing",
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => "a truth value",
        text if text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
            && text.parse::<f64>().is_ok() =>
        {
            "a number"
        }
        _ => "text",
    }
}

/// A section whose every key has its default.
pub(crate) fn defaults<T: Read>() -> Option<T> {
    let mut findings = Findings::default();
    let node = Node::default_value(serde_json::json!({}), &(0..0));
    let environment = std::collections::BTreeMap::new();
    T::read(
        &node,
        &mut Reader {
            base_dir: Path::new(""),
            environment: &environment,
            findings: &mut findings,
            sources: &mut Sources::default(),
        },
    )
}

/// A text that is no YAML may hold secrets anywhere: on the line of the problem only known keys stay readable.
pub(crate) fn mask_unparsed(text: &str, offset: usize, findings: &mut Findings) {
    let known = super::schema::known_words();
    let before = text.get(..offset).unwrap_or_default();
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=' | '.');
    let mut word_start = None;
    for (index, character) in line.char_indices().chain([(line.len(), ' ')]) {
        match (is_word(character), word_start) {
            (true, None) => word_start = Some(index),
            (false, Some(from)) => {
                if !known.contains(line.get(from..index).unwrap_or_default()) {
                    findings.mask_part(start + from..start + index);
                }
                word_start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        if !is_word(character) && !character.is_whitespace() && !"{}[]:,\"'#|>&*!-".contains(character) {
            findings.mask_part(start + index..start + index + character.len_utf8());
        }
    }
}

const SECTION: &str = "keys with values";

/// Declares a mapping of the file: its keys, which of them must be there, their defaults as they would be written.
macro_rules! section {
    (
        $(#[$meta:meta])*
        $name:ident
        $(required { $($(#[$required_meta:meta])* $required:ident: $required_type:ty,)* })?
        $(optional { $($(#[$optional_meta:meta])* $optional:ident: $optional_type:ty,)* })?
        $(defaults { $($(#[$default_meta:meta])* $default:ident: $default_type:ty = $json:tt,)* })?
    ) => {
        $(#[$meta])*
        #[derive(schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(
                $(#[$required_meta])*
                #[schemars(required)]
                pub(crate) $required: Option<$crate::config::reader::At<$required_type>>,
            )*)?
            $($(
                $(#[$optional_meta])*
                pub(crate) $optional: Option<$crate::config::reader::At<$optional_type>>,
            )*)?
            $($(
                $(#[$default_meta])*
                #[schemars(extend("default" = $json))]
                pub(crate) $default: Option<$crate::config::reader::At<$default_type>>,
            )*)?
        }

        impl $crate::config::reader::Read for $name {
            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let section = reader.section(node, &[
                    $($(stringify!($required),)*)? $($(stringify!($optional),)*)? $($(stringify!($default),)*)?
                ])?;
                Some(Self {
                    $($($required: reader.required(&section, stringify!($required)),)*)?
                    $($($optional: reader.optional(&section, stringify!($optional)),)*)?
                    $($($default: reader.defaulted(
                        &section, stringify!($default), serde_json::json!($json),
                    ),)*)?
                })
            }
        }
    };
}

/// Declares a choice between words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$word_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
        pub(crate) enum $name {
            $($(#[$word_meta])* #[schemars(rename = $word)] $variant,)+
        }

        impl $crate::config::reader::Read for $name {
            fn read(
                node: &$crate::config::tree::Node,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let wanted = [$(concat!("`", $word, "`")),+].join(" or ");
                match reader.text(node, &wanted)? {
                    $($word => Some(Self::$variant),)+
                    other => {
                        let near = $crate::config::nearest::nearest(other, [$($word),+]);
                        let finding = reader.findings.report(&node.at, format!("expected {wanted}"));
                        if let Some(near) = near {
                            finding.help(format!("did you mean `{near}`?"));
                        }
                        None
                    }
                }
            }
        }
    };
}

pub(crate) use {section, words};

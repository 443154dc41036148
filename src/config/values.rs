//! Kinds of values: text, numbers, durations, sizes, paths, lists, maps.
//!
//! Secrets have a file of their own (`secrets`).

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::reader::{At, Read, Reader};
use super::tree::{Node, Style, Value};

impl Read for String {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.text(node, "text").map(str::to_owned)
    }
}

/// A path; a relative one starts from the folder of the configuration file.
impl Read for PathBuf {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, "a path")?;
        if text.is_empty() {
            reader.findings.report(&node.at, "the path is empty");
            return None;
        }
        Some(reader.base_dir.join(text))
    }
}

impl Read for bool {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.scalar(node, WANTED_FLAG)?;
        match (scalar.style, scalar.text.as_str()) {
            (Style::Plain, "true" | "True" | "TRUE") => Some(true),
            (Style::Plain, "false" | "False" | "FALSE") => Some(false),
            (Style::Plain | Style::Quoted, _) => reader.wrong_type(node, WANTED_FLAG),
        }
    }
}

impl Read for u32 {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = reader.scalar(node, WANTED_COUNT)?;
        let digits = !scalar.text.is_empty() && scalar.text.bytes().all(|byte| byte.is_ascii_digit());
        if scalar.style == Style::Quoted || !digits {
            return reader.wrong_type(node, WANTED_COUNT);
        }
        let number = scalar.text.parse().ok();
        if number.is_none() {
            reader.findings.report(&node.at, "the number is too large");
        }
        number
    }
}

impl<T: Read> Read for Vec<At<T>> {
    const SECRET: bool = T::SECRET;

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if T::SECRET && !matches!(node.value, Value::List(_)) {
            reader.findings.mask(&node.extent);
        }
        let items = reader.list(node)?;
        let read: Self = items.iter().filter_map(|item| reader.at(item)).collect();
        // A list of which nothing is left is not the empty list.
        (!read.is_empty() || items.is_empty()).then_some(read)
    }
}

/// A duration as `30s`, `5m`, `12h`, `1h 30m`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period(pub(crate) Duration);

impl Read for Period {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.text(node, WANTED_PERIOD)?;
        // A day is 24 hours here; jiff leaves days to calendars.
        if let Some(days) = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok()) {
            return Some(Self(Duration::from_secs(u64::from(days) * 24 * 3600)));
        }
        // jiff also knows clock times and ISO 8601; one way to write it is enough.
        let friendly = !text.contains(':') && text.starts_with(|c: char| c.is_ascii_digit());
        let parsed = jiff::fmt::friendly::SpanParser::new().parse_unsigned_duration(text).ok();
        let period = parsed.filter(|_| friendly);
        if period.is_none() {
            let finding = reader.findings.report(&node.at, format!("expected {WANTED_PERIOD}"));
            finding.help("a number and a unit: `ms`, `s`, `m`, `h` or `d`");
        }
        period.map(Self)
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["30s", "5m", "12h"] })
    }
}

/// A size in bytes, as an integer or as `64KiB`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size(pub(crate) usize);

impl Read for Size {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = reader.scalar(node, WANTED_SIZE)?.text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let factor: Option<usize> = match unit.trim() {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let size =
            digits.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        if size.is_none() {
            return reader.wrong_type(node, WANTED_SIZE);
        }
        size.map(Self)
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB|GiB)?$" },
        ] })
    }
}

/// Names of the user's choice with values, in the order of the file.
#[derive(Debug, Clone)]
pub(crate) struct Map<T>(pub(crate) Vec<(At<String>, At<T>)>);

impl<T: Read> Read for Map<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut pairs = Vec::new();
        for entry in reader.mapping(node)? {
            let key = At { value: entry.key.clone(), at: entry.at.clone(), origin: node.origin };
            if let Some(value) = reader.at(&entry.value) {
                pairs.push((key, value));
            }
        }
        Some(Self(pairs))
    }
}

impl<T: JsonSchema> JsonSchema for Map<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

const WANTED_FLAG: &str = "`true` or `false`";
const WANTED_COUNT: &str = "a whole number of 0 or more";
const WANTED_PERIOD: &str = "a duration such as `30s`, `5m` or `12h`";
const WANTED_SIZE: &str = "a size such as `65536` or `64KiB`";

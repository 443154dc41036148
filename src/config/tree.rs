//! YAML as a tree whose every node knows its place.
//!
//! Finds what no typed reader can: duplicate keys, keys that are no text, aliases that grow without bound.
//! Knows nothing of what the keys mean. Depth and size are bounded; an alias counts as much as what it stands for.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value as Json;
use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span as YamlSpan};

use super::environment::{Environment, Refusal, Source, substitute};
use super::problems::Findings;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// What a caret points at: the value, or the key of a value of several lines.
    pub(crate) at: Range<usize>,
    /// All of the value.
    pub(crate) extent: Range<usize>,
    /// The value.
    pub(crate) value: Value,
    /// Whether it stands in the file or is a default.
    pub(crate) origin: Origin,
}

/// Whether a value stands in the file or is a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It stands in the file.
    Written,
    /// It is the default of a key that is not there.
    Default,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A text, number, truth value or nothing: what it is, its reader decides.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, none twice.
    Mapping(Vec<Entry>),
}

/// A scalar after substitution.
#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    /// The text.
    pub(crate) text: String,
    /// Whether it stands without quotes.
    pub(crate) style: Style,
    /// Where the text comes from.
    pub(crate) source: Source,
}

/// Whether a scalar may be something else than text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes: a number, a truth value or nothing where it looks like one.
    Plain,
    /// In quotes, or a block: always text.
    Quoted,
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// The key's place.
    pub(crate) at: Range<usize>,
    /// The value.
    pub(crate) value: Node,
}

impl Node {
    /// A default, which points at what lacks the key.
    pub(crate) fn default_value(json: Json, at: &Range<usize>) -> Self {
        let scalar = |text: String, style| Value::Scalar(Scalar { text, style, source: Source::File });
        let value = match json {
            Json::Null => scalar(String::new(), Style::Plain),
            Json::Bool(flag) => scalar(flag.to_string(), Style::Plain),
            Json::Number(number) => scalar(number.to_string(), Style::Plain),
            Json::String(text) => scalar(text, Style::Quoted),
            Json::Array(items) => {
                Value::List(items.into_iter().map(|item| Self::default_value(item, at)).collect())
            }
            Json::Object(entries) => {
                let entry =
                    |(key, value)| Entry { key, at: at.clone(), value: Self::default_value(value, at) };
                Value::Mapping(entries.into_iter().map(entry).collect())
            }
        };
        Self { at: at.clone(), extent: at.clone(), value, origin: Origin::Default }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| 1 + entry.value.count()).sum(),
        }
    }
}

/// Builds the tree of `text`. `None` where the text is no YAML or no single document.
pub(crate) fn parse(text: &str, environment: &dyn Environment, findings: &mut Findings) -> Option<Node> {
    let mut options = Options::default();
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options.emit_comments = false;
    options.emit_anchor_events = true;
    let mut builder = Builder {
        text,
        environment,
        findings,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        documents: 0,
        nodes: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                let start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
                let start = if text.get(start..).is_some_and(|rest| !rest.trim().is_empty()) {
                    start
                } else {
                    text.trim_end().len() // an end that came too early is shown where the text ends
                };
                builder.findings.report(&(start..start + 1), format!("not valid YAML: {}", error.info()));
                super::reader::mask_unparsed(text, start, builder.findings);
                return None;
            }
        }
    }
    if builder.root.is_none() {
        builder.findings.report(&(0..0), "the file is empty").help(LEAST_FILE);
    }
    builder.root
}

struct Builder<'a> {
    text: &'a str,
    environment: &'a dyn Environment,
    findings: &'a mut Findings,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

/// A collection whose end has not come yet.
struct Open {
    start: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { entries: Vec<Entry>, key: Option<(String, Range<usize>)> },
}

impl Builder<'_> {
    /// Takes one event. `None` stops the reading.
    #[expect(clippy::wildcard_enum_match_arm, reason = "comments and the like carry no value")]
    fn event(&mut self, event: Event<'_>, span: YamlSpan) -> Option<()> {
        let extent = self.extent(span);
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.findings.report(&extent, "a second document").help("keep one document per file");
                    return None;
                }
                Some(())
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.untagged(tag.is_some(), span, &extent);
                self.open(extent.start, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.untagged(tag.is_some(), span, &extent);
                self.open(extent.start, anchor, Content::Mapping { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.stack.pop()?;
                let extent = open.start..extent.end.max(open.start);
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Mapping { entries, .. } => Value::Mapping(entries),
                };
                let at = if self.stack.is_empty() { 0..0 } else { extent.clone() };
                self.complete(Node { at, extent, value, origin: Origin::Written }, open.anchor)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.untagged(tag.is_some(), span, &extent);
                let style = if style == ScalarStyle::Plain { Style::Plain } else { Style::Quoted };
                let scalar = Scalar { text: text.into_owned(), style, source: Source::File };
                let node = Node {
                    at: extent.clone(),
                    extent,
                    value: Value::Scalar(scalar),
                    origin: Origin::Written,
                };
                self.complete(node, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    self.findings.report(&extent, "an alias to what contains it");
                    return None;
                };
                let count = node.count();
                self.place(node, 0, count)
            }
            Event::Anchor(..) => {
                self.findings.mask(&extent);
                Some(())
            }
            _ => Some(()),
        }
    }

    fn open(&mut self, start: usize, anchor: usize, content: Content) -> Option<()> {
        self.stack.push(Open { start, anchor, content });
        Some(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        self.place(node, anchor, 1)
    }

    /// Puts a node that counts for `count` where it belongs.
    fn place(&mut self, mut node: Node, anchor: usize, count: usize) -> Option<()> {
        self.nodes += count;
        if self.nodes > MAX_NODES {
            self.findings
                .report(&node.at, format!("more than {MAX_NODES} values"))
                .help("aliases count in full");
            return None;
        }
        let is_key =
            matches!(self.stack.last(), Some(Open { content: Content::Mapping { key: None, .. }, .. }));
        if !is_key {
            self.substitute(&mut node);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Mapping { entries, key }) => match key.take() {
                Some((name, at)) => {
                    insert(entries, Entry { key: name, at, value: node }, self.text, self.findings)
                }
                None => {
                    let text = match node.value {
                        Value::Scalar(scalar) => scalar.text,
                        Value::List(_) | Value::Mapping(_) => {
                            self.findings.mask(&node.extent);
                            self.findings.report(&node.at, "a key must be text");
                            return None;
                        }
                    };
                    *key = Some((text, node.at));
                }
            },
        }
        Some(())
    }

    fn substitute(&mut self, node: &mut Node) {
        let Value::Scalar(scalar) = &mut node.value else { return };
        if scalar.source != Source::File {
            return; // an alias of what was substituted already
        }
        match substitute(&scalar.text, self.environment) {
            Ok((text, source)) => {
                scalar.text = text;
                scalar.source = source;
            }
            Err(refusal) => {
                self.findings.mask(&node.extent);
                match refusal {
                    Refusal::Unset(name) => {
                        self.findings
                            .report(&node.at, format!("the environment variable `{name}` is not set"))
                            .help(format!("set it, or give a fallback: `${{{name}:-fallback}}`"));
                    }
                    Refusal::Malformed => {
                        self.findings
                            .report(&node.at, "`${` begins a variable that is not complete")
                            .help("write `${NAME}` or `${NAME:-fallback}`; `$${` stands for a literal `${`");
                    }
                }
                scalar.source = Source::Unresolved;
            }
        }
    }

    /// A secret that begins with `!` looks like a tag, one that begins with `&` like an anchor: never shown.
    fn untagged(&mut self, tagged: bool, span: YamlSpan, value: &Range<usize>) {
        if tagged {
            let at = span.tag_span().and_then(|tag| tag.byte_range()).unwrap_or(value.clone());
            self.findings.mask(&at);
            self.findings.report(&at, "tags are not supported").help("drop it, or put the value in quotes");
        }
    }

    /// The bytes that a span covers, without white space at its end.
    fn extent(&self, span: YamlSpan) -> Range<usize> {
        let range = span.byte_range().unwrap_or_default();
        let covered = self.text.get(range.clone()).unwrap_or_default();
        range.start..range.start + covered.trim_end().len()
    }
}

/// Adds an entry unless its key is there already. A value of several lines is pointed at by its key.
fn insert(entries: &mut Vec<Entry>, mut entry: Entry, text: &str, findings: &mut Findings) {
    if let Some(first) = entries.iter().find(|earlier| earlier.key == entry.key) {
        findings.mask(&entry.value.extent);
        findings
            .report(&entry.at, "the same key twice")
            .also(&first.at, "first here")
            .help("keep one of the two");
        return;
    }
    let lines = text.get(entry.value.extent.clone()).is_none_or(|covered| covered.contains('\n'));
    if entry.value.extent.is_empty() || (lines && !matches!(entry.value.value, Value::Scalar(_))) {
        entry.value.at = entry.at.clone();
    }
    entries.push(entry);
}

/// Far more than any configuration nests.
const MAX_DEPTH: usize = 32;
/// Far more than any configuration holds; an alias bomb passes it at once.
const MAX_NODES: usize = 50_000;
/// What a file needs at least.
const LEAST_FILE: &str = "a file needs at least `public_url`, `provider`, `session` and `routes`";

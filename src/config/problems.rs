//! Problems: all that is wrong with a file, each with its place and a way out.
//!
//! While a file is read, [`Findings`] collects places as byte ranges and the ranges that hold secrets. Only the
//! lines that a problem points at are kept, with every secret masked, so that neither `Display` nor `Debug` of
//! [`Problems`] can print one. Messages never quote what was written: the caret shows it.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Everything that is wrong with a configuration file, or what is worth a warning.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    name: String,
    list: Vec<Problem>,
}

impl Problems {
    /// A single problem of the file as a whole.
    pub(super) fn of_file(name: &str, message: String) -> Self {
        let problem = Problem { severity: Severity::Error, message, help: None, places: Vec::new() };
        Self { name: name.to_owned(), list: vec![problem] }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The problems in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The look of rustc's messages, in colours for a terminal.
    pub fn to_terminal(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let mut out = String::new();
        for problem in &self.list {
            out.push_str(&renderer.render(&[problem.report(&self.name)]));
            out.push_str("\n\n");
        }
        let errors = self.list.iter().filter(|problem| problem.severity == Severity::Error).count();
        if errors > 0 {
            let noun = if errors == 1 { "problem" } else { "problems" };
            let summary = format!("{}: {errors} {noun}", self.name);
            out.push_str(&renderer.render(&[Group::with_title(Level::ERROR.primary_title(summary))]));
            out.push('\n');
        }
        out
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Problems {}

/// One thing that is wrong, or worth a warning.
#[derive(Debug, Clone)]
pub struct Problem {
    severity: Severity,
    message: String,
    help: Option<String>,
    places: Vec<Place>,
}

impl Problem {
    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to change.
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// Line and column, both from 1; `None` where the file as a whole is meant.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.places.first().map(|place| (place.line, place.column))
    }

    fn report<'a>(&'a self, name: &'a str) -> Group<'a> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.message.as_str()));
        for (index, place) in self.places.iter().enumerate() {
            if self.places.iter().take(index).any(|earlier| earlier.line == place.line) {
                continue; // drawn with the first place on its line
            }
            let mut snippet = Snippet::source(place.excerpt.as_str()).line_start(place.line).path(name);
            for (order, here) in self.places.iter().enumerate().filter(|(_, here)| here.line == place.line) {
                let kind = if order == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let label = (!here.label.is_empty()).then_some(here.label.as_str());
                snippet = snippet.annotation(kind.span(here.marked.clone()).label(label));
            }
            group = group.element(snippet);
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

/// Whether a finding stops the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

/// A part of one line of the file, as it may be shown.
#[derive(Debug, Clone)]
struct Place {
    line: usize,
    column: usize,
    excerpt: String,
    marked: Range<usize>,
    label: String,
}

/// What a reading of a file has found so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    masked: Vec<Range<usize>>,
    comments: Vec<usize>,
    /// What came after [`MAX_FINDINGS`]: only counted, and completed by its reporter for nothing.
    beyond: Option<(usize, Finding)>,
}

impl Findings {
    /// Something is wrong at `at`.
    pub(crate) fn report(&mut self, at: &Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Error, at, message.into())
    }

    /// Something at `at` is legal and probably not meant.
    pub(crate) fn warn(&mut self, at: &Range<usize>, message: impl Into<String>) -> &mut Finding {
        self.add(Severity::Warning, at, message.into())
    }

    /// What stands at `at` is understood and belongs to a later release.
    pub(crate) fn not_yet(&mut self, at: &Range<usize>, what: &str) -> &mut Finding {
        self.report(at, format!("{what}: not yet supported"))
    }

    /// Whatever stands at `at` may be a secret and is never shown.
    pub(crate) fn mask(&mut self, at: &Range<usize>) {
        self.mask_part(at.clone());
        self.mask_comment(at.end);
    }

    /// The same without a look at what follows.
    pub(crate) fn mask_part(&mut self, at: Range<usize>) {
        self.masked.push(at);
    }

    /// A comment behind `offset` may be the rest of a secret with a `#` in it.
    pub(crate) fn mask_comment(&mut self, offset: usize) {
        self.comments.push(offset);
    }

    /// Whether something is wrong.
    pub(crate) fn has_errors(&self) -> bool {
        self.beyond.is_some() || self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Whether a mistyped key was taken for `key`: then it is not missing as well.
    pub(crate) fn suggested(&self, key: &str) -> bool {
        let help = format!("did you mean `{key}`?");
        self.list.iter().any(|finding| finding.help.as_ref() == Some(&help))
    }

    /// The problems of the file `name`, whose text is `source`, in the order of the file.
    pub(crate) fn finish(mut self, name: &str, source: &str) -> Problems {
        if self.has_errors() {
            // What is wrong comes first; a warning may be a consequence of it.
            self.list.retain(|finding| finding.severity == Severity::Error);
        }
        self.list.sort_by_key(|finding| finding.places.first().map_or(0, |(at, _)| at.start));
        self.masked.extend(credentials_in_urls(source));
        self.masked.extend(self.comments.iter().filter_map(|offset| comment_after(source, *offset)));
        let masked = merge(self.masked);
        let problem = |finding: Finding| Problem {
            severity: finding.severity,
            message: finding.message,
            help: finding.help,
            places: finding
                .places
                .into_iter()
                .map(|(at, label)| place(source, &masked, &at, label))
                .collect(),
        };
        let mut list: Vec<Problem> = self.list.into_iter().map(problem).collect();
        if let Some((count, _)) = self.beyond {
            let message = format!("{count} more, which are not shown");
            list.push(Problem { severity: Severity::Error, message, help: None, places: Vec::new() });
        }
        Problems { name: name.to_owned(), list }
    }

    fn add(&mut self, severity: Severity, at: &Range<usize>, message: String) -> &mut Finding {
        let finding = Finding { severity, message, help: None, places: vec![(at.clone(), String::new())] };
        let index = self.list.len();
        if index >= MAX_FINDINGS {
            let (count, last) = self.beyond.get_or_insert((0, finding));
            *count += 1;
            return last;
        }
        self.list.push(finding);
        #[expect(clippy::indexing_slicing, reason = "pushed in the line before")]
        &mut self.list[index]
    }
}

/// One finding, to be completed by what reported it.
#[derive(Debug)]
pub(crate) struct Finding {
    severity: Severity,
    message: String,
    help: Option<String>,
    places: Vec<(Range<usize>, String)>,
}

impl Finding {
    /// Says what to change.
    pub(crate) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Points at a second place.
    pub(crate) fn also(&mut self, at: &Range<usize>, label: &str) -> &mut Self {
        self.places.push((at.clone(), label.to_owned()));
        self
    }
}

/// The line that `at` begins on, masked, and the part of it that `at` covers.
fn place(source: &str, masked: &[Range<usize>], at: &Range<usize>, label: String) -> Place {
    let start = floor(source, at.start);
    let before = source.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = source.get(line_start..start).unwrap_or_default().chars().count() + 1;
    // Of a line longer than any screen only the part around the place is shown.
    let line_start = line_start.max(floor(source, start.saturating_sub(WINDOW)));
    let text = source.get(line_start..floor(source, start + WINDOW)).unwrap_or_default();
    let text = text.split(['\n', '\r']).next().unwrap_or_default();
    let mut excerpt = String::with_capacity(text.len() + 1);
    let mut marked = text.len()..text.len();
    for (offset, character) in text.char_indices() {
        let offset = line_start + offset;
        let hidden = !character.is_whitespace() && covers(masked, offset);
        if offset == start {
            marked.start = excerpt.len();
        }
        excerpt.push(if hidden { '*' } else { character });
        if offset < at.end {
            marked.end = excerpt.len();
        }
    }
    marked.start = marked.start.min(excerpt.len());
    marked.end = marked.end.clamp(marked.start, excerpt.len());
    Place { line: before.matches('\n').count() + 1, column, excerpt, marked, label }
}

/// The comment that follows `offset` on its line, where nothing else does, or that stands before it: an empty value
/// is found behind its comment.
fn comment_after(source: &str, offset: usize) -> Option<Range<usize>> {
    let from = floor(source, offset.saturating_sub(WINDOW));
    let before = source.get(from..offset)?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let rest = source.get(offset..floor(source, offset + WINDOW))?.split(['\n', '\r']).next()?;
    let end = offset + rest.len();
    if let Some(hash) = before.get(line_start..)?.find(" #") {
        return Some(from + line_start + hash..end);
    }
    let between = rest.find(|c: char| !c.is_whitespace() && !",:]}".contains(c))?;
    rest.get(between..)?.starts_with('#').then_some(offset + between..end)
}

/// The same ranges in order, without overlaps.
fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            Some(_) | None => merged.push(range),
        }
    }
    merged
}

/// Whether one of the merged ranges holds `offset`.
fn covers(merged: &[Range<usize>], offset: usize) -> bool {
    let after = merged.partition_point(|range| range.start <= offset);
    after.checked_sub(1).and_then(|index| merged.get(index)).is_some_and(|range| range.contains(&offset))
}

/// The last character boundary at or before `offset`.
fn floor(source: &str, offset: usize) -> usize {
    let mut offset = offset.min(source.len());
    while !source.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Where a URL carries `user:password@`: users paste them, and no key is the right place for them.
fn credentials_in_urls(source: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (scheme_end, separator) in source.match_indices("://") {
        let start = scheme_end + separator.len();
        let rest = source.get(start..).unwrap_or_default();
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ','))
            .unwrap_or(rest.len());
        if let Some(at_sign) = rest.get(..end).and_then(|authority| authority.rfind('@')) {
            found.push(start..start + at_sign);
        }
    }
    found
}

/// More than anybody reads in one go.
const MAX_FINDINGS: usize = 200;
/// Bytes of a line before and after a place: more than a screen is wide.
const WINDOW: usize = 2000;

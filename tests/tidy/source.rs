//! Source files as the rules see them: without comments, texts and tests.

use std::path::{Path, PathBuf};
use std::{fs, iter};

/// One Rust file.
pub(crate) struct Source {
    /// From the root of the repository, with `/` between its parts.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Line by line the same, with comments, texts and `#[cfg(test)]` items blanked out; empty for a test's file.
    pub(crate) code: String,
}

impl Source {
    /// A file at `path` with `text`.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: without_tests(&bare_code(text)) }
    }

    /// The numbered lines of the code.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }

    /// The top folder of `src` that the file belongs to: `edge` for `src/edge.rs` and `src/edge/admin.rs`.
    pub(crate) fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = inside.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below the folders `within`, tests' files blanked out.
pub(crate) fn sources(within: &[&str]) -> Vec<Source> {
    let files = within.iter().flat_map(|folder| files_below(&root().join(folder)));
    let mut found: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| Source::new(&relative(&path), &fs::read_to_string(&path).unwrap()))
        .collect();
    let tests: Vec<_> = found.iter().flat_map(|source| test_modules(&source.path, &source.text)).collect();
    for source in &mut found {
        let name = source.path.rsplit('/').next().unwrap_or_default();
        if name == "tests.rs" || tests.iter().any(|test| belongs(&source.path, test)) {
            source.code.clear();
        }
    }
    found
}

/// Every file of the repository that is text and kept: not what is built, fetched or hidden.
pub(crate) fn kept_files() -> Vec<PathBuf> {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
    files_below(root())
        .into_iter()
        .filter(|path| {
            let path = relative(path);
            let top = path.split('/').next().unwrap_or_default();
            !ignored.contains(&top) && !path.starts_with(".git/") && path != ".git"
        })
        .collect()
}

/// `path` from the root of the repository.
pub(crate) fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).unwrap();
    inside.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let built =
        folder == root().join("target") || folder.ends_with("node_modules") || folder.ends_with(".git");
    if built {
        return Vec::new();
    }
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The modules that a file declares for tests only: `src/oidc/script` for `#[cfg(test)] mod script;`.
pub(crate) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let folder = path.strip_suffix(".rs").unwrap_or(path).trim_end_matches("/lib").trim_end_matches("/main");
    let code = bare_code(text);
    let items =
        code.match_indices(CFG_TEST).map(|(at, _)| code.get(at + CFG_TEST.len()..).unwrap_or_default());
    items
        .filter_map(|item| {
            let (declaration, _) = item.split_once(';')?;
            let name = declaration.trim().rsplit_once("mod ")?.1.trim();
            name.bytes().all(is_word).then(|| format!("{folder}/{name}"))
        })
        .collect()
}

fn belongs(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Every `::`-joined path of names in a line of code, such as `crate::gate::settings`.
pub(crate) fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
        .filter(|path| path.contains("::"))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

const CFG_TEST: &str = "#[cfg(test)]";

/// The text with comments and the insides of texts turned into blanks, line for line.
pub(crate) fn bare_code(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let (length, fate) = token(rest, out.as_bytes().last().copied());
        let (taken, after) = rest.split_at(length.max(first.len_utf8()).min(rest.len()));
        match fate {
            Fate::Kept => out.push_str(taken),
            Fate::Blanked => out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
        }
        rest = after;
    }
    out
}

enum Fate {
    Kept,
    Blanked,
}

/// The length of what `rest` begins with, and what becomes of it.
fn token(rest: &str, before: Option<u8>) -> (usize, Fate) {
    let inside_word = before.is_some_and(is_word);
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), Fate::Blanked)
    } else if rest.starts_with("/*") {
        (rest.find("*/").map_or(rest.len(), |end| end + 2), Fate::Blanked)
    } else if let Some(length) = raw_text(rest).filter(|_| !inside_word) {
        (length, Fate::Blanked)
    } else if rest.starts_with('"') {
        (quoted(rest, '"').unwrap_or(rest.len()), Fate::Blanked)
    } else if rest.starts_with('\'') {
        // A lifetime has no second quote after one character.
        character(rest).map_or((1, Fate::Kept), |length| (length, Fate::Blanked))
    } else {
        (1, Fate::Kept)
    }
}

/// `r"…"`, `r#"…"#`, `br"…"` and so on.
fn raw_text(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix('b').unwrap_or(rest).strip_prefix('r')?;
    let hashes = start.bytes().take_while(|&byte| byte == b'#').count();
    let body = start.get(hashes..)?.strip_prefix('"')?;
    let close: String = iter::once('"').chain(iter::repeat_n('#', hashes)).collect();
    let end = body.find(&close).map_or(body.len(), |end| end + close.len());
    Some(rest.len() - body.len() + end)
}

fn quoted(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn character(rest: &str) -> Option<usize> {
    let mut inside = rest.chars().skip(1);
    match (inside.next()?, inside.next()?) {
        ('\\', _) => quoted(rest, '\''),
        (one, '\'') => Some(one.len_utf8() + 2),
        _ => None,
    }
}

/// The code with every item under `#[cfg(test)]` turned into blanks, line for line.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find(CFG_TEST) {
        let item = out.get(start..).unwrap_or_default();
        let end = start + item_length(item);
        let blank: String = out
            .get(start..end)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// From an attribute to the end of what it is on.
fn item_length(item: &str) -> usize {
    let mut rest = item;
    while rest.trim_start().starts_with("#[") {
        rest = rest.split_once(']').map_or("", |(_, after)| after);
    }
    let is_use = rest.trim_start().trim_start_matches("pub ").starts_with("use ");
    let mut depth = 0_i32;
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        let over = match c {
            ';' => depth == 0,
            '}' => depth < 0 || (depth == 0 && !is_use),
            _ => false,
        };
        if over {
            return item.len() - rest.len() + at + usize::from(depth >= 0);
        }
    }
    item.len()
}

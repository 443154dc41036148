//! Environment variables, and `${NAME}` in the texts of a file.
//!
//! The one place that reads the environment. What was substituted is data, never YAML again.

use std::collections::BTreeMap;

/// Tells environment variables.
pub trait Environment {
    /// The variable's value; `None` where it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The variables of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn variable(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Where a text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It stands in the file.
    File,
    /// Parts of it, or a fallback, stand in the file; others come from the environment.
    Mixed,
    /// It is one variable and nothing else.
    Variable,
    /// It names a variable that is not set: reported, and of no further use.
    Unresolved,
}

/// Why a text could not be substituted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A variable is not set and has no fallback.
    Unset(String),
    /// `${` without a name or without `}`.
    Malformed,
}

/// Replaces `${NAME}` and `${NAME:-fallback}`; `$${` stands for `${`. An empty variable counts as not set where a
/// fallback is given, as in a shell.
pub(crate) fn substitute(text: &str, environment: &dyn Environment) -> Result<(String, Source), Refusal> {
    let mut out = String::with_capacity(text.len());
    let mut source = Source::File;
    let mut rest = text;
    while let Some(dollar) = rest.find("${") {
        let (before, from) = rest.split_at(dollar);
        let after = from.strip_prefix("${").unwrap_or_default();
        if let Some(escaped) = before.strip_suffix('$') {
            out.push_str(escaped);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (inside, behind) = after.split_once('}').ok_or(Refusal::Malformed)?;
        let (name, fallback) = match inside.split_once(":-") {
            Some((name, fallback)) => (name, Some(fallback)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(Refusal::Malformed);
        }
        let value = environment.variable(name);
        out.push_str(before);
        match (value.filter(|value| fallback.is_none() || !value.is_empty()), fallback) {
            (Some(value), _) => out.push_str(&value),
            (None, Some(fallback)) => out.push_str(fallback),
            (None, None) => return Err(Refusal::Unset(name.to_owned())),
        }
        let alone = fallback.is_none() && inside.len() + "${}".len() == text.len();
        source = if alone { Source::Variable } else { Source::Mixed };
        rest = behind;
    }
    out.push_str(rest);
    Ok((out, source))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, Source), Refusal>) {
        let environment =
            BTreeMap::from([("A", "one"), ("EMPTY", "")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(substitute(text, &environment), expected.map(|(text, source)| (text.to_owned(), source)));
    }

    #[test]
    fn variables_fallbacks_and_escapes() {
        check("plain {sub} $5", Ok(("plain {sub} $5", Source::File)));
        check("${A}", Ok(("one", Source::Variable)));
        check("x${A}y${A}", Ok(("xoneyone", Source::Mixed)));
        check("${B:-two}", Ok(("two", Source::Mixed)));
        check("${EMPTY:-two}", Ok(("two", Source::Mixed)));
        check("${EMPTY}", Ok(("", Source::Variable)));
        check("$${A}", Ok(("${A}", Source::File)));
        check("${B}", Err(Refusal::Unset("B".to_owned())));
        check("${", Err(Refusal::Malformed));
        check("${}", Err(Refusal::Malformed));
        check("${a b}", Err(Refusal::Malformed));
        check("${1}", Err(Refusal::Malformed));
    }
}

//! What each file must be: titled, short, pure where it decides.

use crate::rooms::is_in;
use crate::source::{Source, paths};

/// Files that decide. They wait for nothing: no `async`, no runtime.
pub(crate) const PURE: &[&str] = &[
    "src/base/secret.rs",
    "src/base/time.rs",
    "src/jwt",
    "src/session/claims.rs",
    "src/session/codec.rs",
    "src/session/cookie",
    "src/session/model.rs",
    "src/session/refresh/decide.rs",
    "src/session/refresh/health.rs",
    "src/session/refresh/record",
    "src/session/refresh/stored",
    "src/session/denied.rs",
    "src/gate/denial.rs",
    "src/gate/forward.rs",
    "src/gate/policy",
    "src/gate/route",
    "src/gate/settings.rs",
    "src/gate/verdict.rs",
    "src/bff/return_to.rs",
    "src/config",
];

/// Files that may look inside a secret, and what for.
pub(crate) const EXPOSING: &[(&str, &str)] = &[
    ("src/base/secret.rs", "defines it"),
    ("src/bff/pending_login.rs", "the binding becomes a cookie value, the verifier is sealed"),
    ("src/config/check/key.rs", "a session key is decoded and judged"),
    ("src/config/check/provider.rs", "a client secret is checked for being empty or a placeholder"),
    ("src/config/check/session.rs", "two keys are compared"),
    ("src/oidc/access_token.rs", "claims of the provider's own answer"),
    ("src/oidc/authorize.rs", "the PKCE challenge is a hash of the verifier"),
    ("src/oidc/client_auth.rs", "the client secret is sent"),
    ("src/oidc/end_session.rs", "the ID token is sent as a hint"),
    ("src/oidc/id_token.rs", "the ID token is judged"),
    ("src/oidc/revoke.rs", "the token is sent"),
    ("src/oidc/token.rs", "code, verifier and refresh token are sent"),
    ("src/oidc/token/answer.rs", "tokens of the answer are judged"),
    ("src/session/codec.rs", "tokens become the payload that is sealed"),
    ("src/session/cookie/seal.rs", "keys of the ring become sub-keys"),
    ("src/session/refresh/flight.rs", "the access token becomes the bearer"),
    ("src/session/sessions/login.rs", "the access token becomes the bearer"),
    ("src/store/redis/connect.rs", "the password is handed to the client that logs in with it"),
];

/// The most lines of a file before its tests.
pub(crate) const LONGEST: usize = 500;

/// The longest title of a module.
const LONGEST_TITLE: usize = 80;

/// What is wrong with a file's first line, which is its title in every list of modules.
pub(crate) fn wrong_title(source: &Source) -> Option<String> {
    let first = source.text.lines().next().unwrap_or_default();
    let why = match first.strip_prefix("//! ") {
        None => "does not begin with `//! ` and a title".to_owned(),
        Some(title) if title.chars().count() > LONGEST_TITLE => {
            format!("has a title of {} characters; {LONGEST_TITLE} is the most", title.chars().count())
        }
        Some(title) if title.to_ascii_lowercase().starts_with("this module") => {
            "begins with `This module`".to_owned()
        }
        Some(_) => return None,
    };
    Some(format!("{}:1 {why}", source.path))
}

/// Whether a file is too long before its tests.
pub(crate) fn too_long(source: &Source) -> Option<String> {
    let lines = source.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
    let too_long = lines > LONGEST && !source.path.ends_with("tests.rs");
    too_long.then(|| format!("{} has {lines} lines before its tests; {LONGEST} are the most", source.path))
}

/// Whether a module lies in `mod.rs`, where every tab of an editor has the same name.
pub(crate) fn is_mod_rs(path: &str) -> Option<String> {
    path.ends_with("/mod.rs").then(|| format!("{path} should be called like its folder"))
}

/// Every wait or runtime in a file that decides.
pub(crate) fn impure(source: &Source) -> Vec<String> {
    if !is_in(&source.path, PURE) {
        return Vec::new();
    }
    let waits = |line: &str| {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        line.contains(".await")
            || words.into_iter().any(|word| word == "async")
            || paths(line).any(|path| path.starts_with("tokio::"))
    };
    let found = source.lines().filter(|(_, line)| waits(line));
    found.map(|(number, _)| format!("{}:{number} waits in a file that decides", source.path)).collect()
}

/// Every look inside a secret by a file that is not on the list.
pub(crate) fn exposing(source: &Source) -> Vec<String> {
    if EXPOSING.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let found = source.lines().filter(|(_, line)| line.contains(".expose()") || line.contains("::expose"));
    found.map(|(number, _)| format!("{}:{number} looks inside a secret", source.path)).collect()
}

/// Work put off, tests that do not run, and tests that are content with any panic. Looks at tests too.
pub(crate) fn put_off(source: &Source) -> Vec<String> {
    let marks = ["TO", "FIX", "XX"].map(|start| {
        format!(
            "{start}{}",
            if start == "TO" {
                "DO"
            } else if start == "FIX" {
                "ME"
            } else {
                "X"
            }
        )
    });
    let attributes = [concat!("#[ig", "nore"), concat!("#[should", "_panic")];
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(source.text.lines()) {
        let unissued = marks.iter().any(|mark| line.contains(mark)) && !line.contains("/issues/");
        if unissued {
            wrong.push(format!("{}:{number} puts work off without an issue", source.path));
        }
        if attributes.iter().any(|attribute| line.trim_start().starts_with(attribute)) {
            wrong.push(format!(
                "{}:{number} has a test that does not run, or is content with any panic",
                source.path
            ));
        }
    }
    wrong
}

/// The items of the standards list (`std:42`, `std:99–101`) that a text cites.
pub(crate) fn cited_items(text: &str) -> Vec<u32> {
    let mut items = Vec::new();
    for piece in text.split("std:").skip(1) {
        let number = |text: &str| -> Option<u32> {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            text.get(..digits)?.parse().ok()
        };
        let Some(first) = number(piece) else { continue };
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let last = rest.strip_prefix(['–', '-']).and_then(number).unwrap_or(first);
        items.extend(first..=last);
    }
    items
}

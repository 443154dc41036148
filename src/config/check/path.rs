//! Paths of routes and endpoints, in the one form that needs no decoding.

use crate::gate::settings::PathPattern;

/// Reads a route's path; the error says what is wrong with it.
pub(super) fn pattern(text: &str) -> Result<PathPattern, &'static str> {
    match text.strip_suffix("/*") {
        Some("") => Ok(PathPattern::Below(String::new())),
        Some(folder) if folder.ends_with('/') => Err(EMPTY_SEGMENT),
        Some(folder) => plain(folder).map(|()| PathPattern::Below(folder.to_owned())),
        None => plain(text).map(|()| PathPattern::Exact(text.to_owned())),
    }
}

/// Whether a path is in plain form: RFC 3986 §3.3 without what could be written in two ways.
pub(super) fn plain(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("a path begins with `/`");
    };
    if path.contains("//") {
        return Err(EMPTY_SEGMENT);
    }
    if rest.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("a dot segment");
    }
    if path.contains('%') {
        return Err("a percent-encoding: write the path decoded, in plain characters");
    }
    if path.contains('*') {
        return Err("`*` stands only at the end, as `/*`");
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&byte);
    if !path.bytes().all(is_plain) {
        return Err("a character that does not belong in a path");
    }
    Ok(())
}

/// Whether requests that `pattern` serves could be for our endpoints under `base_path` and nothing else.
pub(super) fn is_under(pattern: &PathPattern, base_path: &str) -> bool {
    let (PathPattern::Exact(path) | PathPattern::Below(path)) = pattern;
    path.strip_prefix(base_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

const EMPTY_SEGMENT: &str = "an empty segment (`//`)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, expected) in [
            ("/*", Ok(PathPattern::Below(String::new()))),
            ("/api/*", Ok(PathPattern::Below("/api".to_owned()))),
            ("/", Ok(PathPattern::Exact("/".to_owned()))),
            ("/health", Ok(PathPattern::Exact("/health".to_owned()))),
            ("/a/", Ok(PathPattern::Exact("/a/".to_owned()))),
            ("api", Err("a path begins with `/`")),
            ("", Err("a path begins with `/`")),
            ("*", Err("a path begins with `/`")),
            ("/a*", Err("`*` stands only at the end, as `/*`")),
            ("/*/b", Err("`*` stands only at the end, as `/*`")),
            ("/a/*/*", Err("`*` stands only at the end, as `/*`")),
            ("//*", Err(EMPTY_SEGMENT)),
            ("/a//*", Err(EMPTY_SEGMENT)),
            ("//a", Err("an empty segment (`//`)")),
            ("/a/../b", Err("a dot segment")),
            ("/./*", Err("a dot segment")),
            ("/%61", Err("a percent-encoding: write the path decoded, in plain characters")),
            ("/a?b", Err("a character that does not belong in a path")),
            ("/{id}", Err("a character that does not belong in a path")),
            ("/ä", Err("a character that does not belong in a path")),
        ] {
            assert_eq!(pattern(text), expected, "{text}");
        }
    }

    #[test]
    fn our_endpoints_are_ours() {
        for (path, expected) in
            [("/oauth2", true), ("/oauth2/*", true), ("/oauth2/x", true), ("/oauth2x", false), ("/*", false)]
        {
            assert_eq!(pattern(path).map(|pattern| is_under(&pattern, "/oauth2")), Ok(expected), "{path}");
        }
    }
}

//! Where a login ends: a path on our own origin, or the default.
//!
//! One parser for every return target (std:16, T9). What a browser could read as another origin is not followed; a
//! wrong yes is an open redirect, a wrong no sends a user to the start page.

use url::Url;

/// The longest target that is kept through a login.
const LONGEST: usize = 2048;

/// A path, with query perhaps, that leads nowhere but to our own origin. Only [`LocalTarget::parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTarget(String);

impl LocalTarget {
    /// Parses a target that a client named. `None` where it is not safely a path of `public_url`, or is one of our
    /// own endpoints, which would make logins run in circles.
    pub fn parse(raw: &str, public_url: &Url, base_path: &str) -> Option<Self> {
        if raw.len() > LONGEST || !raw.starts_with('/') || !is_plain(raw) {
            return None;
        }
        let path_end = raw.find(['?', '#']).unwrap_or(raw.len());
        let (path, _) = raw.split_at_checked(path_end)?;
        // Read once more, as something behind us or before us might.
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
        if !is_plain(&decoded) || decoded.contains("//") || decoded.split('/').any(|part| part == "..") {
            return None;
        }
        if decoded == base_path || decoded.strip_prefix(base_path).is_some_and(|rest| rest.starts_with('/')) {
            return None;
        }
        let resolved = public_url.join(raw).ok()?;
        let local = resolved.origin() == public_url.origin()
            && resolved.username().is_empty()
            && resolved.password().is_none()
            && !resolved.path().starts_with("//");
        local.then(|| Self(raw.to_owned()))
    }

    /// The target, fit for `Location`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// No character that browsers drop or read as a slash.
fn is_plain(text: &str) -> bool {
    !text.contains('\\')
        && !text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || ('\u{fff0}'..='\u{ffff}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Option<String> {
        let public_url = Url::parse("https://app.example.com").unwrap();
        LocalTarget::parse(raw, &public_url, "/oauth2").map(|target| target.as_str().to_owned())
    }

    #[test]
    fn paths_of_our_own_are_kept_as_they_are() {
        for target in [
            "/",
            "/a",
            "/a/b?c=d&e=%2F",
            "/a#top",
            "/a?next=https://x.example/",
            "/%C3%A4",
            "/oauth2x",
            "/a:b@c",
        ] {
            assert_eq!(parse(target).as_deref(), Some(target));
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a corpus")]
    fn nothing_leads_to_another_origin() {
        // std:16, T9; the payloads of GHSA-4mf2, GHSA-5m6c, GHSA-j7px, GHSA-qqxw, CVE-2019-14857, -20479,
        // CVE-2021-32786, -39191 and CVE-2022-23527 among them.
        let payloads = [
            "",
            " ",
            "a",
            "evil.example",
            "//evil.example",
            "///evil.example",
            "////evil.example",
            "//evil.example/%2f..",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\\/evil.example",
            "//\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/ /evil.example",
            "/\u{0}/evil.example",
            "/%09/evil.example",
            "/%0a/evil.example",
            "/%0d%0aLocation: x",
            "/%2f/evil.example",
            "/%2Fevil.example",
            "/%2f%2fevil.example",
            "/%5cevil.example",
            "/%5Cevil.example",
            "%2f%2fevil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/a//evil.example",
            "/%2e%2e//evil.example",
            "/../evil",
            "/a/../../evil",
            "/%2e%2e/evil",
            "https://evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "HTTPS://evil.example",
            "http://app.example.com",
            "https://app.example.com",
            "https://app.example.com@evil.example",
            "https://app.example.com.evil.example",
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "java\nscript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "ftp://evil.example",
            "mailto:a@evil.example",
            "@evil.example",
            ".evil.example",
            ";//evil.example",
            "?//evil.example",
            "#//evil.example",
            "/\u{2028}/evil.example",
            "/\u{3000}/evil.example",
            "/\u{85}/evil",
            "/\u{a0}/evil",
            "\u{ff0f}\u{ff0f}evil.example",
            "/%E3%80%80/x",
            "/%ff/x",
            "/oauth2/logout",
            "/oauth2",
            "/oauth2/login?rd=/",
            "/%6fauth2/logout",
            "/a\\b",
        ];
        assert!(payloads.len() >= 60);
        for payload in payloads {
            assert_eq!(parse(payload), None, "{payload:?}");
        }
        assert_eq!(parse(&format!("/{}", "a".repeat(LONGEST))), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_kept_resolves_to_our_own_origin(raw in ".{0,60}") {
            if let Some(target) = parse(&raw) {
                let public_url = Url::parse("https://app.example.com").unwrap();
                proptest::prop_assert_eq!(public_url.join(&target).unwrap().origin(), public_url.origin());
                proptest::prop_assert!(http::HeaderValue::from_str(&target).is_ok() || !target.is_ascii());
            }
        }
    }
}
